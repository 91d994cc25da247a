"""Training with a few vectors, as on Ascend, compared with single parameters; both on the CPU."""

from __future__ import annotations

import dataclasses
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from composition import composed
from trainer import PLAIN, Trainer, batch, trainer_of

from deit.engine import device
from deit.engine.flat_weights import FlatWeights, divide
from deit.engine.network import build_network

LAMB = ("optim=lamb", "optim.base_lr=3e-3", "optim.lr_base_size=null")
SGD = ("optim=sgd", "optim.base_lr=2e-3")

pytestmark = pytest.mark.usefixtures("graph_mode")


def test_vectors_have_one_key_and_a_limited_length() -> None:
    keys, sizes = ["a", "b", "a", "a", "b", "a"], [4, 1, 3, 3, 1, 9]
    assert divide(keys, sizes, longest=7) == [[5], [4, 1], [3, 2], [0]]  # from the last on; 9 alone is too long for any
    assert divide(keys, sizes, longest=100) == [[5, 3, 2, 0], [4, 1]]


def flat_of(*overrides: str, **options: Any) -> FlatWeights:
    config = composed(*PLAIN, *overrides)
    return FlatWeights(build_network(config), config.optim, averaged=False, **options)


def test_a_vector_has_one_rule_and_one_type() -> None:
    flat = flat_of("precision=o1")
    kinds = {
        (rule.decayed, rule.lr_scale, str(kind)): {piece.name for piece in pieces}
        for rule, kind, pieces in zip(flat.rules, flat.types, flat.pieces, strict=True)
    }
    weights = {"head.weight", "patch_embed.proj.weight"} | {
        f"blocks.0.{name}.weight" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    }
    assert kinds.keys() == {(True, 1.0, "Float16"), (False, 1.0, "Float16"), (False, 1.0, "Float32")}
    assert kinds[True, 1.0, "Float16"] == weights
    assert kinds[False, 1.0, "Float16"] == {name.replace(".weight", ".bias") for name in weights}
    assert {"pos_embed", "cls_token", "norm.gamma", "blocks.0.norm1.beta"} <= kinds[False, 1.0, "Float32"]
    rates = {rule.lr_scale for rule in flat_of("optim.layer_decay=0.5").rules}
    assert rates == {1.0, 0.5, 0.25}
    # LAMB needs the norm of each decayed parameter.
    lamb = flat_of(*LAMB)
    assert all(len(pieces) == 1 for rule, pieces in zip(lamb.rules, lamb.pieces, strict=True) if rule.decayed)
    assert len(lamb.rules) == 6 + 1


HALF = ("precision=o2", "precision.loss_scale_init=1024")
CASES = {
    "adamw": (),
    "sgd": (*SGD, "optim.nesterov=true", *HALF),
    "lamb": (*LAMB, *HALF),
    "clip": ("optim.clip_grad=0.5", *HALF),
    "everything": (
        *("precision=o1", "precision.loss_scale_init=1024", "optim.layer_decay=0.6"),
        *("optim.accumulation_steps=2", "data.batch_size=4"),
    ),
}


def of(name: str, *, flat: bool) -> Trainer:
    freeze = "all_but_attention" if name == "everything" else "none"
    return trainer_of("ema.decay=0.9", "optim.clip_grad=null", *CASES[name], flat=flat, freeze=freeze)


@pytest.mark.parametrize("name", CASES)
def test_vectors_give_the_same_bits_as_single_parameters(name: str) -> None:
    """Only the norm of all gradients is summed in another order; if it clips, the last bits differ."""
    single, flat = of(name, flat=False), of(name, flat=True)
    assert single.state.flat is None and flat.state.flat is not None and flat.state.average is None
    for seed in range(3):
        mine, other = single.step(*batch(seed)), flat.step(*batch(seed))
        assert mine[0] == pytest.approx(other[0], rel=1e-6) and mine[2:] == other[2:]
        assert mine[1] == pytest.approx(other[1], rel=1e-5)
    expected, found = single.state.parts(), flat.state.parts()
    assert {part: list(values) for part, values in found.items()} == {part: list(v) for part, v in expected.items()}
    for part, values in expected.items():
        for key, value in values.items():
            assert found[part][key].dtype == value.dtype and found[part][key].shape == value.shape, key
            if name == "clip":
                np.testing.assert_allclose(found[part][key], value, atol=2e-6, rtol=1e-5, err_msg=key)
            else:
                np.testing.assert_array_equal(found[part][key], value, err_msg=f"{part} {key}")


