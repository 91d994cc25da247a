"""The policies of ``augment.auto_augment``: RandAugment or 3-Augment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from deit.data.operations import Operation
from deit.data.randaugment import GRAMMAR, parse_randaugment
from deit.data.three_augment import ThreeAugment
from deit.errors import UserError

if TYPE_CHECKING:  # the control side checks policies, and NumPy takes longer than all its checks
    import numpy as np


class Policy(Protocol):
    def draw(self, rng: np.random.Generator) -> list[Operation]:
        """The operations for one image, in the order in which they are applied."""
        ...


def parse_policy(text: str) -> Policy:
    """Raises UserError for an unknown policy."""
    if text == "3a":
        return ThreeAugment()
    if text.split("-", 1)[0] == "rand":
        return parse_randaugment(text)
    raise UserError(f"augment.auto_augment is {text!r}; allowed: null, 3a (3-Augment of DeiT III), or {GRAMMAR}.")


def jitters(text: str | None) -> bool:
    """Whether colour jitter is applied in addition to this policy: only with 3-Augment (timm's rule)."""
    return text is None or "3a" in text
