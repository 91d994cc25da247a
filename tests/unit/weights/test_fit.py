"""Weights of one model in another: what is taken, resized, initialised or rejected."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from deit.compose import groups
from deit.config.schema import ModelConfig
from deit.errors import UserError
from deit.models.initialisation import initial_weights
from deit.models.shapes import parameter_shapes
from deit.weights.fit import compare, fit
from deit.weights.naming import to_timm
from deit.weights.pos_embed import resize
from deit.weights.read import description, grid_of
from deit.weights.whole import require_exact


def option(name: str) -> ModelConfig:
    return ModelConfig(**yaml.safe_load((groups.CONF / "model" / f"{name}.yaml").read_text(encoding="utf-8")))


def micro(**changes: object) -> ModelConfig:
    return dataclasses.replace(option("deit_micro"), embed_dim=16, num_heads=2, **changes)  # type: ignore[arg-type]


def weights(classes: int = 10, seed: int = 0, **changes: object) -> dict[str, np.ndarray]:
    model = micro(**changes)
    return initial_weights(parameter_shapes(model, classes), seed, model.init_values)


def test_same_model_is_loaded_completely() -> None:
    theirs, initial = weights(seed=1), weights()
    fitted, told = fit(to_timm(theirs), initial)
    assert told.taken == list(initial) and len(told.lines()) == 1 and not told.useless
    assert fitted.keys() == initial.keys()
    assert all(np.array_equal(fitted[name], theirs[name]) for name in initial)


def test_head_of_another_size_is_initialised() -> None:
    theirs, initial = weights(classes=1000, seed=1), weights()
    fitted, told = fit(theirs, initial)
    assert told.replaced == {"head.weight": ((1000, 16), (10, 16)), "head.bias": ((1000,), (10,))}
    np.testing.assert_array_equal(fitted["head.weight"], initial["head.weight"])
    np.testing.assert_array_equal(fitted["pos_embed"], theirs["pos_embed"])
    assert "head.weight is initial, for 10 classes instead of the file's 1000" in told.lines()


def test_another_image_size_resizes_the_position_embedding() -> None:
    theirs, initial = weights(seed=1), weights(img_size=48)
    fitted, told = fit(theirs, initial)
    np.testing.assert_array_equal(fitted["pos_embed"], resize(theirs["pos_embed"], 1, 6))
    assert told.resized == {"pos_embed": "from 4 x 4 to 6 x 6 patches"}
    assert "pos_embed resized from 4 x 4 to 6 x 6 patches" in told.lines()


def test_rectangular_grids_with_as_many_patches_are_distinguished() -> None:
    theirs, initial = weights(seed=1, img_size=[16, 48]), weights(img_size=[48, 16])
    assert theirs["pos_embed"].shape == initial["pos_embed"].shape
    fitted, told = fit(theirs, initial, grids=((2, 6), (6, 2)))
    assert told.resized == {"pos_embed": "from 2 x 6 to 6 x 2 patches"} and "pos_embed" not in told.taken
    np.testing.assert_array_equal(fitted["pos_embed"], resize(theirs["pos_embed"], 1, (6, 2), old=(2, 6)))
    assert fit(theirs, weights(img_size=[16, 48]), grids=((2, 6), (2, 6)))[1].resized == {}
    # 9 x 11 patches and the class token are as many rows as a square of 10 x 10 without it.
    theirs, initial = weights(seed=1, img_size=[72, 88]), weights(img_size=48)
    fitted, told = fit(theirs, initial, grids=((9, 11), (6, 6)))
    assert told.resized == {"pos_embed": "from 9 x 11 to 6 x 6 patches"}
    np.testing.assert_array_equal(fitted["pos_embed"][:, :1], theirs["pos_embed"][:, :1])


def test_checkpoint_of_another_aspect_ratio_is_rejected(tmp_path: Path) -> None:
    model, file = micro(img_size=[16, 48]), tmp_path / "wide.safetensors"
    told = description(dataclasses.asdict(model), 10, "mindspore")
    save_file(weights(img_size=[16, 48]), file, told)
    require_exact(file, model, 10, "checkpoint")
    assert grid_of(file) == (2, 6)
    with pytest.raises(UserError, match=r"the file says img_size=\[16, 48\], the configuration \[48, 16\]"):
        require_exact(file, micro(img_size=[48, 16]), 10, "checkpoint")


def test_distilled_weights_for_a_plain_model_drop_the_token() -> None:
    theirs, initial = weights(seed=1, distilled=True), weights(img_size=48)
    fitted, told = fit(theirs, initial)
    np.testing.assert_array_equal(fitted["pos_embed"][:, 0], theirs["pos_embed"][:, 0])
    np.testing.assert_array_equal(fitted["pos_embed"][:, 1:], resize(theirs["pos_embed"], 2, 6)[:, 2:])
    assert told.extra == ["dist_token", "head_dist.weight", "head_dist.bias"] and not told.missing
    assert "without the row of the distillation token" in told.resized["pos_embed"]
    np.testing.assert_array_equal(fitted["head.weight"], theirs["head.weight"])


def test_plain_weights_for_a_distilled_model_initialise_the_token() -> None:
    theirs, initial = weights(seed=1), weights(distilled=True)
    fitted, told = fit(theirs, initial)
    rows = fitted["pos_embed"]
    np.testing.assert_array_equal(rows[:, 0], theirs["pos_embed"][:, 0])
    np.testing.assert_array_equal(rows[:, 1], initial["pos_embed"][:, 1])
    np.testing.assert_array_equal(rows[:, 2:], theirs["pos_embed"][:, 1:])
    assert told.missing == ["dist_token", "head_dist.weight", "head_dist.bias"]
    assert told.resized["pos_embed"] == "with an initial row for the distillation token"


def test_position_embedding_without_token_rows_is_resized() -> None:
    theirs = weights(seed=1, no_embed_class=True, init_values=1e-4)
    named = {name.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): value for name, value in theirs.items()}
    fitted, told = fit(named, weights(img_size=48, no_embed_class=True, init_values=1e-2, classes=7))
    np.testing.assert_array_equal(fitted["pos_embed"], resize(theirs["pos_embed"], 0, 6))
    np.testing.assert_array_equal(fitted["blocks.1.ls2.gamma"], theirs["blocks.1.ls2.gamma"])
    assert told.resized == {"pos_embed": "from 4 x 4 to 6 x 6 patches"} and not told.lost
    assert list(told.replaced) == ["head.weight", "head.bias"]


@pytest.mark.parametrize("distilled", [False, True])
def test_position_of_the_class_token_is_dropped_or_initialised(distilled: bool) -> None:
    alone, first = weights(seed=1, no_embed_class=True, distilled=distilled), weights(distilled=distilled)
    tokens = 1 + distilled
    fitted, told = fit(alone, first)
    np.testing.assert_array_equal(fitted["pos_embed"][:, :tokens], first["pos_embed"][:, :tokens])
    np.testing.assert_array_equal(fitted["pos_embed"][:, tokens:], alone["pos_embed"])
    assert told.resized["pos_embed"].startswith("with an initial row for the class token")
    fitted, told = fit(first, alone)
    np.testing.assert_array_equal(fitted["pos_embed"], first["pos_embed"][:, tokens:])
    assert told.resized["pos_embed"].startswith("without the row of the class token")


def test_all_other_names_are_reported() -> None:
    theirs, initial = weights(seed=1, depth=3), weights(mlp_ratio=2.0)
    del theirs["cls_token"]
    fitted, told = fit(theirs, initial)
    assert told.missing == ["cls_token"]
    assert len(told.extra) == 12 and all(name.startswith("blocks.2.") for name in told.extra)
    assert told.misshapen.keys() == {
        f"blocks.{i}.mlp.{name}" for i in (0, 1) for name in ("fc1.weight", "fc1.bias", "fc2.weight")
    }
    assert {*told.taken, *told.missing, *told.misshapen} == initial.keys()
    for name in (*told.missing, *told.misshapen):
        np.testing.assert_array_equal(fitted[name], initial[name])
    assert told.to_dict()["extra"] == told.extra
    shown = "\n".join(told.lines())
    assert "cls_token" in shown and "(12)" in shown and "(64, 16) instead of (32, 16)" in shown


def test_non_square_position_embedding_is_rejected() -> None:
    found = {name: value.shape for name, value in weights().items()} | {"pos_embed": (1, 12, 16)}
    needed = {name: value.shape for name, value in weights(img_size=48).items()}
    assert compare(found, needed).misshapen["pos_embed"] == ((1, 12, 16), (1, 37, 16))


def test_file_with_only_a_head_is_rejected() -> None:
    """The bias of a head fits every model of as many classes."""
    shapes = {name: value.shape for name, value in weights().items()}
    wider = parameter_shapes(dataclasses.replace(micro(), embed_dim=32), 10)
    told = compare(wider, shapes)
    assert told.taken == ["head.bias"] and told.useless
    assert compare({"stem.conv.weight": (32, 3, 3, 3)}, shapes).useless


def test_evaluation_needs_every_name_and_shape(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    theirs = to_timm(weights())
    save_file(theirs, file)
    require_exact(file, micro(), 10, "checkpoint")
    for changed, told in (
        (theirs | {"fc.bias": np.zeros(3, np.float32)}, "not in the model: fc.bias"),
        ({name: value for name, value in theirs.items() if name != "norm.weight"}, "missing: norm.gamma"),
        (theirs | {"head.bias": np.zeros(3, np.float32)}, r"head.bias \(3,\) instead of \(10,\)"),
    ):
        save_file(changed, file, description(dataclasses.asdict(micro()), 10, "timm", None))
        with pytest.raises(UserError, match=told) as error:
            require_exact(file, micro(), 10, "checkpoint")
        assert "its metadata say deit_micro with img_size 32, 10 classes" in str(error.value)
