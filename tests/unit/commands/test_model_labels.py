"""Short names for the models of a comparison."""

from __future__ import annotations

from deit.commands.compare_models import labels


def test_labels_are_short_and_distinct() -> None:
    run = {"model": "deit_tiny", "seed": "seed=0", "format": "MindSpore", "run": "1a2b3c", "path": "runs/1"}
    assert labels([run, run | {"model": "deit_small"}]) == ["deit_tiny", "deit_small"]
    assert labels([run, run | {"seed": "seed=1"}, run | {"format": "onnx"}]) == [
        "seed=0 MindSpore",
        "seed=1 MindSpore",
        "seed=0 onnx",
    ]
    assert labels([run, run | {"run": "4d5e6f", "path": "runs/2"}]) == ["1a2b3c", "4d5e6f"]
    assert labels([run, run, {"model": "deit_tiny"}]) == ["seed=0 #1", "seed=0 #2", "model"]
