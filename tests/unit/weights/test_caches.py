"""Official weights that other programs have downloaded on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from composition import composed

from deit.errors import UserError
from deit.lookup.weight_files import find_weights
from deit.weights.caches import cached
from deit.weights.official import OFFICIAL

SMALL = OFFICIAL["deit_small_patch16_224"]
VARIABLES = ("TORCH_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def snapshot(hub: Path, name: str, commit: str, file: str = "model.safetensors", *, current: bool = True) -> Path:
    """A file in the layout of Hugging Face's hub: a link into the blobs, with the commit that `main` means."""
    repository = hub / f"models--timm--{name}"
    blob = repository / "blobs" / f"{commit * 4}"
    link = repository / "snapshots" / commit / file
    for folder in (blob.parent, link.parent, repository / "refs"):
        folder.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(b"weights")
    link.symlink_to(os.path.relpath(blob, link.parent))
    if current:
        (repository / "refs" / "main").write_text(commit)
    return link


@pytest.mark.parametrize(
    ("variable", "below"),
    [(None, ".cache/torch/hub"), ("TORCH_HOME", "hub"), ("XDG_CACHE_HOME", "torch/hub")],
)
def test_a_file_of_torch_hub(variable: str | None, below: str, home: Path, tmp_path: Path, monkeypatch) -> None:
    top = home if variable is None else tmp_path / "elsewhere"
    if variable is not None:
        monkeypatch.setenv(variable, str(top))
    file = top / below / "checkpoints" / "deit_small_patch16_224-cd65a155.pth"
    assert cached(SMALL) is None
    file.parent.mkdir(parents=True)
    file.touch()
    assert cached(SMALL) == file and cached(OFFICIAL["deit_tiny_patch16_224"]) is None


@pytest.mark.parametrize(
    ("variable", "below"),
    [
        (None, ".cache/huggingface/hub"),
        ("HF_HOME", "hub"),
        ("HF_HUB_CACHE", ""),
        ("HUGGINGFACE_HUB_CACHE", ""),
        ("XDG_CACHE_HOME", "huggingface/hub"),
    ],
)
def test_a_file_of_hugging_face(variable: str | None, below: str, home: Path, tmp_path: Path, monkeypatch) -> None:
    top = home if variable is None else tmp_path / "elsewhere"
    if variable is not None:
        monkeypatch.setenv(variable, str(top))
    link = snapshot(top / below, "deit_small_patch16_224.fb_in1k", "1a2b")
    assert cached(SMALL) == link


def test_current_snapshot_is_used_or_another_that_has_the_weights(home: Path) -> None:
    hub = home / ".cache" / "huggingface" / "hub"
    old = snapshot(hub, "deit3_base_patch16_224.fb_in22k_ft_in1k", "aaaa", "pytorch_model.bin")
    new = snapshot(hub, "deit3_base_patch16_224.fb_in22k_ft_in1k", "bbbb")
    os.utime(old.parent)  # the newest folder
    entry = OFFICIAL["deit3_base_patch16_224_in21ft1k"]
    assert cached(entry) == new
    new.unlink()
    assert cached(entry) == old
    (home / ".cache/huggingface/hub/models--timm--deit3_base_patch16_224.fb_in22k_ft_in1k/refs/main").unlink()
    assert cached(entry) == old


def test_names_on_the_hub() -> None:
    names = {name: entry.hub_name for name, entry in OFFICIAL.items()}
    assert names["deit_base_distilled_patch16_384"] == "deit_base_distilled_patch16_384.fb_in1k"
    assert names["deit3_huge_patch14_224"] == "deit3_huge_patch14_224.fb_in1k"
    assert names["deit3_huge_patch14_224_in21ft1k"] == "deit3_huge_patch14_224.fb_in22k_ft_in1k"
    assert names["regnety_160"] == "regnety_160.deit_in1k"
    assert len(set(names.values())) == len(names)


def test_weights_dir_takes_precedence_over_caches(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deit.notes._said", set())
    config = composed("experiment=quickstart", f"weights_dir={tmp_path / 'mine'}")
    with pytest.raises(UserError, match=r"cd65a155\.pth does not exist, and the caches of timm, torch"):
        find_weights(SMALL.name, "model.pretrained", config)
    link = snapshot(home / ".cache/huggingface/hub", SMALL.hub_name, "1a2b")
    assert find_weights(SMALL.name, "model.pretrained", config) == link
    assert capsys.readouterr().err == f"note: model.pretrained={SMALL.name}: uses {link}.\n"
    (tmp_path / "mine").mkdir()
    own = tmp_path / "mine" / SMALL.file_name
    own.touch()
    assert find_weights(SMALL.name, "model.pretrained", config) == own
