"""Parameter names of a DeiT in MindSpore and in timm: the same, except for norms.

MindSpore calls a norm's weight gamma and its bias beta. facebookresearch/deit calls LayerScale's factors gamma_1 and gamma_2,
timm and this program ls1.gamma and ls2.gamma. Correct names are unchanged, so a mapping may come from either side.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from deit.errors import UserError

Value = TypeVar("Value")

_NORM = r"((?:^|.*\.)norm\d*\.)"  # `norm.`, `blocks.0.norm1.`
_LAYER_SCALE = re.compile(r"((?:^|.*\.)blocks\.\d+\.)gamma_([12])")  # `blocks.0.gamma_1`
_TO_MINDSPORE = {"weight": "gamma", "bias": "beta"}
_TO_TIMM = {new: old for old, new in _TO_MINDSPORE.items()}


def to_mindspore(weights: Mapping[str, Value]) -> dict[str, Value]:
    """The same values (arrays, shapes ...) under the names of ``deit.models.shapes.parameter_shapes``, in the same order.

    Raises UserError if two names become one.
    """
    return _renamed(weights, _TO_MINDSPORE)


def to_timm(weights: Mapping[str, Value]) -> dict[str, Value]:
    """The same values under the names of timm's state_dict. Raises UserError if two names become one."""
    return _renamed(weights, _TO_TIMM)


def _renamed(weights: Mapping[str, Value], words: Mapping[str, str]) -> dict[str, Value]:
    pattern = re.compile(f"{_NORM}({'|'.join(words)})")
    renamed: dict[str, Value] = {}
    for name, value in weights.items():
        norm, scale = pattern.fullmatch(name), _LAYER_SCALE.fullmatch(name)
        new = norm[1] + words[norm[2]] if norm else f"{scale[1]}ls{scale[2]}.gamma" if scale else name
        if new in renamed:
            raise UserError(f"The weights hold {new} twice, under two of its names.")
        renamed[new] = value
    return renamed
