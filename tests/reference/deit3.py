"""DeiT III of timm: names, logits, decayed parameters, gradients, and the binary cross-entropy it is trained with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import timm
import torch
from reference import inputs_deit3 as inputs
from reference.inputs_model import images, weights
from reference.model import resized
from reference.optim import decayed
from reference.packing import checksum, pack
from timm.loss import BinaryCrossEntropy
from timm.models.vision_transformer import VisionTransformer
from torch import nn

TIMM = "1.0.31"
LOSSES: dict[str, Callable[[], nn.Module]] = {
    "bce": lambda: BinaryCrossEntropy(smoothing=0.0),
    "bce_threshold": lambda: BinaryCrossEntropy(smoothing=0.0, target_threshold=0.0),
}


def make() -> dict[str, np.ndarray]:
    """``names``, ``decayed`` of each whole variant; ``logits.NAME`` [B, K]; ``LOSS.value``, ``LOSS.gradient`` and, of a small
    network, ``bce.gradient.PARAMETER``.
    """
    arrays, names, groups = {}, {}, {}
    for variant, given in inputs.VARIANTS.items():
        with torch.device("meta"):
            whole = timm.create_model(variant)
        names[variant] = {name: tuple(value.shape) for name, value in whole.state_dict().items()}
        groups[variant] = decayed(whole)
        model = timm.create_model(variant, depth=given.depth)
        filled = weights({name: tuple(value.shape) for name, value in model.state_dict().items()})
        arrays[f"logits.{variant}"] = logits(model, filled, given.size)
        arrays[f"inputs.{variant}"] = checksum([*filled.values(), images(1, given.size)])
        if variant == inputs.RESIZED:
            larger = timm.create_model(variant, img_size=384, depth=given.depth)
            filled["pos_embed"] = resized(filled["pos_embed"], 0, grid=24)
            arrays["logits.resized"] = logits(larger, filled, 384)
    arrays |= {"names": pack(names), "decayed": pack(groups)}
    for name, build in LOSSES.items():
        arrays |= loss(name, build())
    arrays |= gradients("bce", LOSSES["bce"]())
    given_loss = [inputs.logits(), inputs.labels(), inputs.lam()]
    return arrays | {"loss.inputs": checksum(given_loss)}


@torch.no_grad()
def logits(model: nn.Module, filled: dict[str, np.ndarray], size: int) -> np.ndarray:
    model.load_state_dict({name: torch.from_numpy(value) for name, value in filled.items()})
    return model.eval()(torch.from_numpy(images(1, size))).numpy()


def targets() -> torch.Tensor:
    """One-hot labels mixed with those of the reversed batch: DeiT III smooths nothing."""
    own = nn.functional.one_hot(torch.from_numpy(inputs.labels()), inputs.CLASSES).float()
    lam = torch.from_numpy(inputs.lam())[:, None]
    return own * lam + own.flip(0) * (1 - lam)


def loss(name: str, function: nn.Module) -> dict[str, np.ndarray]:
    x = torch.from_numpy(inputs.logits()).requires_grad_()
    value = function(x, targets())
    value.backward()
    return {f"{name}.value": value.detach()[None].numpy(), f"{name}.gradient": x.grad.numpy()}


def gradients(name: str, function: nn.Module) -> dict[str, np.ndarray]:
    """Of every parameter of a small network; of the large ones every 16th element."""
    model = VisionTransformer(**inputs.MICRO, num_classes=inputs.CLASSES, no_embed_class=True, init_values=1e-4)
    filled = weights({key: tuple(value.shape) for key, value in model.state_dict().items()})
    model.load_state_dict({key: torch.from_numpy(value) for key, value in filled.items()})
    function(model(torch.from_numpy(images(inputs.BATCH, inputs.MICRO["img_size"]))), targets()).backward()
    return {f"{name}.gradient.{key}": inputs.sample(p.grad.numpy()) for key, p in model.named_parameters()}
