"""Names, shapes and logits of timm's RegNetY, the teacher of the distilled DeiTs, from weights that both sides compute."""

from __future__ import annotations

import numpy as np
import timm
import torch
from reference.inputs_regnet import VARIANTS, images, weights
from reference.packing import checksum, pack

TIMM = "1.0.31"


@torch.no_grad()
def make() -> dict[str, np.ndarray]:
    """``logits.NAME`` [B, 1000] of each variant; ``names``, the shapes of each."""
    arrays, names = {}, {}
    for variant, size in VARIANTS.items():
        model = timm.create_model(variant).eval()
        shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        names[variant] = shapes
        filled, x = weights(shapes), images(size)
        model.load_state_dict({name: torch.from_numpy(value) for name, value in filled.items()})
        arrays[f"logits.{variant}"] = model(torch.from_numpy(x)).numpy()
        arrays[f"inputs.{variant}"] = checksum([*filled.values(), x])
    arrays["names"] = pack(names)
    return arrays
