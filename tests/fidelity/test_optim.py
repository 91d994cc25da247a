"""Learning rates, parameter groups, and the training step's optimizers, clip, EMA and loss scale against timm and torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import mindspore as ms
import numpy as np
import pytest
import yaml
from composition import composed, freeze
from fidelity import load, worst
from mindspore import Parameter, Tensor, nn
from reference import inputs_optim as inputs
from reference.inputs_model import VARIANTS
from reference.packing import checksum, unpack

from deit.compose import groups
from deit.config.schema import AdamWOptim, LambOptim, ModelConfig, OptimConfig, RunConfig, ScheduleConfig, SgdOptim
from deit.engine.step import LossScale, TrainStep
from deit.engine.step_inputs import BatchInputs, StepInputs
from deit.models.shapes import parameter_shapes
from deit.optim.build import build_optimizer
from deit.optim.parameter_groups import decayed, lr_scales
from deit.recipe.plan import plan
from deit.recipe.schedule import learning_rate, peak_lr
from deit.weights.naming import to_mindspore

TIMMS = {"optim": "timm 1.0.31", "optim032": "timm 0.3.2"}
TORCH = "torch 2.13.0"

pytestmark = pytest.mark.usefixtures("graph_mode")


# ------------------------------------------------------------------------------------------ learning rate


def ours(course: inputs.Course, granularity: str, peak: float, timing: str = "start") -> np.ndarray:
    schedule = ScheduleConfig(
        "cosine", course.epochs, course.cooldown, course.warmup, course.warmup_lr, course.min_lr, granularity, 1, None, timing
    )
    steps = (course.epochs + course.cooldown) * course.steps_per_epoch
    return np.array([learning_rate(schedule, peak, step, course.steps_per_epoch) for step in range(steps)])


def relative(found: np.ndarray, reference: np.ndarray) -> float:
    return worst(found, reference, scale=np.abs(reference))


@pytest.mark.parametrize("subject", TIMMS)
@pytest.mark.parametrize("name", inputs.COURSES)
def test_cosine(name: str, subject: str, fidelity: Callable[..., None]) -> None:
    course, reference = inputs.COURSES[name], load(subject)[f"lr.{name}"]
    if course.granularity == "epoch":
        reference = reference.repeat(course.steps_per_epoch)  # timm changes the rate between epochs
    optim = OptimConfig("adamw", course.base_lr, 512, 0.05, False, None, 1)
    fidelity(
        f"Cosine: seed, paper, with cooldown, without warmup; peak * batch / 512; rate of each {course.granularity}",
        section="Learning rate",
        reference=TIMMS[subject],
        tolerance=1e-6,
        measured=relative(ours(course, course.granularity, peak_lr(optim, course.images)), reference),
        unit="relative",
    )


@pytest.mark.parametrize("subject", TIMMS)
@pytest.mark.parametrize("name", [name for name, course in inputs.COURSES.items() if course.granularity == "epoch"])
def test_the_loop_of_facebook(name: str, subject: str, fidelity: Callable[..., None]) -> None:
    """facebookresearch/deit steps its scheduler after the epoch; timm's train.py sets the rate of the next epoch."""
    course, reference = inputs.COURSES[name], load(subject)[f"loop.{name}"]
    if name == "paper":  # peak 1e-3
        np.testing.assert_allclose(reference[[0, 1, 2, 5]], [1e-6, 1e-6, 2.008e-4, 8.002e-4], rtol=1e-6)
    optim = OptimConfig("adamw", course.base_lr, 512, 0.05, False, None, 1)
    fidelity(
        "schedule.timing=end: rate of each epoch in the loop of main.py, with and without warmup and cooldown",
        section="Learning rate",
        reference=f"FB main.py with {TIMMS[subject]}",
        tolerance=1e-6,
        measured=relative(
            ours(course, "epoch", peak_lr(optim, course.images), "end"), reference.repeat(course.steps_per_epoch)
        ),
        unit="relative",
    )


