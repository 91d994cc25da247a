"""What each generation of Ascend cards supports."""

from __future__ import annotations

import dataclasses
import os
from functools import cache
from typing import Any

import pytest
from composition import freeze
from npu_tables import ascend

from deit.config import card_rules
from deit.config.schema import RunConfig
from deit.worker import prepare_environment

ASCEND = ("hardware=ascend1",)
O1, BF16, FP32 = ("precision=o1",), ("precision=bf16",), ("precision=fp32",)
TOO_NARROW = ("model.embed_dim=24", "model.num_heads=3")  # heads of width 8


@cache
def recipe(*overrides: str) -> RunConfig:
    return freeze(*overrides)


def with_attention(config: RunConfig, attention: str) -> RunConfig:
    return dataclasses.replace(config, model=dataclasses.replace(config.model, attention=attention))


@pytest.mark.parametrize(
    ("overrides", "generation", "auto", "reason"),
    [
        ([*ASCEND, *O1], "910B", True, None),
        ([*ASCEND, *O1], "910_93", True, None),
        ([*ASCEND, *BF16], "910B", True, None),
        ([*ASCEND, "precision=o3"], "910B", True, None),
        ([*ASCEND, *O1, "model.embed_dim=96", "model.num_heads=6"], "910B", True, None),
        (
            [*ASCEND, *O1, *TOO_NARROW],
            "910B",
            False,
            "a multiple of 16, but model.embed_dim is 24 and model.num_heads 3, which is 8",
        ),
        ([*ASCEND, *FP32], "910B", False, "half precision, but precision.level is O0"),
        ([*ASCEND, *O1], "910A", False, "a 910A"),
        ([*ASCEND, *FP32], "910A", False, "a 910A"),
        ([*ASCEND, *O1], None, False, None),  # of an unknown card only the user may know it
        (["hardware=cpu", *O1], None, False, "hardware.target is cpu"),
        (["hardware=gpu1", *O1], None, False, "hardware.target is gpu"),
    ],
)
def test_flash_attention_depends_on_card_type_and_width(
    overrides: list[str], generation: str | None, auto: bool, reason: str | None
) -> None:
    config = recipe(*overrides)
    of = (config.precision, config.hardware.target, generation)
    assert card_rules.uses_flash(config.model, *of) is auto
    flash, plain = (with_attention(config, attention).model for attention in ("flash", "plain"))
    assert not card_rules.uses_flash(plain, *of) and card_rules.uses_flash(flash, *of)
    refused = [line for line in card_rules.network(flash, *of) if line.startswith("model.attention is flash, which needs ")]
    assert bool(refused) is (reason is not None)
    if reason is not None:
        assert any(reason in line for line in refused) and all(
            line.endswith("; give model.attention=auto.") for line in refused
        )


@pytest.mark.parametrize("precision", ["o1", "o2", "o3", "bf16", "fp32"])
@pytest.mark.parametrize("generation", ["910A", "910B", "910_93", None])
def test_the_910a_computes_only_in_float32(precision: str, generation: str | None) -> None:
    config = recipe(*ASCEND, f"precision={precision}")
    found = card_rules.of_network(config, generation)
    if generation != "910A" or precision == "fp32":
        assert found == []
        return
    (line,) = found
    assert "the Ascend card is a 910A" in line and line.endswith("; give precision=fp32.")
    assert ("has no bfloat16" in line) is (precision == "bf16") and ("no step would see it" in line) is (precision != "bf16")


@pytest.mark.parametrize(
    ("level", "jit", "generation", "expected"),
    [
        ("auto", True, "910A", "O0"),
        ("auto", True, "910B", "O1"),
        ("auto", True, "910_93", "O1"),
        ("auto", True, None, None),
        ("O0", True, "910B", "O0"),
        ("O2", True, None, "O2"),
        ("O1", False, "910B", None),
    ],
)
def test_jit_level_depends_on_the_card(level: str, jit: bool, generation: str | None, expected: str | None) -> None:
    assert card_rules.jit_level(ascend(jit_level=level, jit=jit), generation) == expected


@pytest.mark.parametrize(
    ("target", "found", "refused"),
    [
        ("ascend", None, False),
        ("ascend", "", False),
        ("ascend", "INFNAN_MODE", False),
        ("ascend", "SATURATION_MODE", True),
        ("ascend", "infnan_mode", True),
        ("ascend", "1", True),
        ("cpu", "SATURATION_MODE", False),
    ],
)
def test_saturating_overflow_mode_is_rejected(
    target: str, found: str | None, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = card_rules.OVERFLOW_MODE
    monkeypatch.delenv(name, raising=False)
    environment: dict[str, Any] = {} if found is None else {name: found}
    lines = card_rules.overflow_mode(target, environment)
    assert bool(lines) is refused
    if refused:
        assert f"{name}={found}" in lines[0] and "allowed" in lines[0] and "INFNAN_MODE" in lines[0]
        return
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    prepare_environment(recipe(*ASCEND, *O1) if target == "ascend" else recipe("hardware=cpu", *O1))
    assert os.environ.get(name) == ("INFNAN_MODE" if target == "ascend" else found)
