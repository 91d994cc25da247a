"""Which parameters model.freeze trains."""

from __future__ import annotations

import dataclasses

import pytest
from composition import composed

from deit.models.freezing import blocks_to_freeze, is_trained, trained_count
from deit.models.shapes import parameter_count

NAMES = ("cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.1.mlp.fc1.bias")
NAMES += ("blocks.10.norm1.gamma", "norm.beta", "head.weight", "head_dist.bias")


@pytest.mark.parametrize(
    ("freeze", "trained"),
    [
        ("none", set(NAMES)),
        ("all_but_head", {"head.weight", "head_dist.bias"}),
        ("all_but_attention", {"pos_embed", "blocks.0.attn.qkv.weight", "head.weight", "head_dist.bias"}),
        ("0", set(NAMES[3:])),
        ("1", set(NAMES[4:])),
        ("2", set(NAMES[5:])),
    ],
)
def test_trained_parameters(freeze: str, trained: set[str]) -> None:
    assert {name for name in NAMES if is_trained(name, freeze)} == trained


def test_numbers_are_digits_and_scalars_are_counted() -> None:
    assert [blocks_to_freeze(text) for text in ("0", "12", "none", "all_but_head", "-1", "²")] == [
        0,
        12,
        None,
        None,
        None,
        None,
    ]
    model = composed("experiment=quickstart").model
    assert trained_count(model, 10) == parameter_count(model, 10)
    probe = dataclasses.replace(model, freeze="all_but_head")
    assert trained_count(probe, 10) == 10 * model.embed_dim + 10
