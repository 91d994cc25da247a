"""Teachers that are rejected before the start, and complete trainings with a teacher."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from launching import launch, metrics, only_run, same_weights
from safetensors.numpy import save_file
from teacher_networks import exported, teacher_network
from teachers import STUDENT, TINY_REGNET, deit, drawn, named_teacher, regnet_file, student

from deit.models.regnet_shapes import regnet_shapes
from deit.runs import checkpoint, status
from deit.runs.directory import RunDirectory
from deit.runs.journal import read

BEFORE: list[tuple[Callable[[Path], object], str, list[str]]] = [
    (lambda folder: None, "regnety_160", ["regnety_160-a5fe301d.pth", "https://", "weights_dir"]),
    (lambda folder: None, "regnety_16", ["no such file", "'regnety_160'"]),
    (lambda folder: None, "t.mindir", ["distill.teacher=t.mindir", "no such file"]),
    (lambda folder: (folder / "t.pth").write_bytes(b"torn"), "t.pth", ["distill.teacher=t.pth", "t.pth"]),
    (lambda folder: (folder / "t.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{"), "t.safetensors", ["truncated"]),
    (
        lambda folder: regnet_file(folder / "t.safetensors", dataclasses.replace(TINY_REGNET, num_classes=7)),
        "t.safetensors",
        ["data.num_classes=7", "the student 10"],
    ),
    (
        lambda folder: save_file({"conv1.weight": np.zeros((4, 3, 7, 7), np.float32)}, folder / "t.safetensors"),
        "t.safetensors",
        ["neither those of a DeiT nor of a RegNetY", "conv1.weight", "MINDIR"],
    ),
    (
        lambda folder: named_teacher(folder / "t.safetensors", list("abcdefghij"), 32),
        "t.safetensors",
        ["was trained on other classes: only the teacher has a, b, c, d, e and 5 more; only the data has 0, 1, 2"],
    ),
]


@pytest.mark.parametrize(("prepare", "teacher", "words"), BEFORE, ids=[case[1] for case in BEFORE])
def test_unsuitable_teacher_is_rejected(
    prepare: Callable[[Path], object], teacher: str, words: list[str], command: Callable[..., Any], tmp_path: Path
) -> None:
    prepare(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    outcome = command(
        "experiment=quickstart", "hardware=cpu", "model.distilled=true", "distill=hard", f"distill.teacher={teacher}"
    )
    assert outcome.code == 2 and "Traceback" not in outcome.err
    for word in ("distill.teacher", *words):
        assert word in outcome.err, outcome.err
    assert sorted(tmp_path.rglob("*")) == before


# Without mixing, whose draws are of a rank: so two processes train like one.
TRAINING = (
    *(text for text in STUDENT if not text.startswith(("data.", "augment.mixup"))),
    "augment.mixup_prob=0",
    "data.train_limit=128",
    "data.val_limit=100",
    "schedule.epochs=3",
    "schedule.warmup_epochs=1",
    "schedule.eval_every=3",
    "schedule.max_steps=16",
    "tracking=none",
    "tracking.log_every=1",
    "distill=hard",
)


def events(run: RunDirectory, event: str) -> list[dict[str, Any]]:
    return [record for _, record in read(run.journal) if record.get("event") == event]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Sixteen steps taught by ``regnet.safetensors``, in ``one``: the folder, and the output."""
    folder = tmp_path_factory.mktemp("taught")
    file = regnet_file(folder / "regnet.safetensors")
    ended = launch(folder, *TRAINING, f"distill.teacher={file}", "hardware=cpu", "data.batch_size=16", "name=one")
    assert ended.returncode == 0, ended.stderr
    return folder, ended.stdout


