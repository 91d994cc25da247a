"""The training step and the evaluation against NumPy, on small models."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from composition import composed
from mindspore import Tensor, nn
from trainer import PLAIN, TINY, Trainer, batch

from deit.config.schema import AugmentConfig, DistillConfig, LossConfig
from deit.data.erasing import noise_bank, noise_rows
from deit.data.loader import EvalBatch
from deit.engine import mixing
from deit.engine.evaluation import Answers, EvalStep, evaluate
from deit.engine.loss import DistillationLoss, SoftTargetCrossEntropy, build_loss
from deit.engine.nonfinite import check_evaluated, check_trained
from deit.engine.normalize import Inputs, Normalize, RandomErasing
from deit.engine.step import TrainStep
from deit.engine.step_inputs import BatchInputs, StepInputs
from deit.engine.step_randomness import drop_path
from deit.engine.teacher import Teacher
from deit.errors import UserError
from deit.randomness import generator

pytestmark = pytest.mark.usefixtures("graph_mode")


def augment(**changes: Any) -> AugmentConfig:
    values = dict(mixup=0.8, cutmix=1.0, mixup_prob=1.0, mixup_switch_prob=0.5, mixup_mode="batch", smoothing=0.1)
    return AugmentConfig(**(values | changes))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# ------------------------------------------------------------------------------------------------ mixing


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_mixing_follows_its_definition(mode: str) -> None:
    rng = np.random.default_rng(1)
    images = rng.standard_normal((6, 3, 8, 8)).astype(np.float32)
    labels = rng.integers(0, 5, 6).astype(np.int32)
    cut_seen = mixed_seen = False
    for step in range(8):
        mix = mixing.draw(augment(mixup_mode=mode), 6, (8, 8), generator(0, "mix", step))
        got = mixing.mix_images(Tensor(images), Tensor(mix.blend), Tensor(mix.box)).asnumpy()
        targets = mixing.soft_targets(Tensor(labels), Tensor(mix.lam), 5, 0.1).asnumpy()
        onehot = np.full((6, 5), 0.1 / 5, np.float32)
        onehot[np.arange(6), labels] += 0.9
        for i in range(6):
            partner = 5 - i
            top, bottom, left, right = mix.box[i]
            wanted = mix.blend[i] * images[i] + (1 - mix.blend[i]) * images[partner]
            wanted[:, top:bottom, left:right] = images[partner][:, top:bottom, left:right]
            np.testing.assert_allclose(got[i], wanted, atol=1e-6)
            np.testing.assert_allclose(targets[i], mix.lam[i] * onehot[i] + (1 - mix.lam[i]) * onehot[partner], atol=1e-6)
            area = (bottom - top) * (right - left)
            if mix.blend[i] == 1:  # CutMix: lambda is the area that was kept
                cut_seen = True
                assert mix.lam[i] == pytest.approx(1 - area / 64)
            else:
                mixed_seen = True
                assert area == 0 and mix.lam[i] == mix.blend[i]
        if mode == "batch":
            assert len(set(mix.lam)) == 1
        elif mode == "pair":
            assert list(mix.lam) == list(mix.lam[::-1])
    assert cut_seen and mixed_seen


def test_mixing_is_drawn_with_the_configured_probabilities() -> None:
    draws = [
        mixing.draw(augment(mixup_prob=0.6, mixup_switch_prob=0.25), 2, (32, 32), generator(0, "mix", i)) for i in range(4000)
    ]
    plain = sum(bool(d.lam[0] == 1 and not d.box.any()) for d in draws) / 4000
    cut = sum(bool(d.box.any()) for d in draws) / 4000
    assert plain == pytest.approx(0.4, abs=0.03)
    assert cut == pytest.approx(0.6 * 0.25, abs=0.02)
    wide = mixing.draw(augment(mixup=0.0, cutmix=1.0, mixup_mode="elem"), 400, (16, 48), generator(0, "mix", 0))
    top, bottom, left, right = wide.box.T
    assert bottom.max() == 16 and right.max() == 48
    np.testing.assert_allclose(wide.lam, 1 - (bottom - top) * (right - left) / (16 * 48), rtol=1e-6)
    only_cut = mixing.draw(augment(mixup=0.0), 2, (32, 32), generator(0, "mix", 0))
    assert only_cut.blend.tolist() == [1, 1]


# --------------------------------------------------------------------------------- normalising and erasing


def test_normalize_is_the_usual_formula() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.uint8)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    wanted = ((images / 255 - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(Normalize(mean, std)(Tensor(images)).asnumpy(), wanted, atol=2e-6)


@pytest.mark.parametrize("mode", ["const", "rand", "pixel"])
def test_erasing_fills_its_boxes_and_nothing_else(mode: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    boxes = np.array([[[1, 2, 3, 4], [0, 0, 0, 0]], [[0, 0, 2, 2], [5, 5, 3, 3]]], np.int32)
    colours = rng.standard_normal((2, 2, 3)).astype(np.float16)
    places = np.stack([noise_rows(rng, 8), noise_rows(rng, 8)])
    pixels = noise_bank(5, (8, 8))[places]
    noise = {"const": None, "rand": Tensor(colours), "pixel": Tensor(places)}[mode]
    got = RandomErasing(mode, 2, seed=5, size=(8, 8))(Tensor(images), Tensor(boxes), noise).asnumpy()
    wanted = images.copy()
    for i in range(2):
        for r in range(2):
            top, left, height, width = boxes[i, r]
            rows, columns = slice(top, top + height), slice(left, left + width)
            filling = {"const": 0, "rand": colours[i, r][:, None, None], "pixel": pixels[i][:, rows, columns]}
            wanted[i, :, rows, columns] = filling[mode]
    np.testing.assert_array_equal(got, wanted)


# ------------------------------------------------------------------------------------------------ losses


def test_soft_target_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    logits, targets = rng.standard_normal((4, 5)), softmax(rng.standard_normal((4, 5)))
    wanted = -(targets * np.log(softmax(logits))).sum(-1).mean()
    loss = SoftTargetCrossEntropy()
    as_tensor = lambda x: Tensor(x.astype(np.float32))  # noqa: E731
    assert float(loss(as_tensor(logits), None, as_tensor(targets)).asnumpy()) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_distillation_loss_equals_the_papers(kind: str) -> None:
    rng = np.random.default_rng(3)
    cls, dist, teacher = (rng.standard_normal((4, 5)) for _ in range(3))
    targets = softmax(rng.standard_normal((4, 5)))
    base = -(targets * np.log(softmax(cls))).sum(-1).mean()
    tau, alpha = 3.0, 0.3
    if kind == "soft":
        p, q = softmax(teacher / tau), softmax(dist / tau)
        distillation = (p * (np.log(p) - np.log(q))).sum() * tau**2 / dist.size
    else:
        distillation = -np.log(softmax(dist))[np.arange(4), teacher.argmax(-1)].mean()
    loss = DistillationLoss(SoftTargetCrossEntropy(), kind, alpha, tau)
    cls, dist, teacher, targets = (Tensor(array.astype(np.float32)) for array in (cls, dist, teacher, targets))
    got = float(loss((cls, dist), teacher, targets).asnumpy())
    assert got == pytest.approx((1 - alpha) * base + alpha * distillation, rel=1e-5)


def test_both_heads_of_a_distilled_model_learn_the_labels_without_a_teacher() -> None:
    random = np.random.default_rng(0)
    heads, targets = random.standard_normal((2, 4, 3)), np.eye(3)[[0, 1, 2, 0]]
    expected = -np.mean([np.log(softmax(logits))[targets == 1].mean() for logits in heads])
    loss = build_loss(LossConfig(), DistillConfig("none", None, 0.5, 1.0), distilled=True)
    cls, dist, labels = (Tensor(array.astype(np.float32)) for array in (*heads, targets))
    assert float(loss((cls, dist), None, labels).asnumpy()) == pytest.approx(expected, rel=1e-5)


def test_weighted_cross_entropy_equals_torch_for_probabilities() -> None:
    random = np.random.default_rng(0)
    logits, targets = random.standard_normal((4, 3)), softmax(random.standard_normal((4, 3)))
    weights = np.array([0.5, 1.0, 3.0], np.float32)
    expected = -(weights * targets * np.log(softmax(logits))).sum(-1).mean()
    loss = build_loss(LossConfig(), DistillConfig("none", None, 0.5, 1.0), weights)
    found = loss(Tensor(logits.astype(np.float32)), None, Tensor(targets.astype(np.float32)))
    assert float(found.asnumpy()) == pytest.approx(expected, rel=1e-5)


# ---------------------------------------------------------------------------------------------- the step


def test_arguments_have_the_same_names_everywhere() -> None:
    """They are passed by position, so a name out of order would hand one tensor in as another."""
    batch_names = list(BatchInputs._fields)
    assert list(StepInputs._fields) == list(inspect.signature(TrainStep.construct).parameters)[1:]
    assert list(StepInputs._fields)[: len(batch_names)] == batch_names
    for takes_batch in (Inputs.construct, Teacher.construct):
        assert list(inspect.signature(takes_batch).parameters)[1:] == batch_names


def test_accumulation_equals_one_large_batch() -> None:
    """By SGD, whose steps are as far apart as the gradients are.

    AdamW divides a gradient by its own size. That of the keys' bias is nothing but rounding, since softmax does not see the
    bias, so that its steps would differ by what the rounding of this machine's CPU happens to be.
    """
    images, labels = batch(0)
    sgd = (*PLAIN, "optim=sgd", "optim.base_lr=2e-3")
    whole = Trainer(composed(*sgd))
    parts = Trainer(composed(*sgd, "data.batch_size=2", "optim.accumulation_steps=4"))
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
    trainer = Trainer(composed(*PLAIN, "ema.decay=0.9"))
    average = trainer.state.parts()["model"]
    for seed in range(4):
        trainer.step(*batch(seed))
        parts = trainer.state.parts()
        average = {name: 0.9 * average[name] + 0.1 * parts["model"][name] for name in average}
        for name in average:
            np.testing.assert_allclose(parts["ema"][name], average[name], atol=1e-6, err_msg=name)


def test_ema_warmup_equals_timm() -> None:
    """The first update copies the weights, the later decays are those of ModelEmaV3 (tests/unit/recipe/test_ema_decay.py)."""
    trainer = Trainer(composed(*PLAIN, "ema.decay=0.4", "ema.warmup=true"))
    average = trainer.state.parts()["model"]
    for seed, decay in enumerate([0.0, 0.3700394750525634, 0.4, 0.4]):
        trainer.step(*batch(seed))
        parts = trainer.state.parts()
        average = {name: decay * average[name] + (1 - decay) * parts["model"][name] for name in average}
        for name in average:
            np.testing.assert_allclose(parts["ema"][name], average[name], atol=1e-6, err_msg=name)


def test_clipping_bounds_the_update_of_sgd() -> None:
    images, labels = batch(0)
    sgd = (*PLAIN, "optim=sgd", "optim.base_lr=2e-3", "optim.momentum=0", "optim.weight_decay=0")
    free, clipped = Trainer(composed(*sgd)), Trainer(composed(*sgd, "optim.clip_grad=0.25"))
    start = free.state.parts()["model"]
    norm_free = free.step(images, labels, lr=1.0)[1]
    norm_clipped = clipped.step(images, labels, lr=1.0)[1]
    assert norm_clipped == pytest.approx(norm_free, rel=1e-6) and norm_free > 0.25  # reported before clipping
    for trainer, length in ((free, norm_free), (clipped, 0.25 * norm_free / (norm_free + 1e-6))):
        moved = trainer.state.parts()["model"]
        assert math.sqrt(sum(((moved[n] - start[n]) ** 2).sum() for n in start)) == pytest.approx(length, rel=1e-3)


def test_an_overflow_skips_the_step_and_halves_the_scale() -> None:
    trainer = Trainer(composed(*PLAIN, "precision=o2", "precision.loss_scale_init=1e30", "precision.loss_scale_window=2"))
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
    trainer = Trainer(composed(*PLAIN))
    trainer.step(*batch(0))
    saved = trainer.state.parts()
    first = [trainer.step(*batch(seed)) for seed in range(1, 4)]
    trainer.state.load(saved)
    assert [trainer.step(*batch(seed)) for seed in range(1, 4)] == first


TWO_BLOCKS = (*PLAIN, "model.depth=2", "ema.decay=0.5", "model.pretrained=given.safetensors")  # the file is not read


@pytest.mark.parametrize(
    ("freeze", "trained"),
    [
        ("all_but_head", ("head.",)),
        ("all_but_attention", ("head.", "pos_embed", "blocks.0.attn.", "blocks.1.attn.")),
        ("1", ("head.", "norm.", "blocks.1.")),
    ],
)
def test_frozen_parameters_do_not_change_and_have_no_state(freeze: str, trained: tuple[str, ...]) -> None:
    trainer = Trainer(composed(*TWO_BLOCKS, f"model.freeze={freeze}", "optim.accumulation_steps=2", "data.batch_size=4"))
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
    free, frozen = (
        Trainer(composed(*TWO_BLOCKS, "optim=sgd", "optim.base_lr=2e-3", f"model.freeze={freeze}")) for freeze in ("none", "1")
    )
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


# -------------------------------------------------------------------------------------------- evaluation


class _Logits(nn.Cell):
    """Answers logits that are the first pixels of the image: an evaluation with known answers."""

    def construct(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, :10]


def _eval_batch(logits: np.ndarray, labels: list[int], valid: list[bool]) -> EvalBatch:
    images = np.zeros((len(labels), 16, 16, 3), np.uint8)
    images[:, 0, :10, 0] = logits
    return EvalBatch(images, np.array(labels, np.int32), np.array(valid), np.arange(len(labels)))


def test_evaluation_counts_valid_images_and_gives_ties_to_the_lower_class() -> None:
    step = EvalStep(composed(*TINY), _Logits())
    rows = np.zeros((4, 10), np.uint8)
    rows[0, 3] = 9  # right at 1
    rows[1, :5] = [9, 8, 7, 6, 5]  # class 4 is fifth: right at 5
    # Rows 2 and 3 answer the same for all classes: only class 0 counts as first, 0 to 4 as among five.
    first = evaluate(step, [_eval_batch(rows, [3, 4, 0, 9], [True] * 4)], 1)
    assert (first.top1, first.top5, first.images) == (50.0, 75.0, 4)
    answers = Answers()
    padded = evaluate(step, [_eval_batch(rows, [3, 4, 0, 9], [True, True, False, False])], 1, answers=answers)
    assert np.argwhere(answers.confusion(10)).tolist() == [[3, 3], [4, 0]]  # the most likely class of each valid image
    assert [one["index"] for one in answers.worst(9)] == [1]
    assert (padded.top1, padded.top5, padded.images) == (50.0, 100.0, 2)


def test_evaluation_scores_by_class() -> None:
    """The classes 3, 4 and 5 have 2, 1 and 1 images; 3 is predicted 3 times, 5 once, and 7 for an image that does not count."""
    rows = np.zeros((5, 10), np.uint8)
    rows[range(5), [3, 3, 3, 5, 7]] = 9
    result = evaluate(EvalStep(composed(*TINY), _Logits()), [_eval_batch(rows, [3, 3, 4, 5, 0], [True] * 4 + [False])], 1)
    assert result.top1 == 75.0
    assert result.balanced_accuracy == pytest.approx(100 * 2 / 3)
    assert result.macro_f1 == pytest.approx(100 * (4 / 5 + 0 + 1) / 3)
    assert {"val/macro_f1", "val/top5"} <= result.metrics("val", 6).keys()
    assert "val/top5" not in result.metrics("val", 5)


def test_nan_logits_are_never_correct() -> None:
    class Broken(nn.Cell):
        def construct(self, images: Tensor) -> Tensor:
            return images[:, 0, 0, :10] * float("nan")

    result = evaluate(EvalStep(composed(*TINY), Broken()), [_eval_batch(np.zeros((2, 10)), [0, 1], [True, True])], 1)
    assert (result.top1, result.top5, result.balanced_accuracy, result.macro_f1) == (0.0, 0.0, 0.0, 0.0)


def test_loss_of_evaluation_is_cross_entropy() -> None:
    make: Callable[[], Trainer] = lambda: Trainer(composed(*PLAIN))  # noqa: E731
    trainer = make()
    images, labels = batch(5)
    rows = EvalBatch(images, labels, np.ones(8, bool), np.arange(8))
    before = evaluate(EvalStep(trainer.config, trainer.state.network), [rows], 1)
    assert before.loss == pytest.approx(trainer.step(images, labels)[0], rel=1e-6)  # no smoothing, no mixing


@pytest.mark.parametrize(
    ("skipped", "loss", "said"),
    [
        (4, 2.3, "no step has changed the weights: in each of the 4 steps"),
        (5, 2.3, "no step has changed the weights"),
        (1, math.nan, "val/loss is nan: the network's answers are not finite"),
        (0, math.inf, "val/loss is inf"),
    ],
)
def test_training_without_a_result_fails(skipped: int, loss: float, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        check_trained(composed(*TINY), 4, skipped, {"val": {"loss": loss}})
    assert caught.value.exit_code == 1 and "Lower optim.base_lr" in str(caught.value)
    check_trained(composed(*TINY), 4, 3, {"val": {"loss": 2.3}, "val_ema": {"loss": 99.0}})


def test_error_names_the_input_size_first() -> None:
    config = composed(*TINY, "precision=o2", "data.std=[1e-6,1e-6,1e-6]")
    with pytest.raises(UserError, match=r"\. Correct data\.mean=.*data\.std=\[1e-06.*lower optim.base_lr.*precision=fp32"):
        check_trained(config, 4, 4, {})
    with pytest.raises(UserError, match=r"^val/loss is nan.*Correct data\.mean=.*data\.std="):
        check_evaluated(config, "val", math.nan)
    with pytest.raises(UserError, match="The weights are not finite"):
        check_evaluated(composed(*TINY), "val", math.nan)
