"""The network in a training file: prefixes, optimizers, separate q, k and v, grey patches, class names."""

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
from deit.models.recognise import recognise
from deit.models.shapes import parameter_shapes
from deit.weights.channels import adapt
from deit.weights.fit import fit
from deit.weights.naming import to_timm
from deit.weights.one_network import of_network
from deit.weights.read import class_names, description, read_shapes, read_weights
from deit.weights.whole import contradictions, require_exact

MICRO = ModelConfig(**yaml.safe_load((groups.CONF / "model" / "deit_micro.yaml").read_text(encoding="utf-8")))


def weights(classes: int = 4, seed: int = 1, **changes: object) -> dict[str, np.ndarray]:
    return initial_weights(parameter_shapes(dataclasses.replace(MICRO, **changes), classes), seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "network.", "backbone.net.", ""])
def test_common_prefix_is_removed(tmp_path: Path, prefix: str) -> None:
    theirs = to_timm(weights())
    file = tmp_path / "weights.SAFETENSORS"
    save_file({prefix + name: value for name, value in theirs.items()}, file)
    assert read_weights(file).keys() == read_shapes(file)[0].keys() == theirs.keys()


def test_an_optimizer_beside_the_network_is_left_out() -> None:
    named = {f"network.{name}": value for name, value in weights().items()}
    beside = {f"{moment}.network.{name}": value for moment in ("moment1", "adam_v") for name, value in weights().items()}
    for name in ("global_step", "learning_rate", "beta1_power", "scale_sense", "epoch_num"):
        beside[name] = np.zeros(1, np.float32)
    assert of_network(named | beside, "x", np.concatenate).keys() == weights().keys()


def test_file_with_several_networks_is_rejected() -> None:
    both = {f"{who}.{name}": value for who in ("student", "teacher") for name, value in weights().items()}
    with pytest.raises(UserError, match=r"contains 2 networks, under the prefixes 'student\.', 'teacher\.'"):
        of_network(both, "x", np.concatenate)


def test_separate_q_k_and_v_are_one_qkv() -> None:
    whole = weights()
    apart = {}
    for name, value in whole.items():
        if ".attn.qkv." in name:
            apart |= {name.replace("qkv", part): piece for part, piece in zip("qkv", np.split(value, 3), strict=True)}
        else:
            apart[name] = value
    joined = of_network(apart, "x", np.concatenate)
    assert joined.keys() == whole.keys()
    assert all(np.array_equal(joined[name], whole[name]) for name in whole)


def test_unknown_names_are_kept_for_the_report() -> None:
    assert of_network({"fc.weight": 1, "layer.bias": 2}, "x", sum) == {"fc.weight": 1, "layer.bias": 2}


# ------------------------------------------------------------------------------------------------------ what a file says


def test_heads_that_contradict_the_file_are_rejected(tmp_path: Path) -> None:
    """Shapes do not show the number of heads: only the file's own statement does."""
    file = tmp_path / "x.safetensors"
    save_file(weights(), file, description(dataclasses.asdict(MICRO), 4, "mindspore", list("abcd")))
    require_exact(file, MICRO, 4, "checkpoint")
    with pytest.raises(UserError, match=r"the file says num_heads=4, the configuration 2; give model\.num_heads=4"):
        require_exact(file, dataclasses.replace(MICRO, num_heads=2), 4, "checkpoint")
    metadata = read_shapes(file)[1]
    assert class_names(metadata, "x") == list("abcd") and metadata["format"] == "pt"
    assert contradictions(metadata, dataclasses.replace(MICRO, img_size=64)) == []  # position embeddings can be resized
    assert contradictions({}, MICRO) == []


def test_assumed_number_of_heads_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    shapes = parameter_shapes(MICRO, 4)
    model, _ = recognise(shapes, {}, "task.model=somebody.safetensors")
    assert isinstance(model, ModelConfig) and model.num_heads == 2  # 64 wide, although it has 4
    told = capsys.readouterr().err
    assert "somebody.safetensors: the file does not say how many attention heads" in told and "assuming 2" in told
    model, _ = recognise(shapes, description(dataclasses.asdict(MICRO), 4, "mindspore", None), "task.model=ours")
    assert isinstance(model, ModelConfig) and model.num_heads == 4
    assert capsys.readouterr().err == ""


