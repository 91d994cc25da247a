"""Every option of every group of a training builds: network, state, steps, loaders, in small sizes."""

from __future__ import annotations

import pytest
from composition import composed

from deit.compose import groups as options
from deit.config.schema import DistillConfig, RunConfig
from deit.data.datasets import open_dataset
from deit.data.loader import EvalLoader, TrainLoader
from deit.engine.evaluation import EvalStep
from deit.engine.loss import build_loss
from deit.engine.state import TrainState
from deit.engine.step import TrainStep
from deit.models.shapes import parameter_shapes
from deit.recipe.plan import plan

DIGITS = ("data=digits", "data.batch_size=8", "data.eval_batch_size=8", "data.workers=0", "tracking=none")
SHRUNK = ("model.depth=1", "model.embed_dim=48", "optim.lr_base_size=null", "hardware=cpu")
TEACHER = ("model=deit_tiny_distilled", "distill.teacher=somewhere")


pytestmark = pytest.mark.usefixtures("graph_mode")


def build(config: RunConfig) -> None:
    train, validation = open_dataset(config.data, train=True), open_dataset(config.data, train=False)
    loader = TrainLoader(config, train, 0, 1)
    assert plan(config, len(train)).steps_per_epoch == loader.steps_per_epoch // config.optim.accumulation_steps
    batch = next(loader.epoch(0))
    size = config.model.img_size
    assert batch.images.shape == (config.data.batch_size, size, size, 3)
    assert next(iter(EvalLoader(config, validation, 0, 1))).images.shape == (8, size, size, 3)
    state = TrainState(config)
    shapes = parameter_shapes(config.model, 10)
    built = {name: tuple(parameter.shape) for name, parameter in state.network.parameters_dict().items()}
    assert built == shapes
    assert (state.average is not None) == config.ema.enabled
    TrainStep(
        config,
        state.network,
        state.average,
        build_loss(config.loss, DistillConfig("none", None, 0.5, 1.0)),
        state.optimizer,
        state.loss_scale,
        state.buffers,
        1,
        True,
    )
    EvalStep(config, state.network)


def of(*groups: str) -> list[str]:
    return [f"{group}={option}" for group in groups for option in options.groups()[group]]


@pytest.mark.parametrize("option", of("model", "augment", "loss", "optim", "schedule", "ema", "distill", "precision", "debug"))
def test_option_builds(option: str) -> None:
    distilled = option.startswith("distill=") and option != "distill=none"
    more = list(TEACHER) if distilled else []
    if option.startswith("model=") and "distilled" in option:
        more = ["distill=hard", "distill.teacher=somewhere"]
    if option == "precision=bf16":
        more = ["hardware=ascend1"]  # the CPU has none; the casts are built all the same
    shrunk = [text for text in SHRUNK if not (text.startswith("hardware") and more == ["hardware=ascend1"])]
    config = composed(*DIGITS, *shrunk, option, *more)
    config.hardware.target = "cpu"
    build(config)


@pytest.mark.parametrize("option", ["synthetic", "digits"])
def test_data_without_files_builds(option: str) -> None:
    build(composed(*SHRUNK, "model=deit_micro", "model.num_heads=2", f"data={option}", *DIGITS[1:]))