@pytest.mark.parametrize(
    ("experiment", "course"),
    [("deit_small_modelzoo", "lr.seed"), ("deit_small_paper", "loop.paper"), ("deit_base_paper", "loop.paper")],
)
def test_recipes(experiment: str, course: str, fidelity: Callable[..., None]) -> None:
    """The recipes as they are composed, on eight cards and ImageNet's 1,281,167 images."""
    course_of_recipe = plan(freeze(f"experiment={experiment}"), 1_281_167)
    assert (course_of_recipe.global_batch, course_of_recipe.steps_per_epoch) == (1024, 1251)
    first = [course_of_recipe.learning_rate(epoch * 1251) for epoch in range(course_of_recipe.epochs)]
    last = [course_of_recipe.learning_rate(epoch * 1251 + 1250) for epoch in range(course_of_recipe.epochs)]
    reference = load("optim")[course]
    fidelity(
        f"Rate of each epoch of experiment={experiment}",
        section="Learning rate",
        reference=TIMMS["optim"],
        tolerance=1e-6,
        measured=max(relative(np.array(rates), reference) for rates in (first, last)),
        unit="relative",
    )


# ------------------------------------------------------------------------------------------------- groups


def our_groups(option: str, decay_dist_token: bool) -> set[str]:
    model = ModelConfig(**yaml.safe_load((groups.CONF / "model" / f"{option}.yaml").read_text(encoding="utf-8")))
    chosen = decayed(parameter_shapes(model, 1000), decay_dist_token)
    return {name for name, yes in chosen.items() if yes}


def test_groups_of_timm_1(fidelity: Callable[..., None]) -> None:
    stored = unpack(load("optim")["decayed"])
    different = [len(set(stored[timm]) ^ our_groups(option, False)) for timm, option in VARIANTS.items()]
    fidelity(
        "Decayed parameters of all 8 variants, dist_token not decayed",
        section="Optimizer",
        reference=f"{TIMMS['optim']}, param_groups_weight_decay",
        tolerance=0,
        measured=sum(different),
        unit="differ",
    )


def test_groups_of_facebook(fidelity: Callable[..., None]) -> None:
    stored = unpack(load("optim032")["decayed"])
    different = [
        len(set(to_mindspore(dict.fromkeys(stored[kind]))) ^ our_groups(option, True))
        for kind, option in (("plain", "deit_tiny"), ("distilled", "deit_tiny_distilled"))
    ]
    assert "dist_token" in stored["distilled"]
    fidelity(
        "Decayed parameters, plain and distilled, optim.decay_dist_token=true",
        section="Optimizer",
        reference="timm 0.3.2, add_weight_decay as FB calls it",
        tolerance=0,
        measured=sum(different),
        unit="differ",
    )


def test_layer_decay(fidelity: Callable[..., None]) -> None:
    stored = unpack(load("optim")["layers"])
    different, measured = 0, 0.0
    for timm, option in inputs.LAYERED.items():
        reference = to_mindspore(stored[timm])
        model = ModelConfig(**yaml.safe_load((groups.CONF / "model" / f"{option}.yaml").read_text(encoding="utf-8")))
        shapes = parameter_shapes(model, 1000)
        scales, is_decayed = lr_scales(shapes, inputs.LAYER_DECAY), decayed(shapes, False)
        assert reference.keys() == shapes.keys()
        different += sum(is_decayed[name] != reference[name][1] for name in shapes)
        measured = max(measured, relative(np.array(list(scales.values())), np.array([reference[name][0] for name in shapes])))
    claim = dict(section="Optimizer", reference=f"{TIMMS['optim']}, param_groups_layer_decay")
    what = "Layer decay 0.65 of DeiT, distilled and DeiT III"
    fidelity(f"{what}: decayed parameters", tolerance=0, measured=different, unit="differ", **claim)
    fidelity(f"{what}: factors of the learning rate", tolerance=1e-12, measured=measured, unit="relative", **claim)


# ----------------------------------------------------------------------------------------------- the step


class Linear(nn.Cell):
    """A network whose gradient is handed in, through the argument for stochastic depth: its output is weights * gradient."""

    def __init__(self, prefix: str = "") -> None:
        super().__init__()
        weights = {name: Parameter(Tensor(value), name=prefix + name) for name, value in inputs.start().items()}
        self.matrix, self.bias = weights["head.weight"], weights["head.bias"]

    def construct(self, images: Tensor, gradient: Tensor, dropout_key: Tensor | None) -> Tensor:
        return (self.matrix * gradient[:, :-1]).sum() + (self.bias * gradient[:, -1]).sum()


