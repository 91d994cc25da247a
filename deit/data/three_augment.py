"""3-Augment (DeiT III, arXiv:2204.07118, section 3): one of three strong operations per image, with equal probability.

As facebookresearch/deit's ``new_data_aug_generator`` and timm's policy ``3a``. The transform applies the colour jitter that
follows it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deit.data.operations import Operation

if TYPE_CHECKING:  # the control side checks policies, and NumPy takes longer than all its checks
    import numpy as np

THRESHOLD = 128  # of solarizing
RADII = (0.1, 2.0)  # of the Gaussian blur, in pixels


@dataclass(frozen=True)
class ThreeAugment:
    """The policy ``3a``; it has no settings."""

    def draw(self, rng: np.random.Generator) -> list[Operation]:
        """The one operation for an image."""
        choice = rng.integers(3)
        if choice == 0:
            return [Operation("Solarize", THRESHOLD)]
        if choice == 1:
            return [Operation("Desaturate", 1.0)]
        return [Operation("GaussianBlur", rng.uniform(*RADII))]
