"""Weights in and out against torch and timm: every file that torch wrote, and a file of ours that timm read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fidelity import FIXTURES, load
from reference.inputs_weights import GRIDS, NETWORK, pos_embed
from reference.packing import checksum

from deit.weights.pos_embed import resize
from deit.weights.read import read_shapes, read_weights

TORCH = "torch 2.13.0"

# Each file of the fixtures, and the tensors that torch reads from it.
FILES = {
    "plain.pth": ("plain", "a state dict"),
    "model.pth": ("plain", "a state dict under `model`"),
    "parallel.pth": ("plain", "a state dict of DistributedDataParallel"),
    "training.pth": ("plain", "a training of facebookresearch/deit"),
    "legacy.pth": ("plain", "a training, in the format before torch 1.6"),
    "timm.safetensors": ("plain", "safetensors"),
    "half.pth": ("half", "float16"),
    "bfloat16.pth": ("bfloat16", "bfloat16"),
    "views.pth": ("views", "views, shared storages, all types"),
    "distilled.pth": ("distilled", "a distilled model"),
}


def answers(of: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(f"{of}/"): value for name, value in load("weights").items() if name.startswith(f"{of}/")}


def different(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> int:
    """Tensors that are not the same: name, type, shape or any bit."""
    same = [
        name
        for name in found.keys() & wanted.keys()
        if found[name].dtype == wanted[name].dtype
        and found[name].shape == wanted[name].shape
        and found[name].tobytes() == wanted[name].tobytes()
    ]
    return len(found.keys() | wanted.keys()) - len(same)


@pytest.mark.parametrize("file", FILES)
def test_reads_what_torch_reads(file: str, fidelity: Callable[..., None]) -> None:
    of, what = FILES[file]
    path = FIXTURES / f"weights_{file}"
    found = read_weights(path)
    assert len(found) > 10
    fidelity(
        f"Tensors of a file: {what}",
        section="Weights",
        reference=TORCH if file.endswith(".pth") else "safetensors 0.8.0",
        tolerance=0,
        measured=different(found, answers(of)),
        unit="tensors differ",
    )
    assert read_shapes(path)[0] == {name: value.shape for name, value in found.items()}


@pytest.mark.parametrize("antialias", [False, True])
def test_pos_embed_resized(antialias: bool, fidelity: Callable[..., None]) -> None:
    for case, (old, new, prefix) in GRIDS.items():
        kind = "antialiased" if antialias else "resized"
        values, wanted = pos_embed(old, prefix), load("weights")[f"{kind}/{case}"]
        assert checksum([values]) == load("weights")[f"resized/{case}/inputs"]
        found = resize(values, prefix, new, antialias=antialias)
        assert found.shape == wanted.shape
        np.testing.assert_array_equal(found[:, :prefix], values[:, :prefix])
        fidelity(
            f"Position embedding (standard normal) {kind}: 14 to 24, 24 to 14, 4 to 6",
            section="Weights",
            reference=f"{TORCH}, bicubic {'with' if antialias else 'without'} antialias",
            tolerance=1e-5,
            measured=float(np.abs(found - wanted).max()),
        )


def test_round_trip(command: Callable, tmp_path: Path, fidelity: Callable[..., None]) -> None:
    """.pth -> MindSpore's names -> timm's names, through the command."""
    here = FIXTURES / "weights_training.pth"
    for name, source, naming in (("ours", here, "mindspore"), ("theirs", tmp_path / "ours.safetensors", "timm")):
        outcome = command(
            "task=convert", f"checkpoint={source}", *NETWORK, f"task.output={name}.safetensors", f"task.naming={naming}"
        )
        assert outcome.code == 0, outcome.err
    assert "norm.gamma" in read_weights(tmp_path / "ours.safetensors")
    found = read_weights(tmp_path / "theirs.safetensors")
    fidelity(
        "Weights after .pth -> `mindspore` -> `timm`",
        section="Weights",
        reference=TORCH,
        tolerance=0,
        measured=different(found, answers("plain")),
        unit="tensors differ",
    )


def test_timm_reads_our_file(fidelity: Callable[..., None]) -> None:
    fidelity(
        "Logits of timm with a timm-named file of ours, loaded strictly",
        section="Weights",
        reference="timm 1.0.31, load_checkpoint (asked when the fixtures are made)",
        tolerance=0,
        measured=float(load("weights")["timm_reads"][0]),
    )