@pytest.mark.parametrize("name", ["clip", "sgd", "lamb"])
def test_overflow_changes_only_the_loss_scale(name: str) -> None:
    """In half precision, with which a gradient can be infinite."""
    trainer = of(name, flat=True)
    trainer.step(*batch(0))  # so that no moment is zero
    before = trainer.state.parts()
    before["optimizer"]["loss_scale"] = np.array(1e30, np.float32)
    trainer.state.load(before)
    assert not trainer.step(*batch(1))[2]
    after = trainer.state.parts()
    for part, values in before.items():
        for key, value in values.items():
            if not key.startswith("loss_scale"):
                np.testing.assert_array_equal(after[part][key], value, err_msg=f"{part} {key}")
    after["optimizer"]["loss_scale"] = np.array(1024, np.float32)
    trainer.state.load(after)
    assert trainer.step(*batch(1))[2]
    moved = trainer.state.parts()
    assert all((moved["model"][key] != value).any() for key, value in before["model"].items())


def test_a_checkpoint_fits_both_forms() -> None:
    """A run of a card can be continued on the CPU, and the other way round."""
    single, flat = of("adamw", flat=False), of("adamw", flat=True)
    single.step(*batch(0))
    saved = single.state.parts()
    flat.state.load(saved)
    for part, values in flat.state.parts().items():
        for key, value in values.items():
            np.testing.assert_array_equal(value, saved[part][key], err_msg=key)
    assert single.step(*batch(1)) == pytest.approx(flat.step(*batch(1)), rel=1e-5)
    single.state.load(flat.state.parts())
    assert single.step(*batch(2)) == pytest.approx(flat.step(*batch(2)), rel=1e-5)


def test_weights_and_average_reach_the_network_that_is_evaluated() -> None:
    trainer = of("everything", flat=True)
    trainer.step(*batch(0))
    parts, evaluated = trainer.state.parts(), build_network(trainer.config, prefix="evaluated.")
    for averaged, part in ((False, "model"), (True, "ema")):
        trainer.state.copy_weights_to(evaluated, averaged=averaged)
        for name, parameter in evaluated.parameters_dict().items():
            np.testing.assert_array_equal(parameter.asnumpy(), parts[part][name.removeprefix("evaluated.")], err_msg=name)
    trainer.state.copy_weights_to(trainer.state.network, averaged=False)
    head = trainer.state.network.parameters_dict()["head.weight"].asnumpy()
    np.testing.assert_array_equal(head, parts["model"]["head.weight"].astype(np.float16))


@pytest.mark.versions
def test_compiled_outside_of_graph_mode_a_step_is_the_same() -> None:
    """As a training on a card runs; the CPU takes the same path if it is asked to."""
    if ms.__version__.startswith("2.7."):
        pytest.skip("MindSpore 2.7 has SplitWithSize for Ascend alone")
    graph = of("adamw", flat=True)
    config = graph.config
    ahead = Trainer(config, flat=True)
    expected = [graph.step(*batch(seed)) for seed in range(2)]
    hardware = dataclasses.replace(config.hardware, target="ascend", jit_level="O0")
    device.run_ahead(hardware)
    assert ms.get_context("mode") == ms.PYNATIVE_MODE
    ahead.cells = {update: device.compiled(cell, hardware) for update, cell in ahead.cells.items()}
    assert [ahead.step(*batch(seed)) for seed in range(2)] == expected
    found = ahead.state.parts()
    for part, values in graph.state.parts().items():
        for key, value in values.items():
            np.testing.assert_array_equal(found[part][key], value, err_msg=key)


def test_the_cpu_stays_in_graph_mode() -> None:
    hardware = composed(*PLAIN).hardware
    device.run_ahead(hardware)
    assert ms.get_context("mode") == ms.GRAPH_MODE
