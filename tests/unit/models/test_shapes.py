"""Parameters and multiply-adds of the models, without MindSpore."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deit.config.schema import ModelConfig
from deit.models.shapes import gmacs, parameter_count

CONF = Path(__file__).parents[3] / "conf" / "model"


def model(name: str) -> ModelConfig:
    return ModelConfig(**yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("name", "parameters", "work"),
    [
        ("deit_tiny", 5_717_416, "1.254"),
        ("deit_tiny_distilled", 5_910_800, "1.261"),
        ("deit_small", 22_050_664, "4.599"),
        ("deit_small_distilled", 22_436_432, "4.624"),
        ("deit_base", 86_567_656, "17.564"),
        ("deit_base_distilled", 87_338_192, "17.657"),
        ("deit_base_384", 86_859_496, "55.484"),
        ("deit_base_distilled_384", 87_630_032, "55.591"),
        ("deit3_small", 22_059_496, "4.599"),
        ("deit3_huge", 632_126_440, "167.295"),
    ],
)
def test_sizes_are_the_published_ones(name: str, parameters: int, work: str) -> None:
    assert parameter_count(model(name), 1000) == parameters
    assert f"{gmacs(model(name), 1000):.3f}" == work


@pytest.mark.process
def test_shapes_need_no_mindspore() -> None:
    needed = "deit.models.shapes, deit.recipe.schedule, deit.optim.parameter_groups"
    code = f"import sys, {needed}; sys.exit('mindspore' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