def test_older_file_without_a_new_key_still_describes_its_model() -> None:
    told = dataclasses.asdict(MICRO)
    del told["pretrained_partial"]
    model, _ = recognise(parameter_shapes(MICRO, 4), description(told, 4, "mindspore", None), "x")
    assert model == MICRO


def test_damaged_class_names_are_rejected() -> None:
    for text in ("[1, 2]", "{", '"abc"'):
        with pytest.raises(UserError, match="class names in its metadata are damaged"):
            class_names({"classes": text}, "x")


# ----------------------------------------------------------------------------------------------------- half a network


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"depth": 6}, "not in the file: blocks.2.norm1.gamma"),
        ({"patch_size": 4}, "of another shape: patch_embed.proj.weight"),
        ({"mlp_ratio": 2.0}, "of another shape: blocks.0.mlp.fc1.weight"),
    ],
)
def test_partial_network_is_rejected(change: dict, told: str) -> None:
    fitting = fit(weights(), weights(seed=0, **change))[1]
    assert any(line.startswith(told) for line in fitting.lost), fitting.lost


@pytest.mark.parametrize("name", ["blocks.0.ls1.gamma", "fc_norm.weight", "reg_token", "norm_pre.weight"])
def test_tensor_unknown_to_the_model_is_rejected(name: str) -> None:
    """LayerScale, fc_norm, registers: a network without them computes something else."""
    (line,) = fit(weights() | {name: np.ones(128, np.float32)}, weights(seed=0))[1].lost
    assert line.startswith("unknown to the model")


def test_heads_and_the_distillation_token_may_change() -> None:
    plain, distilled = weights(), weights(distilled=True)
    assert fit(plain, weights(classes=7))[1].lost == []
    assert fit(plain, distilled)[1].lost == fit(distilled, plain)[1].lost == []
    headless = {name: value for name, value in plain.items() if not name.startswith("head")}
    assert fit(headless, plain)[1].lost == []


def test_patch_weights_for_grey_give_the_same_result_for_grey_images() -> None:
    grey = np.random.default_rng(0).standard_normal((5, 1, 2, 2)).astype(np.float32)
    image = np.random.default_rng(1).standard_normal((1, 2, 2)).astype(np.float32)
    colour = adapt(grey, 3)
    assert colour.shape == (5, 3, 2, 2)
    np.testing.assert_allclose((colour * np.repeat(image, 3, 0)).sum((1, 2, 3)), (grey * image).sum((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(adapt(colour, 1), grey, rtol=1e-6)
    theirs = weights() | {"patch_embed.proj.weight": weights()["patch_embed.proj.weight"][:, :1]}
    fitted, told = fit(theirs, weights(seed=0))
    assert told.lost == [] and told.adapted == {"patch_embed.proj.weight": "from 1 to 3 colour channels"}
    assert fitted["patch_embed.proj.weight"].shape == (128, 3, 8, 8)


def test_more_channels_repeat_the_colours_as_in_timm() -> None:
    """timm's adapt_input_conv: repeated, cut, times 3 / n."""
    colour = np.random.default_rng(0).standard_normal((4, 3, 2, 2)).astype(np.float32)
    wide = adapt(colour, 5)
    np.testing.assert_allclose(wide, np.concatenate([colour, colour[:, :2]], 1) * (3 / 5), rtol=1e-6)


# -------------------------------------------------------------------------------------------------------- class names


def test_a_head_follows_the_names_of_the_classes() -> None:
    theirs, initial = weights(), weights(seed=0)
    fitted, told = fit(theirs, initial, list("abcd"), list("badc"))
    assert told.replaced == {}
    np.testing.assert_array_equal(fitted["head.weight"], theirs["head.weight"][[1, 0, 3, 2]])
    np.testing.assert_array_equal(fitted["head.bias"], theirs["head.bias"][[1, 0, 3, 2]])


def test_a_head_of_as_many_other_classes_is_replaced() -> None:
    theirs, initial = weights(), weights(seed=0)
    fitted, told = fit(theirs, initial, list("abcd"), list("abcz"))
    np.testing.assert_array_equal(fitted["head.weight"], initial["head.weight"])
    assert "head.weight is initial, for other classes than the file's" in told.lines() and told.lost == []
    assert fit(theirs, initial, None, list("abcz"))[1].replaced == {}  # nobody knows
