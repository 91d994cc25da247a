"""The policies of ``augment.auto_augment``: RandAugment or 3-Augment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deit.data.operations import Operation
from deit.data.randaugment import GRAMMAR, RandAugment, parse_randaugment
from deit.errors import UserError

if TYPE_CHECKING:  # the control side checks policies, and NumPy takes longer than all its checks
    import numpy as np


THRESHOLD = 128  # of 3-Augment's solarizing
RADII = (0.1, 2.0)  # of its Gaussian blur, in pixels


@dataclass(frozen=True)
class ThreeAugment:
    """3-Augment (DeiT III, arXiv:2204.07118, section 3): one of three strong operations per image, with equal probability.

    As facebookresearch/deit's ``new_data_aug_generator`` and timm's policy ``3a``; it has no settings. The transform applies
    the colour jitter that follows it there.
    """

    def draw(self, rng: np.random.Generator) -> list[Operation]:
        """The one operation for an image."""
        choice = rng.integers(3)
        if choice == 0:
            return [Operation("Solarize", THRESHOLD)]
        if choice == 1:
            return [Operation("Desaturate", 1.0)]
        return [Operation("GaussianBlur", rng.uniform(*RADII))]


def parse_policy(text: str) -> RandAugment | ThreeAugment:
    """Raises UserError for an unknown policy."""
    if text == "3a":
        return ThreeAugment()
    if text.split("-", 1)[0] == "rand":
        return parse_randaugment(text)
    raise UserError(f"augment.auto_augment is {text!r}; allowed: null, 3a (3-Augment of DeiT III), or {GRAMMAR}.")


def jitters(text: str | None) -> bool:
    """Whether colour jitter is applied in addition to this policy: only with 3-Augment (timm's rule)."""
    return text is None or "3a" in text
