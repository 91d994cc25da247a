"""Names of parameters in timm and in MindSpore."""

from __future__ import annotations

import re

import pytest
import yaml

from deit.compose import groups
from deit.config.schema import ModelConfig
from deit.errors import UserError
from deit.models.shapes import parameter_shapes
from deit.weights.naming import to_mindspore, to_timm


@pytest.mark.parametrize("name", groups.groups()["model"])
def test_names_convert_in_both_directions(name: str) -> None:
    shapes = parameter_shapes(option(name), 10)
    theirs = to_timm(shapes)
    assert not any(re.search(r"norm\d*\.(gamma|beta)$", name) for name in theirs)
    assert {"norm.weight", "blocks.0.norm1.bias", "blocks.1.norm2.weight", "patch_embed.proj.weight"} <= theirs.keys()
    assert list(to_mindspore(theirs).items()) == list(shapes.items())
    assert to_mindspore(shapes) == shapes and to_timm(theirs) == theirs


def test_layer_scale_by_the_name_of_facebook() -> None:
    named = {"blocks.3.gamma_1": 1, "blocks.3.gamma_2": 2, "norm.weight": 3}
    assert to_mindspore(named) == {"blocks.3.ls1.gamma": 1, "blocks.3.ls2.gamma": 2, "norm.gamma": 3}
    assert to_timm(named) == {"blocks.3.ls1.gamma": 1, "blocks.3.ls2.gamma": 2, "norm.weight": 3}
    with pytest.raises(UserError, match=r"ls1\.gamma twice"):
        to_mindspore({"blocks.3.gamma_1": 1, "blocks.3.ls1.gamma": 1})


def test_two_names_for_one_parameter_are_rejected() -> None:
    with pytest.raises(UserError, match=r"norm\.gamma twice"):
        to_mindspore({"norm.gamma": 1, "norm.weight": 2})


def option(name: str) -> ModelConfig:
    return ModelConfig(**yaml.safe_load((groups.CONF / "model" / f"{name}.yaml").read_text(encoding="utf-8")))
