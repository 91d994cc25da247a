"""Learning rates and parameter groups of timm 0.3.2, the version that facebookresearch/deit pins."""

from __future__ import annotations

import numpy as np
from reference.initial import build, distilled
from reference.learning_rate import rates
from reference.packing import pack
from timm.optim.optim_factory import add_weight_decay
from torch import nn

TIMM = "0.3.2"


def make() -> dict[str, np.ndarray]:
    """``lr.*``; ``decayed``: for a plain and a distilled model the names that weight decay applies to."""
    models = {"plain": build(192), "distilled": distilled(192)}
    return rates() | {"decayed": pack({kind: decayed(model) for kind, model in models.items()})}


def decayed(model: nn.Module) -> list[str]:
    """facebookresearch/deit has no no_weight_decay() of its own, so that of timm's VisionTransformer counts."""
    chosen = {id(p) for p in add_weight_decay(model, 0.05, model.no_weight_decay())[1]["params"]}
    return [name for name, p in model.named_parameters() if id(p) in chosen]
