"""A teacher in a training: its input, its logits, the order of its classes, half precision, and unsuitable MINDIR files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from safetensors.numpy import save_file
from teacher_networks import exported, teacher_network
from teachers import TINY_REGNET, deit, drawn, named_teacher, regnet_file, student

from deit.config.schema import RunConfig
from deit.data.datasets import open_dataset
from deit.data.loader import TrainLoader
from deit.engine.loss import build_loss, mean_of_heads
from deit.engine.network import build_network
from deit.engine.state import TrainState
from deit.engine.step import TrainStep
from deit.engine.step_inputs import BatchInputs, StepInputs, batch_inputs
from deit.engine.teacher import Teaching, build_teaching
from deit.errors import UserError
from deit.inference.model_source import teacher_order
from deit.models.regnet import RegNet
from deit.models.regnet_shapes import folded, regnet_shapes
from deit.models.shapes import parameter_shapes
from deit.models.weights import load_weights
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory
from deit.weights.naming import to_timm
from deit.weights.read import read_weights


def teaching_of(config: RunConfig) -> Teaching:
    teaching = build_teaching(config)
    assert teaching is not None
    return teaching


def training_batch(config: RunConfig) -> BatchInputs:
    """The first batch of a training as the step and the teacher get it."""
    batch = next(TrainLoader(config, open_dataset(config.data, train=True), 0, 1).epoch(0))
    return batch_inputs(config, batch, 0, 0)


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize("kind", ["regnet", "checkpoint", "timm", "mindir", "mindir of a fixed batch", "mindir of two heads"])
def test_teacher_gets_the_erased_and_mixed_images(kind: str, tmp_path: Path) -> None:
    config = student(tmp_path)
    if kind == "regnet":
        network: nn.Cell = RegNet(TINY_REGNET)
        load_weights(network, folded(drawn(regnet_shapes(TINY_REGNET)), TINY_REGNET))
        file = regnet_file(tmp_path / "regnet.safetensors")
    else:
        # Names are those of the student and values are not: each graph must keep to its own.
        model = deit(embed_dim=64 if kind == "timm" else 24, num_heads=1, distilled=kind in ("timm", "mindir of two heads"))
        network = teacher_network(config, model)
        weights = drawn(parameter_shapes(model, 10), seed=3)
        if kind == "timm":
            file = tmp_path / "deit.safetensors"
            save_file(to_timm(weights), file)
        elif kind == "checkpoint":
            run = RunDirectory(tmp_path / "run")
            state = {"model": dataclasses.asdict(model), "num_classes": 10}
            file = (
                checkpoint.write(run, 1, {"model": drawn(parameter_shapes(model, 10)), "ema": weights}, state)
                / "ema.safetensors"
            )
        else:
            file = exported(network, tmp_path / "deit", 8 if "fixed" in kind else None)
    config = student(file)
    teaching, batch = teaching_of(config), training_batch(config)
    assert teaching.batch == (8 if "fixed" in kind else None)
    images, _ = teaching.teacher.inputs(*batch)
    wanted = mean_of_heads(network(images)).asnumpy()
    assert np.ptp(wanted, axis=0).max() > 1e-2  # it does tell images apart
    np.testing.assert_allclose(teaching.teacher(*batch).asnumpy(), wanted, atol=1e-6)


@pytest.mark.usefixtures("graph_mode")
def test_step_uses_the_teachers_logits_and_does_not_change_it(tmp_path: Path) -> None:
    config = student(regnet_file(tmp_path / "regnet.safetensors"))
    teaching, batch, state = teaching_of(config), training_batch(config), TrainState(config)
    before = teaching.teacher(*batch)
    images, targets = teaching.teacher.inputs(*batch)
    loss = build_loss(config.loss, config.distill)
    wanted = float(loss(state.network(images), before, targets).asnumpy())
    step = TrainStep(config, state.network, state.average, loss, state.optimizer, state.loss_scale, None, 1, True)
    inputs = StepInputs(
        *batch, drop_path=None, dropout_key=None, first=Tensor(True), lr=Tensor(1e-2, ms.float32), teacher_logits=before
    )
    answered = step(*inputs)
    assert float(answered[0].asnumpy()) == pytest.approx(wanted, rel=1e-5)
    np.testing.assert_array_equal(teaching.teacher(*batch).asnumpy(), before.asnumpy())
    assert not any("teacher" in name or "stem" in name for part in state.parts().values() for name in part)


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize("form", ["weights", "mindir"])
def test_teacher_with_other_labels_is_reordered_by_name(form: str, tmp_path: Path) -> None:
    config = student(named_teacher(tmp_path / "t.safetensors", list("9876543210")))
    classes = open_dataset(config.data, train=True).classes
    assert config.distill.teacher is not None
    order = teacher_order(Path(config.distill.teacher), "distill.teacher", classes)
    assert order == list(range(9, -1, -1))
    if form == "mindir":
        weights = read_weights(tmp_path / "t.safetensors")
        network = build_network(config, model=deit(embed_dim=24, num_heads=1))
        load_weights(network, weights)
        config = student(exported(network, tmp_path / "t", None))
    plain, named = teaching_of(config), build_teaching(config, order)
    assert named is not None
    batch = training_batch(config)
    wanted = plain.teacher(*batch).asnumpy()[:, ::-1]
    np.testing.assert_array_equal(named.teacher(*batch).asnumpy(), wanted)
    images, _ = named.teacher.inputs(*batch)
    np.testing.assert_array_equal(mean_of_heads(named.network(images)).asnumpy(), wanted)


@pytest.mark.usefixtures("graph_mode")
def test_teacher_also_runs_in_half_precision(tmp_path: Path) -> None:
    file = regnet_file(tmp_path / "regnet.safetensors")
    full, half = student(file), student(file, "precision=o2")
    exact, rounded = (teaching_of(config).teacher(*training_batch(config)).asnumpy() for config in (full, half))
    assert rounded.dtype == np.float32 and not np.array_equal(rounded, exact)
    np.testing.assert_allclose(rounded, exact, atol=2e-2)


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("batch", ["batch size 4", "data.batch_size is 8", "data.batch_size=4"]),
        ("classes", ["the teacher has 7 classes", "data.num_classes is 10"]),
        ("size", ["FLOAT [-1, 3, 32, 32]", "[B, 3, 16, 16]"]),
        ("features", ["returns [-1, 1, 16]", "logits [B, classes]"]),
        ("damaged", ["damaged or not a MINDIR"]),
        ("empty", ["takes nothing"]),
    ],
)
def test_unsuitable_mindir_is_rejected(what: str, words: list[str], tmp_path: Path) -> None:
    class Flat(nn.Cell):
        """The part of a network that the message needs."""

        def __init__(self, outputs: int) -> None:
            super().__init__()
            self.outputs = outputs

        def construct(self, images: Tensor) -> Tensor:
            logits = images[:, 0, 0, : self.outputs] * 2
            return logits.expand_dims(1) if self.outputs == 16 else logits

    file = tmp_path / "net.mindir"
    if what == "damaged":
        file.write_bytes(b"\xff" * 100)
    elif what == "empty":
        file.write_bytes(b"")
    else:
        outputs = {"classes": 7, "features": 16}.get(what, 10)
        exported(Flat(outputs), file.with_suffix(""), 4 if what == "batch" else None, 32 if what == "size" else 16)
    with pytest.raises(UserError) as error:
        build_teaching(student(file))
    assert str(error.value).startswith(f"distill.teacher={file}")
    for word in words:
        assert word in str(error.value)
