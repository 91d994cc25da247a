"""Files of torch.save in every shape people have them, what torch reads out of them, and timm reading a file of ours.

Each ``weights_NAME.pth`` is written by torch itself. The fixture holds what ``torch.load`` gives back, float16 and bfloat16
as float32.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
import timm.models
import torch
from reference.inputs_weights import GRIDS, SMALL, images, pos_embed
from reference.model import resized
from reference.packing import checksum
from torch import nn

from deit.weights.naming import to_mindspore, to_timm
from deit.weights.read import read_weights

TIMM = "1.0.31"


def make() -> dict[str, np.ndarray]:
    """``FILE/NAME``: what torch reads; ``resized/CASE``: torch's bicubic; ``timm_reads``: how far timm's logits are off."""
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        for name in ("plain", "half", "bfloat16", "views", "distilled"):
            loaded = torch.load(Path(folder) / f"weights_{name}.pth", weights_only=True)
            made |= {f"{name}/{key}": numpy(value) for key, value in loaded.items()}
        made["timm_reads"] = timm_reads(Path(folder))
    for case, (old, new, prefix) in GRIDS.items():
        made[f"resized/{case}"] = resized(pos_embed(old, prefix), prefix, new)
        made[f"antialiased/{case}"] = resized(pos_embed(old, prefix), prefix, new, antialias=True)
        made[f"resized/{case}/inputs"] = checksum([pos_embed(old, prefix)])
    return made


def write(folder: Path) -> None:
    model = network()
    state = model.state_dict()

    def save(value: Any, name: str, **how: Any) -> None:
        torch.save(value, folder / f"weights_{name}.pth", **how)

    save(state, "plain")
    save({"model": state}, "model")
    save({"state_dict": {f"module.{name}": value for name, value in state.items()}, "arch": "deit"}, "parallel")
    save(training(model), "training")
    save({name: value.half() for name, value in state.items()}, "half")
    save({name: value.bfloat16() for name, value in state.items()}, "bfloat16")
    save(views(), "views")
    save(network(distilled=True).state_dict(), "distilled")
    save(nn.Sequential(nn.Identity()), "whole_module")
    with numbered_storages():
        save(training(model), "legacy", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(state, folder / "weights_timm.safetensors", {"format": "pt"})


def network(distilled: bool = False) -> nn.Module:
    """A DeiT of timm whose parameters are all different from each other and from 0 and 1."""
    kind = timm.models.deit.VisionTransformerDistilled if distilled else timm.models.vision_transformer.VisionTransformer
    model = kind(**SMALL)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random))
    return model.eval()


def training(model: nn.Module) -> dict[str, Any]:
    """What the training of facebookresearch/deit saves, after a step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.from_numpy(images())).square().mean().backward()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer.step()
    with torch.no_grad():  # the weights stay those of the other files
        model.load_state_dict(before)
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": {"base_values": [0.001], "warmup_t": 5, "warmup_steps": [0.000199]},
        "epoch": 299,
        "model_ema": {name: value / 2 for name, value in before.items()},
        "scaler": {"scale": 65536.0, "growth_tracker": 3},
        "args": argparse.Namespace(model="deit_small_patch16_224", lr=5e-4, clip_grad=None, opt_betas=(0.9, 0.999)),
    }


def views() -> dict[str, torch.Tensor]:
    """Tensors that are not simply their storage, and every type of number."""
    base = torch.arange(120.0).reshape(10, 12)
    types = (torch.float64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
    return {
        "transposed": base.t(),
        "block": base[2:5, 3:7],
        "strided": base[::3, 1::5],
        "tied": base,
        "permuted": torch.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "parameter": nn.Parameter(torch.tensor([1.0, -2.0])),
    } | {str(kind).removeprefix("torch."): torch.tensor([0, 1, 2, 3]).to(kind) for kind in types}


def numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().contiguous()
    return (tensor.float() if tensor.dtype in (torch.half, torch.bfloat16) else tensor).numpy()


class numbered_storages:
    """The older format names storages by their address; here by a number, so that the same file comes out each time."""

    def __enter__(self) -> None:
        numbers: dict[int, int] = {}
        count = itertools.count()
        number = property(lambda storage: numbers.setdefault(storage.data_ptr(), next(count)))
        torch.UntypedStorage._cdata = number

    def __exit__(self, *_: Any) -> None:
        del torch.UntypedStorage._cdata


def timm_reads(folder: Path) -> np.ndarray:
    """Largest difference of logits after timm has loaded, strictly, a file with timm's names that was written here."""
    weights = to_mindspore(read_weights(folder / "weights_plain.pth"))
    file = folder / "ours.safetensors"
    safetensors.numpy.save_file(to_timm(weights), file, {"format": "deit", "naming": "timm"})
    model = timm.models.vision_transformer.VisionTransformer(**SMALL).eval()
    timm.models.load_checkpoint(model, str(file), strict=True)
    with torch.no_grad():
        x = torch.from_numpy(images())
        return np.array([(model(x) - network()(x)).abs().max().item()])