class Output(nn.Cell):
    """The network's output is the loss."""

    def construct(self, outputs: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        return outputs


def configured(training: inputs.Training) -> RunConfig:
    common = (training.lr, None, training.weight_decay, False, training.clip, 1)
    if training.optimizer == "adamw":
        optim: OptimConfig = AdamWOptim("adamw", *common, betas=list(inputs.BETAS), eps=inputs.EPS)
    elif training.optimizer == "lamb":
        optim = LambOptim("lamb", *common, betas=list(inputs.BETAS), eps=inputs.EPS)
    else:
        optim = SgdOptim("sgd", *common, momentum=inputs.MOMENTUM, nesterov=training.nesterov)
    config = composed("experiment=quickstart", "augment=none")
    scale = "dynamic" if training.scaled else "none"
    return dataclasses.replace(
        config,
        optim=optim,
        ema=dataclasses.replace(config.ema, enabled=True, decay=inputs.EMA_DECAY),
        precision=dataclasses.replace(
            config.precision, loss_scale=scale, loss_scale_init=inputs.SCALE, loss_scale_window=inputs.WINDOW
        ),
    )


def train(training: inputs.Training, steps: int = inputs.STEPS) -> dict[str, np.ndarray]:
    """What ``reference.optim.train`` answers, of this project's training step."""
    config = configured(training)
    network, average = Linear(), Linear("ema.")
    optimizer = build_optimizer(config.optim, network.trainable_params())
    precision = config.precision
    scale = LossScale(precision.loss_scale, precision.loss_scale_init, precision.loss_scale_window)
    step_cell = TrainStep(config, network, average, Output(), optimizer, scale, None, 1, True)
    image, label = Tensor(np.zeros((1, 2, 2, 3), np.uint8)), Tensor(np.zeros(1, np.int32))
    found: dict[str, list[np.ndarray]] = {what: [] for what in ("weights", "ema", "norm", "scale", "finite")}
    given = []
    for step in range(steps):
        gradients, lr = inputs.gradients(training, step), inputs.learning_rate(training, step)
        given += [*gradients.values(), np.array(lr)]
        gradient = Tensor(np.column_stack([gradients["head.weight"], gradients["head.bias"]]))
        first, rate = Tensor(True), Tensor(lr, ms.float32)
        # The network's only argument beside the images: its gradient.
        arguments = StepInputs(*BatchInputs(image, label), drop_path=gradient, dropout_key=None, first=first, lr=rate)
        _, norm, finite, next_scale = step_cell(*arguments)
        found["weights"].append(flat(network))
        found["ema"].append(flat(average))
        for what, value in (("norm", norm), ("scale", next_scale), ("finite", finite)):
            found[what].append(value.asnumpy().copy())
    return {what: np.stack(values) for what, values in found.items()} | {"inputs": checksum([*inputs.start().values(), *given])}


def flat(network: Linear) -> np.ndarray:
    return np.concatenate([network.matrix.asnumpy().ravel(), network.bias.asnumpy()])


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("adamw", "AdamW, decay .05 and none, moving rate, 60 steps: weights"),
        ("lamb", "LAMB, decay .05 and none, clipped to norm 1, moving rate, 60 steps: weights"),
        ("lamb_without_decay", "LAMB without decay, clipped to norm 1, moving rate, 60 steps: weights"),
        ("sgd", "SGD with momentum, moving rate, 60 steps: weights"),
        ("sgd_nesterov", "SGD with Nesterov's momentum, moving rate, 60 steps: weights"),
    ],
)
def test_optimizer(name: str, what: str, fidelity: Callable[..., None]) -> None:
    stored = {key.partition(".")[2]: value for key, value in load("optim").items() if key.startswith(f"{name}.")}
    found = train(inputs.TRAININGS[name])
    assert found["inputs"] == stored["inputs"]
    claim = dict(section="Optimizer", tolerance=1e-6)
    fidelity(
        what,
        reference="timm 1.0.31, Lamb" if name.startswith("lamb") else TORCH,
        measured=worst(found["weights"], stored["weights"]),
        **claim,
    )
    what = "EMA over 60 steps of each optimizer"
    fidelity(what, reference="timm 1.0.31, ModelEmaV3", measured=worst(found["ema"], stored["ema"]), **claim)