def test_regnet_teacher_gives_the_same_with_one_and_two_processes(taught: tuple[Path, str]) -> None:
    """The same global batch and teacher: the same losses and weights, and the teacher counted over all images."""
    folder, said = taught
    trained = sum(np.prod(shape) for name, shape in regnet_shapes(TINY_REGNET).items() if ".running_" not in name)
    assert f"teacher: RegNetY of 3 blocks, widths 16, 24, {trained:,} parameters, top-1" in said
    teacher = f"distill.teacher={folder / 'regnet.safetensors'}"
    ended = launch(folder, *TRAINING, teacher, "hardware=cpu2", "data.batch_size=8", "name=two")
    assert ended.returncode == 0, ended.stderr
    one, two = only_run(folder, "one"), only_run(folder, "two")
    first, second = metrics(one), metrics(two)
    assert len(first["train/loss"]) == 16
    np.testing.assert_allclose(first["train/loss"], second["train/loss"], rtol=1e-5)
    for name in ("teacher/top1", "teacher/top5", "val/top1"):
        assert first[name] == second[name]
    assert [step for step, _ in first["teacher/loss"]] == [0]
    (introduced,) = events(one, "teacher")
    assert introduced["images"] == 100 and introduced["top1"] == first["teacher/top1"][0][1]
    assert status.read(one).results["teacher"]["top1"] == introduced["top1"]
    same_weights(checkpoint.complete(one)[-1], checkpoint.complete(two)[-1], atol=2e-5)


def test_resumed_student_keeps_its_teacher(taught: tuple[Path, str], tmp_path: Path) -> None:
    """Another teacher is rejected, also under the old name; the same teacher is accepted from a new path."""
    shutil.copytree(taught[0], tmp_path, dirs_exist_ok=True)
    run = only_run(tmp_path, "one")
    moved, other = tmp_path / "moved.safetensors", tmp_path / "other.safetensors"
    (tmp_path / "regnet.safetensors").rename(moved)
    save_file(drawn(regnet_shapes(TINY_REGNET), seed=1), other)
    more = (f"resume={run.path}", "schedule.max_steps=18")
    refused = launch(tmp_path, *more, f"distill.teacher={other}")
    assert refused.returncode == 2 and "the teacher of this run was RegNetY" in refused.stderr, refused.stderr
    ended = launch(tmp_path, *more, f"distill.teacher={moved}")
    assert ended.returncode == 0, ended.stderr
    assert len(metrics(run)["train/loss"]) == 18
    assert len(events(run, "teacher")) == 1 and "teacher" in status.read(run).results


def test_heads_of_a_student_are_evaluated_separately(taught: tuple[Path, str], tmp_path: Path) -> None:
    run = only_run(taught[0], "one")
    ended = launch(tmp_path, "task=evaluate", f"run={run.path}", "task.heads=true", "tracking=none")
    assert ended.returncode == 0, ended.stderr
    results = status.read(only_run(tmp_path, "one")).results
    assert list(results) == ["val", "val_cls", "val_dist", "val_ema", "val_ema_cls", "val_ema_dist"]
    assert results["val"]["top1"] == status.read(run).results["best"]["val"]["top1"]
    assert len({results[f"val{head}"]["loss"] for head in ("", "_cls", "_dist")}) == 3
    assert "raw, class head" in ended.stdout and "EMA, distillation head" in ended.stdout


def test_one_head_is_not_evaluated_twice(command: Callable[..., Any]) -> None:
    outcome = command("task=evaluate", "model=deit_tiny", "checkpoint=a.safetensors", "task.heads=true")
    assert outcome.code == 2 and "task.heads has no effect without model.distilled" in outcome.err


@pytest.mark.usefixtures("graph_mode")
def test_mindir_teaches_and_a_wrong_one_ends_with_one_message(tmp_path: Path) -> None:
    network = teacher_network(student(tmp_path), deit(distilled=False))
    file = exported(network, tmp_path / "teacher", 16)
    ended = launch(tmp_path, *TRAINING, "hardware=cpu", "data.batch_size=16", f"distill.teacher={file}", "schedule.max_steps=2")
    assert ended.returncode == 0, ended.stderr
    assert "teacher: MINDIR, top-1" in ended.stdout
    refused = launch(tmp_path, *TRAINING, "data.batch_size=32", f"distill.teacher={file}", "name=refused")
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "has batch size 16, but data.batch_size is 32" in refused.stderr
