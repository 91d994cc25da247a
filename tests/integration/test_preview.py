"""task=preview shows exactly what a training gets: compared with a real first step, and as a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from composition import composed
from mindspore import Parameter, nn, ops
from PIL import Image

from deit.commands.table import prepare
from deit.config import frozen
from deit.config.schema import RunConfig
from deit.data.datasets import open_dataset
from deit.engine.recorder import Mute
from deit.engine.step import TrainStep
from deit.inference import picture
from deit.runs import directory, status
from deit.runs.directory import RunDirectory
from deit.runs.outcome import FINISHED
from deit.tasks import train as training
from deit.tasks.context import Context
from deit.tasks.preview import denormalized, evaluation_cards, first_batch, training_cards

DIGITS = ("experiment=quickstart", "data.batch_size=12", "data.workers=0")
RICH = ("augment.mixup_prob=1", "augment.reprob=0.7", "augment.recount=2", "augment.hflip=0.5")
PREVIEW = (*DIGITS, "task=preview")
SMALL = ("model.embed_dim=16", "model.depth=1", "model.num_heads=2", "ema=none", "data.val_limit=10", "data.eval_batch_size=10")


def previewed(*overrides: str) -> RunConfig:
    """The configuration as the worker of a preview gets it."""
    return prepare(composed(*PREVIEW, *overrides))


def context(config: RunConfig, folder: Path) -> Context:
    return Context(directory.create(folder, "run"), config, Mute())


class Recording(nn.Cell):
    """A network that keeps the images it is given."""

    def __init__(self, network: nn.Cell, shape: tuple[int, ...]) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.images = Parameter(ops.zeros(shape, ms.float32), "recorded.images", requires_grad=False)

    def construct(self, images, drop_path, dropout_key):  # type: ignore[no-untyped-def]
        ops.assign(self.images, images)
        return self.network(images, drop_path, dropout_key)


class RecordingLoss(nn.Cell):
    """A loss that keeps the targets it is given."""

    def __init__(self, loss: nn.Cell, shape: tuple[int, ...]) -> None:
        super().__init__(auto_prefix=False)
        self.loss = loss
        self.targets = Parameter(ops.zeros(shape, ms.float32), "recorded.targets", requires_grad=False)

    def construct(self, outputs, teacher_logits, targets):  # type: ignore[no-untyped-def]
        ops.assign(self.targets, targets)
        return self.loss(outputs, teacher_logits, targets)


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize(
    "augment",
    [RICH, ("augment=deit", "augment.mixup_mode=elem", "augment.remode=rand", "augment.reprob=0.5"), ("augment=light",)],
    ids=["batch", "elem", "light"],
)
def test_preview_equals_the_input_of_the_first_real_step(
    augment: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, Any] = {}

    def recording_step(config: RunConfig, network: nn.Cell, average: Any, loss: nn.Cell, *more: Any) -> TrainStep:
        size = config.model.img_size
        kept["network"] = Recording(network, (config.data.batch_size, 3, size, size))
        kept["loss"] = RecordingLoss(loss, (config.data.batch_size, 10))
        return TrainStep(config, kept["network"], average, kept["loss"], *more)

    monkeypatch.setattr(training, "TrainStep", recording_step)
    config = prepare(composed(*DIGITS, *SMALL, *augment, "schedule.max_steps=1", "tracking=none", "hardware=cpu"))
    training.run(context(config, tmp_path))

    shown = previewed(*augment, "task.images=12")
    batch, images, targets = first_batch(shown, open_dataset(shown.data, train=True))
    np.testing.assert_array_equal(images, kept["network"].images.asnumpy())
    np.testing.assert_array_equal(targets, kept["loss"].targets.asnumpy())
    assert images.std() > 0.5  # it has recorded something
    cards = training_cards(shown, open_dataset(shown.data, train=True))
    assert len(cards) == 12
    for row, card in enumerate(cards):
        np.testing.assert_array_equal(card.seen, denormalized(kept["network"].images.asnumpy()[row], shown))
        assert card.name == str(batch.labels[row])


def test_command_writes_two_pictures_and_no_mlflow_run(process, tmp_path: Path) -> None:
    # Without the words of DIGITS: workers, a batch of 64, as a user runs it.
    ended = process("experiment=quickstart", "task=preview", "task.images=6")
    assert ended.code == 0, ended.err
    (run,) = (RunDirectory(path) for path in (tmp_path / "runs" / "quickstart").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]  # no mlflow.db
    assert not run.lr_curve.exists() and list(run.tracking.iterdir()) == []
    final = status.read(run)
    assert (final.state, final.exit_code) == (FINISHED, 0)
    assert final.results == {"training": "preview_train.png", "evaluation": "preview_eval.png"}

    config = frozen.load(run.config)
    lines = 2
    for file, cards in (
        (run.preview_train, training_cards(config, open_dataset(config.data, train=True))),
        (run.preview_eval, evaluation_cards(config, open_dataset(config.data, train=False))),
    ):
        assert str(file.relative_to(tmp_path)) in ended.out
        layout = picture.layout_of([""] * lines, cards)
        assert len(cards) == 6
        with Image.open(file) as opened:
            drawn = np.asarray(opened)
        for number, each in enumerate(cards):
            left, top = layout.place(number)
            shown = drawn[top : top + layout.side : layout.enlargement, left : left + layout.side : layout.enlargement]
            np.testing.assert_array_equal(shown, each.seen)
