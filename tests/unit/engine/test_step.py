"""The training step on small models: accumulation, EMA, clipping, overflows, frozen parameters, stochastic depth."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from composition import composed
from trainer import TINY, batch, trainer_of

from deit.engine.normalize import Inputs
from deit.engine.step import TrainStep
from deit.engine.step_inputs import BatchInputs, StepInputs
from deit.engine.step_randomness import drop_path
from deit.engine.teacher import Teacher

pytestmark = pytest.mark.usefixtures("graph_mode")


def test_arguments_have_the_same_names_everywhere() -> None:
    """They are passed by position, so a name out of order would hand one tensor in as another."""
    batch_names = list(BatchInputs._fields)
    assert list(StepInputs._fields) == list(inspect.signature(TrainStep.construct).parameters)[1:]
    assert list(StepInputs._fields)[: len(batch_names)] == batch_names
    for takes_batch in (Inputs.construct, Teacher.construct):
        assert list(inspect.signature(takes_batch).parameters)[1:] == batch_names


SGD = ("optim=sgd", "optim.base_lr=2e-3", "optim.weight_decay=0")


def test_accumulation_equals_one_large_batch() -> None:
    """By SGD, whose steps are as far apart as the gradients are.

    AdamW divides a gradient by its own size. That of the keys' bias is nothing but rounding, since softmax does not see the
    bias, so that its steps would differ by what the rounding of this machine's CPU happens to be.
    """
    images, labels = batch(0)
    whole, parts = trainer_of(*SGD), trainer_of(*SGD, "data.batch_size=2", "optim.accumulation_steps=4")
    start = whole.state.parts()["model"]
    for _ in range(3):
        a, b = whole.step(images, labels, lr=0.1), parts.step(images, labels, lr=0.1)
        assert a[0] == pytest.approx(b[0], rel=1e-6) and a[1] == pytest.approx(b[1], rel=1e-5)
    mine, other = whole.state.parts(), parts.state.parts()
    assert np.abs(mine["model"]["head.weight"] - start["head.weight"]).max() > 1e-3
    for part in ("model", "ema"):
        for name, value in mine[part].items():
            np.testing.assert_allclose(value, other[part][name], atol=2e-6, err_msg=name)


def test_ema_is_the_running_average_of_the_weights() -> None:
    trainer = trainer_of("ema.decay=0.9")
    average = trainer.state.parts()["model"]
    for seed in range(4):
        trainer.step(*batch(seed))
        parts = trainer.state.parts()
        average = {name: 0.9 * average[name] + 0.1 * parts["model"][name] for name in average}
        for name in average:
            np.testing.assert_allclose(parts["ema"][name], average[name], atol=1e-6, err_msg=name)


def test_ema_warmup_equals_timm() -> None:
    """The first update copies the weights, the later decays are those of ModelEmaV3 (tests/unit/recipe/test_ema_decay.py)."""
    trainer = trainer_of("ema.decay=0.4", "ema.warmup=true")
    average = trainer.state.parts()["model"]
    for seed, decay in enumerate([0.0, 0.3700394750525634, 0.4, 0.4]):
        trainer.step(*batch(seed))
        parts = trainer.state.parts()
        average = {name: decay * average[name] + (1 - decay) * parts["model"][name] for name in average}
        for name in average:
            np.testing.assert_allclose(parts["ema"][name], average[name], atol=1e-6, err_msg=name)


def test_clipping_bounds_the_update_of_sgd() -> None:
    """The first update, which is the gradient with any momentum."""
    images, labels = batch(0)
    free, clipped = trainer_of(*SGD), trainer_of(*SGD, "optim.clip_grad=0.25")
    start = free.state.parts()["model"]
    norm_free = free.step(images, labels, lr=1.0)[1]
    norm_clipped = clipped.step(images, labels, lr=1.0)[1]
    assert norm_clipped == pytest.approx(norm_free, rel=1e-6) and norm_free > 0.25  # reported before clipping
    for trainer, length in ((free, norm_free), (clipped, 0.25 * norm_free / (norm_free + 1e-6))):
        moved = trainer.state.parts()["model"]
        assert math.sqrt(sum(((moved[n] - start[n]) ** 2).sum() for n in start)) == pytest.approx(length, rel=1e-3)


def test_overflow_skips_the_step_and_halves_the_scale() -> None:
    trainer = trainer_of("precision=o2", "precision.loss_scale_init=1e30", "precision.loss_scale_window=2")
    start = trainer.state.parts()
    loss, _, finite, scale = trainer.step(*batch(0))
    assert not finite and scale == pytest.approx(5e29) and math.isfinite(loss)
    after = trainer.state.parts()
    for part in start:
        for name, value in start[part].items():
            if not name.startswith("loss_scale"):
                np.testing.assert_array_equal(after[part][name], value, err_msg=name)
    # Set to a scale that fits: two good steps in a row double it, and the weights move.
    after["optimizer"]["loss_scale"] = np.array(1024, np.float32)
    trainer.state.load(after)
    scales = [trainer.step(*batch(seed))[3] for seed in range(4)]
    assert scales == [1024, 2048, 2048, 4096]
    assert int(trainer.state.parts()["optimizer"]["step"]) == 4


def test_restored_state_repeats_the_same_numbers() -> None:
    trainer = trainer_of("ema.decay=0.9")
    trainer.step(*batch(0))
    saved = trainer.state.parts()
    first = [trainer.step(*batch(seed)) for seed in range(1, 4)]
    trainer.state.load(saved)
    assert [trainer.step(*batch(seed)) for seed in range(1, 4)] == first


TWO_BLOCKS = ("model.depth=2", "ema.decay=0.5")


@pytest.mark.parametrize(
    ("freeze", "trained"),
    [
        ("all_but_head", ("head.",)),
        ("all_but_attention", ("head.", "pos_embed", "blocks.0.attn.", "blocks.1.attn.")),
        ("1", ("head.", "norm.", "blocks.1.")),
    ],
)
def test_frozen_parameters_do_not_change_and_have_no_state(freeze: str, trained: tuple[str, ...]) -> None:
    trainer = trainer_of(*TWO_BLOCKS, "optim.accumulation_steps=2", "data.batch_size=4", freeze=freeze)
    start = trainer.state.parts()
    for seed in range(2):
        trainer.step(*batch(seed), lr=1e-2)
    found = trainer.state.parts()
    moving = {name for name in start["model"] if name.startswith(trained)}
    assert found["model"].keys() == found["ema"].keys() == start["model"].keys()  # a checkpoint has all weights
    for part in ("model", "ema"):
        moved = {name for name, value in found[part].items() if not np.array_equal(value, start["model"][name])}
        assert moved == moving
    assert {name.removeprefix("exp_avg.") for name in found["optimizer"] if name.startswith("exp_avg.")} == moving
    assert {p.name.removeprefix("gradient_sum.") for p in trainer.state.buffers} == moving


def test_freezing_does_not_change_the_gradient_of_trained_parameters() -> None:
    free, frozen = (trainer_of(*TWO_BLOCKS, *SGD, freeze=freeze) for freeze in ("none", "1"))
    for trainer in (free, frozen):
        trainer.step(*batch(0), lr=0.1)
    mine, other = (trainer.state.parts()["optimizer"] for trainer in (frozen, free))
    assert 0 < len(mine) < len(other)
    for name, value in mine.items():
        np.testing.assert_allclose(value, other[name], atol=1e-7, err_msg=name)


def test_drop_path_is_scaled_grows_with_depth_and_splits_over_ranks() -> None:
    config = composed(*TINY, "model.depth=4", "model.drop_path_rate=0.5")
    whole = np.concatenate([drop_path(config, 7, rank, 4).asnumpy() for rank in range(4)], 1)
    assert whole.shape == (8, 32) and (whole[:2] == 1).all()
    assert set(np.unique(whole[6:])) <= {0.0, 2.0}
    many = np.concatenate([drop_path(config, step, 0, 1).asnumpy() for step in range(300)], 1)
    np.testing.assert_allclose(many.mean(1), 1, atol=0.08)  # the expectation is kept
    assert (many == 0).mean(1)[-1] == pytest.approx(0.5, abs=0.04)
    wide = composed(*TINY, "model.depth=4", "model.drop_path_rate=0.5", "data.batch_size=32")
    np.testing.assert_array_equal(whole, drop_path(wide, 7, 0, 1).asnumpy())
    # Accumulated: step 7 is micro steps 14 and 15, on each of two ranks.
    halves = composed(*TINY, "model.depth=4", "model.drop_path_rate=0.5", "optim.accumulation_steps=2")
    split = [drop_path(halves, micro, rank, 2).asnumpy() for micro in (14, 15) for rank in (0, 1)]
    np.testing.assert_array_equal(whole, np.concatenate(split, 1))