def test_clip(fidelity: Callable[..., None]) -> None:
    stored = load("optim")
    found, norm = train(inputs.TRAININGS["sgd_clipped"]), stored["sgd_clipped.norm"]
    assert found["inputs"] == stored["sgd_clipped.inputs"]
    assert norm.min() < 0.1 and norm.max() > 50  # clipped to 1: both sides are seen
    reference = f"{TORCH}, clip_grad_norm_"
    what = "Global norm of the gradient"
    measured = relative(found["norm"], norm)
    fidelity(what, section="Optimizer", reference=reference, tolerance=1e-6, measured=measured, unit="relative")
    what = "SGD with the gradient clipped to norm 1, 60 steps: weights"
    measured = worst(found["weights"], stored["sgd_clipped.weights"])
    fidelity(what, section="Optimizer", reference=reference, tolerance=1e-6, measured=measured)


def test_loss_scale(fidelity: Callable[..., None]) -> None:
    """Five overflows in 60 steps: the step is left out, the scale halves, and doubles after five steps that went well.

    Like torch's optimizer our EMA stays as it is in a step that is left out. timm and facebookresearch/deit update it even
    then, with the weights of the step before.
    """
    stored = {key.partition(".")[2]: value for key, value in load("optim").items() if key.startswith("adamw_scaled.")}
    found = train(inputs.TRAININGS["adamw_scaled"])
    assert found["inputs"] == stored["inputs"]
    assert np.flatnonzero(stored["finite"] == 0).tolist() == list(inputs.OVERFLOWS)
    reference = f"{TORCH}, GradScaler"
    claim = dict(section="Optimizer", reference=reference)
    what = "Dynamic loss scale, five overflows in 60 steps"
    measured = worst(np.log2(found["scale"]), np.log2(stored["scale"]))
    fidelity(f"{what}: scale", tolerance=0, measured=measured, unit="powers of 2", **claim)
    measured = np.count_nonzero(found["finite"] != stored["finite"])
    fidelity(f"{what}: steps left out", tolerance=0, measured=measured, unit="differ", **claim)
    weights = "weights of AdamW, clipped to norm 1"
    fidelity(f"{what}: {weights}", tolerance=1e-6, measured=worst(found["weights"], stored["weights"]), **claim)
    average = f"{what}: EMA, left out with its step"
    fidelity(average, tolerance=1e-6, measured=worst(found["ema"], averaged(stored, skip=True)), **claim)
    # The difference, told: the reference averages the unchanged weights once more in a step that is left out.
    np.testing.assert_allclose(averaged(stored, skip=False), stored["ema"], atol=1e-6)
    assert 1e-5 < worst(found["ema"], stored["ema"]) < 1e-3


def averaged(stored: dict[str, np.ndarray], skip: bool) -> np.ndarray:
    """The EMA of the reference's weights over its steps, float64; with ``skip`` only after steps that were applied."""
    average = np.concatenate([value.ravel() for value in inputs.start().values()]).astype(np.float64)
    found = []
    for weights, finite in zip(stored["weights"], stored["finite"], strict=True):
        if finite or not skip:
            average = inputs.EMA_DECAY * average + (1 - inputs.EMA_DECAY) * weights
        found.append(average)
    return np.stack(found)


def test_the_average_of_constant_weights_is_constant(fidelity: Callable[..., None]) -> None:
    found = train(dataclasses.replace(inputs.TRAININGS["adamw"], lr=0.0), steps=20)
    expected = np.concatenate([value.ravel() for value in inputs.start().values()])
    fidelity(
        "EMA of weights that do not change",
        section="Optimizer",
        reference="itself",
        tolerance=0,
        measured=worst(found["ema"], np.broadcast_to(expected, found["ema"].shape)),
    )
