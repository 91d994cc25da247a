"""Weight decay and layer decay of each parameter."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deit.config.schema import ModelConfig
from deit.models.shapes import parameter_shapes
from deit.optim.parameter_groups import decayed, lr_scales

CONF = Path(__file__).parents[3] / "conf"


def conf_model(name: str) -> ModelConfig:
    return ModelConfig(**yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text(encoding="utf-8")))


def test_weight_decay_applies_only_to_matrices() -> None:
    choice = decayed(parameter_shapes(conf_model("deit_small"), 1000), decay_dist_token=False)
    assert len(choice) == 152
    expected = {"patch_embed.proj.weight", "head.weight"}
    for block in range(12):
        expected |= {f"blocks.{block}.{name}.weight" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}
    assert {name for name, yes in choice.items() if yes} == expected
    assert len(expected) == 50


def test_decay_of_the_distillation_token_is_configurable() -> None:
    shapes = parameter_shapes(conf_model("deit_small_distilled"), 1000)
    timm, facebook = decayed(shapes, decay_dist_token=False), decayed(shapes, decay_dist_token=True)
    assert {name for name in shapes if timm[name] != facebook[name]} == {"dist_token"}
    assert facebook["dist_token"]


def test_parameter_groups_do_not_depend_on_an_enclosing_cell() -> None:
    assert decayed({"network.pos_embed": (1, 5, 4), "network.head.weight": (3, 4)}, False) == {
        "network.pos_embed": False,
        "network.head.weight": True,
    }


@pytest.mark.parametrize("name", ["deit_small", "deit_small_distilled", "deit3_small"])
def test_layer_decay_is_a_power_of_the_distance_from_the_head(name: str) -> None:
    found = lr_scales(parameter_shapes(conf_model(name), 1000), 0.5)
    expected = {"head": 1, "head_dist": 1, "norm": 1 / 2, "patch_embed": 2**-13}
    expected |= dict.fromkeys(("cls_token", "pos_embed", "dist_token"), 2**-13)
    for parameter, scale in found.items():
        layer, _, rest = parameter.partition(".")
        block = int(rest.partition(".")[0]) if layer == "blocks" else None
        assert scale == (expected[layer] if block is None else 0.5 ** (12 - block)), parameter


def test_layer_decay_works_with_prefixed_names() -> None:
    names = (
        "net.blocks.0.norm1.gamma",
        "net.blocks.1.mlp.fc1.bias",
        "net.norm.beta",
        "net.patch_embed.proj.bias",
        "net.head.bias",
    )
    assert list(lr_scales(names, 0.1).values()) == pytest.approx([0.01, 0.1, 0.1, 0.001, 1])
