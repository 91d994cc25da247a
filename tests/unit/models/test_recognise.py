"""Which network a weight file contains, from its metadata or its shapes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from composition import composed
from teachers import deit, drawn

from deit.config.schema import ModelConfig
from deit.errors import UserError
from deit.models.recognise import recognise
from deit.models.shapes import parameter_shapes
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory
from deit.weights.read import description, read_shapes


@pytest.mark.parametrize(
    "option", ["deit_tiny", "deit_small_distilled", "deit_base_384", "deit_base_distilled_384", "deit3_large_384", "deit3_huge"]
)
def test_published_deits_are_detected_by_their_shapes(option: str) -> None:
    distilled = ("distill=hard", "distill.teacher=t") if "distilled" in option else ()
    model = composed(f"model={option}", *distilled, "hardware=cpu").model
    found, classes = recognise(parameter_shapes(model, 1000), {}, "file")
    assert isinstance(found, ModelConfig)
    same = (
        "img_size",
        "patch_size",
        "embed_dim",
        "depth",
        "num_heads",
        "mlp_ratio",
        "distilled",
        "no_embed_class",
        "init_values",
    )
    assert [getattr(found, key) for key in same] == [getattr(model, key) for key in same] and classes == 1000


def test_metadata_of_a_file_takes_precedence_over_a_guess() -> None:
    model = deit(embed_dim=128, num_heads=4)  # by its width alone it would have two heads
    told = description(dataclasses.asdict(model), 10, "mindspore")
    assert recognise(parameter_shapes(model, 10), told, "file") == (model, 10)
    assert recognise(parameter_shapes(model, 10), {}, "file")[0].num_heads == 2


@pytest.mark.parametrize(
    ("shapes", "metadata", "word"),
    [
        ({"conv1.weight": (64, 3, 7, 7), "fc.weight": (1000, 2048)}, {}, "neither those of a DeiT nor of a RegNetY"),
        ({}, {}, "neither those of a DeiT nor of a RegNetY"),
        (parameter_shapes(deit(), 10), {}, "how many attention heads"),
        (parameter_shapes(deit(), 10), {"model": "{", "num_classes": "10"}, "damaged"),
        (parameter_shapes(deit(), 10), {"model": '{"depth": 1}', "num_classes": "10"}, "damaged"),
        (parameter_shapes(deit(), 10), {"model": "[]", "num_classes": "10"}, "damaged"),
        (parameter_shapes(deit(), 10), description(dataclasses.asdict(deit(depth=2)), 10, "timm"), "blocks.1"),
        (parameter_shapes(deit(embed_dim=64), 10) | {"blocks.0.attn.q_norm.weight": (64,)}, {}, "blocks.0.attn.q_norm.weight"),
        (parameter_shapes(deit(embed_dim=64), 10) | {"blocks.0.ls1.gamma": (64,)}, {}, "blocks.0.ls2.gamma"),
        (parameter_shapes(deit(embed_dim=64), 10) | {"pos_embed": (1, 7, 64)}, {}, "pos_embed"),
        (parameter_shapes(deit(embed_dim=64), 10) | {"patch_embed.proj.weight": (64,)}, {}, "patch_embed.proj.weight"),
    ],
)
def test_other_networks_are_rejected(shapes: dict[str, tuple[int, ...]], metadata: dict[str, str], word: str) -> None:
    with pytest.raises(UserError) as error:
        recognise(shapes, metadata, "file")
    assert str(error.value).startswith("file:") and word in str(error.value)


def test_checkpoint_is_recognised_as_a_teacher(tmp_path: Path) -> None:
    """A student's own checkpoint folder is recognised as a distilled model."""
    run = RunDirectory(tmp_path)
    model = deit()
    state = {"model": dataclasses.asdict(model), "num_classes": 10}
    folder = checkpoint.write(run, 1, {"model": drawn(parameter_shapes(model, 10))}, state)
    shapes, metadata = read_shapes(folder / "model.safetensors")
    assert recognise(shapes, metadata, "file") == (model, 10)
