"""A dry run rejects what the start rejects, with the same message, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import Outcome
from object_store import Server, server, store
from PIL import Image
from safetensors.numpy import save_file

from deit.commands import dry_run
from deit.preflight import disk_space, recipe_data, unchecked

__all__ = ["server", "store"]  # fixtures

ENDED = "dry run: nothing was started or written"
HERE = ("hardware=cpu", "tracking=none")
DIGITS = ("experiment=quickstart", *HERE)
FOLDERS = (*DIGITS, "data=imagefolder", "data.root=pictures", "data.batch_size=4")
DISTILLED = ("experiment=quickstart", "model.distilled=true", "distill=hard", *HERE)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for split, count in (("train", 4), ("val", 2)):
        for label, name in enumerate("ab"):
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (40, 30), (90 * label, 20 * number, 40)).save(folder / f"{number}.png")
    save_file({"head.weight": np.zeros((2, 3), np.float32)}, tmp_path / "other.safetensors")
    (tmp_path / "file").touch()
    return tmp_path


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*DIGITS, "data=imagefolder", "data.root=nowhere"), "data.root:"),
        ((*DIGITS, "model.pretrained=no.pth"), "model.pretrained=no.pth: no such file"),
        ((*DIGITS, "model.pretrained=other.safetensors"), "model.pretrained="),
        ((*DISTILLED, "distill.teacher=no.pth"), "distill.teacher=no.pth: no such file"),
        (("experiment=quickstart", "hardware=ascend8", "tracking=none"), "hardware.target=ascend: there is no Ascend card"),
        ((*DIGITS, "runs_dir=file"), "runs_dir=file: no folder can be created there"),
        ((*DIGITS, "tracking=mlflow", "tracking.uri=sqlite:///file.db"), "is not an SQLite database"),
        ((*DIGITS, "-m", "seed=1,2", "model.pretrained=no.pth"), "trial 0"),
        ((*DIGITS, "sweep=optuna_tpe", "model.pretrained=no.pth"), "model.pretrained=no.pth"),
        (("task=evaluate", "checkpoint=other.safetensors", *DIGITS), "other.safetensors: belongs to another model"),
        (("task=export", "checkpoint=no.pth", "experiment=quickstart", "task.format=safetensors"), "checkpoint=no.pth"),
        (("task=convert", "checkpoint=no.pth", "task.output=x.safetensors"), "checkpoint=no.pth"),
        (("task=predict", "task.model=no.pth", "task.input=pictures/val", "hardware=cpu"), "task.model=no.pth"),
        (("task=preprocess", "task.model=no.pth", "task.input=pictures/val", "task.output=bins"), "task.model=no.pth"),
        (("task=compare", "task.models=[no.pth,other.safetensors]", "data=digits", "hardware=cpu"), "no.pth"),
        (("task=check_data", "data=imagefolder", "data.root=nowhere"), "data.root:"),
        (("task=pack", "data=imagefolder", "data.root=nowhere", "task.output=packed"), "data.root:"),
        (("task=register", "task.model=nowhere", "task.registered_model_name=x"), "task.model=nowhere"),
        (("task=report", "sweep.dir=nowhere"), "sweep.dir=nowhere"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value)[:60],
)
def test_dry_run_rejects_what_the_start_rejects(
    arguments: tuple, said: str, tree: Path, command: Callable[..., Outcome]
) -> None:
    (tree / "file.db").write_bytes(b"no database" * 100)
    before = files(tree)
    dry = command(*arguments, "dry_run=true")
    assert dry.code == 2 and said in dry.err
    assert f"{ENDED}, and this start would be refused:" in dry.out and "would start" not in dry.out
    assert files(tree) == before
    assert dry.err.replace(" dry_run=true", "") == command(*arguments).err


def test_dry_run_checks_the_disk_and_decodes_images(
    tree: Path, command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ENDED in (fine := command(*FOLDERS, "dry_run=true")).out and (fine.code, fine.err) == (0, "")
    monkeypatch.setattr(disk_space, "free_below", lambda folder: 10)
    dry = command(*FOLDERS, "dry_run=true")
    assert dry.code == 2 and "the checkpoints need" in dry.err
    monkeypatch.setattr(recipe_data, "_seen", {})
    (tree / "pictures/train/a/0.png").write_bytes(b"no picture")
    dry = command(*FOLDERS, "dry_run=true")
    assert dry.code == 2 and "train/a/0.png: not readable as an image" in dry.err


def test_dry_run_lists_unchecked_items(
    tmp_path: Path, command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A teacher that only MindSpore reads."""
    (tmp_path / "teacher.mindir").touch()
    monkeypatch.setattr(unchecked, "_lines", [])
    dry = command(*DISTILLED, "distill.teacher=teacher.mindir", "dry_run=true")
    assert dry.code == 0, dry.err
    assert "not checked distill.teacher=teacher.mindir: the size of its images" in " ".join(dry.out.split())
    monkeypatch.setattr(unchecked, "_lines", [])
    dry_run.rehearse(lambda: 1, print)
    assert capsys.readouterr().out.splitlines() == ["1", ENDED]


def test_dry_run_copies_nothing_from_a_store(
    tmp_path: Path, command: Callable[..., Outcome], store: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.fill("pictures", {f"set/{split}/{name}/0.png": b"x" for split in ("train", "val") for name in "ab"})
    monkeypatch.setattr(unchecked, "_lines", [])
    dry = command(*DIGITS, "data=imagefolder", "data.root=s3://pictures/set", "dry_run=true")
    assert dry.code == 0 and "not checked data.root=s3://pictures/set:" in " ".join(dry.out.split()), dry.err
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["compiled"]  # put there by the fixture
    dry = command(*DIGITS, "data=imagefolder", "data.root=s3://pictures/other", "dry_run=true")
    assert dry.code == 2 and "no objects found" in dry.err
