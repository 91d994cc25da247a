"""What must be put in place before timm and torchvision can be imported here.

torchvision has no CPU build: its Python part imports if the two operators are declared that its compiled part would
bring. timm 0.3.2 takes ``container_abcs`` from a module that torch has given up since.
"""

from __future__ import annotations

import collections.abc
import sys
import types

import torch


def install() -> torch.library.Library:
    """Call once, before the imports; the declarations hold as long as the returned library lives."""
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    six = types.ModuleType("torch._six")
    six.container_abcs = collections.abc  # type: ignore[attr-defined]
    sys.modules["torch._six"] = six
    return library
