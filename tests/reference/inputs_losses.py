"""Logits, targets and kinds of distillation whose losses both sides compute."""

from __future__ import annotations

import numpy as np

from deit.randomness import generator

BATCH, CLASSES, SMOOTHING = 8, 100, 0.1
DISTILLATIONS = [  # kind, alpha, tau
    ("soft", 0.5, 1.0),
    ("soft", 0.5, 3.0),
    ("soft", 0.3, 3.0),
    ("soft", 0.9, 0.5),
    ("soft", 1.0, 20.0),
    ("hard", 0.5, 1.0),
    ("hard", 0.1, 1.0),
    ("hard", 1.0, 1.0),
]


def logits(whose: str) -> np.ndarray:
    """float32 [B, K], sharp enough that some classes have next to no probability."""
    return 4 * generator(0, f"reference:logits of {whose}").standard_normal((BATCH, CLASSES), np.float32)


def labels() -> np.ndarray:
    return generator(0, "reference:labels").integers(0, CLASSES, BATCH)


def lam() -> np.ndarray:
    """Mixup's weight of each image's own target."""
    return generator(0, "reference:lam").random(BATCH, np.float32)
