"""task=preview shows what a training really gets: the same pixels, the same targets, for any composition."""

from __future__ import annotations

import signal
import zlib
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from composition import composed, freeze
from mindspore import Parameter, nn, ops
from PIL import Image

from deit.commands.table import prepare
from deit.config import frozen
from deit.config.schema import RunConfig
from deit.data.datasets import open_dataset
from deit.data.sampler import TrainOrder
from deit.data.transform import EvalTransform
from deit.engine.recorder import Mute
from deit.engine.step import TrainStep
from deit.errors import UserError
from deit.inference import picture
from deit.recipe.augmentation import summary
from deit.runs import directory, status
from deit.runs.directory import RunDirectory
from deit.runs.outcome import FINISHED, interrupted
from deit.tasks import preview
from deit.tasks import train as training
from deit.tasks.context import Context, Interrupted
from deit.tasks.preview import denormalized, evaluation_cards, first_batch, named_shares, training_cards

DIGITS = ("experiment=quickstart", "data.batch_size=12", "data.workers=0")
RICH = ("augment.mixup_prob=1", "augment.reprob=0.7", "augment.recount=2", "augment.hflip=0.5")
PREVIEW = (*DIGITS, "task=preview")
SMALL = ("model.embed_dim=16", "model.depth=1", "model.num_heads=2", "ema=none", "data.val_limit=10", "data.eval_batch_size=10")


def previewed(*overrides: str) -> RunConfig:
    """The configuration as the worker of a preview gets it."""
    return prepare(composed(*PREVIEW, *overrides))


def context(config: RunConfig, folder: Path) -> Context:
    return Context(directory.create(folder, "run"), config, Mute())


# ------------------------------------------------------------------------------------- what a training gets


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
def test_shown_is_what_the_first_step_of_the_real_training_gets(
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


@pytest.mark.usefixtures("graph_mode")
def test_pixels_survive_the_way_back_from_normalisation() -> None:
    """Where nothing is erased nor mixed, the picture holds the very bytes of the loader."""
    config = previewed("augment=light", "task.images=12", "data.mean=[0.4,0.5,0.6]", "data.std=[0.1,0.2,0.3]")
    batch, _, targets = first_batch(config, open_dataset(config.data, train=True))
    cards = training_cards(config, open_dataset(config.data, train=True))
    np.testing.assert_array_equal(np.stack([card.seen for card in cards]), batch.images)
    data = open_dataset(config.data, train=True)
    for row, card in enumerate(cards):
        np.testing.assert_array_equal(card.original, data.image(int(batch.indices[row])))
        assert card.shares == [(str(batch.labels[row]), pytest.approx(0.91))]
        assert card.shares[0][1] == targets[row].max()


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize("remode", ["pixel", "rand"])
def test_grey_images_have_one_channel_up_to_the_picture(remode: str, tmp_path: Path) -> None:
    grey = ("model.in_chans=1", "data.mean=[0.4]", "data.std=[0.3]", "augment.reprob=1", f"augment.remode={remode}")
    config = previewed(*RICH, *grey, "task.images=4")
    data = open_dataset(config.data, train=True)
    batch, images, _ = first_batch(config, data)
    assert batch.images.shape[1:] == (32, 32, 1) and images.shape == (12, 1, 32, 32)
    cards = training_cards(config, data)
    assert cards[0].seen.shape == (32, 32, 1) and cards[0].original.shape[2] == 3
    picture.draw(tmp_path / "grey.png", "grey", ["a line"], cards)
    assert Image.open(tmp_path / "grey.png").mode == "RGB"


@pytest.mark.usefixtures("graph_mode")
def test_both_images_of_a_mixed_pair_are_shown() -> None:
    config = previewed(*RICH, "task.images=4", "seed=3")
    data = open_dataset(config.data, train=True)
    batch, images, targets = first_batch(config, data)
    cards = training_cards(config, data)
    for card, row in zip(cards, (0, 1, 10, 11), strict=True):
        np.testing.assert_array_equal(card.seen, denormalized(images[row], config))
        assert {name for name, _ in card.shares} == {str(batch.labels[row]), str(batch.labels[11 - row])}
        assert sum(share for _, share in card.shares) == pytest.approx(np.sort(targets[row])[-len(card.shares) :].sum())


@pytest.mark.usefixtures("graph_mode")
def test_the_first_of_several_ranks_is_shown_whatever_this_machine_has() -> None:
    recipe = ("hardware=ascend2x8", "augment=deit_repeated", "precision=bf16", "task.images=2")
    config = previewed(*recipe)
    assert (config.task.ranks, config.hardware.target, config.hardware.cards, config.hardware.nodes) == (16, "cpu", 1, 1)
    assert prepare(config) == config
    data = open_dataset(config.data, train=True)
    order = TrainOrder(len(data), seed=0, batch_size=12, rank=0, world=16, accumulation_steps=1, repeats=3)
    indices = first_batch(config, data)[0].indices
    np.testing.assert_array_equal(indices, order.epoch(0)[0][0])
    alone = previewed(*recipe[1:])
    assert not np.array_equal(indices, first_batch(alone, data)[0].indices)


@pytest.mark.usefixtures("graph_mode")
def test_evaluation_images_are_those_of_the_evaluation_transform() -> None:
    config = previewed("data.crop_pct=0.8", "model.img_size=24", "task.images=20", "data.eval_batch_size=8")
    data = open_dataset(config.data, train=False)
    cards = evaluation_cards(config, data)
    assert len(cards) == 20 and {card.name for card in cards} == {str(digit) for digit in range(10)}
    transform = EvalTransform(config)
    there = {zlib.crc32(data.image(index).tobytes()) for index in range(len(data))}
    for card in cards:
        np.testing.assert_array_equal(card.seen, transform(card.original))
        assert zlib.crc32(np.ascontiguousarray(card.original).tobytes()) in there


@pytest.mark.usefixtures("graph_mode")
def test_rectangular_images_keep_their_shape_up_to_the_picture() -> None:
    config = previewed(*RICH, "model.img_size=[24,40]", "data.crop_pct=0.8", "task.images=4")
    data = open_dataset(config.data, train=True)
    batch, images, _ = first_batch(config, data)
    assert batch.images.shape == (12, 24, 40, 3) and images.shape == (12, 3, 24, 40)
    cards = [*training_cards(config, data), *evaluation_cards(config, data)]
    assert {card.seen.shape for card in cards} == {(24, 40, 3)}
    layout = picture.layout_of(["a line"], cards)
    drawn = np.asarray(picture.sheet("rectangles", ["a line"], cards))
    left, top = layout.place(0)
    first, times = cards[0].seen, layout.enlargement
    top += 8 * times  # in the middle of a square
    shown = drawn[top : top + 24 * times, left : left + 40 * times]
    np.testing.assert_array_equal(shown, first.repeat(times, 0).repeat(times, 1))


# ---------------------------------------------------------------------------------------------- the picture


def card(size: int, name: str = "7", *shares: tuple[str, float], shape: tuple[int, int] = (20, 30)) -> picture.Card:
    rng = np.random.default_rng(size)
    original = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    return picture.Card(original, rng.integers(0, 256, (size, size, 3)).astype(np.uint8), name, list(shares))


@pytest.mark.parametrize(("size", "count"), [(8, 1), (32, 16), (48, 5), (224, 6), (384, 3)])
def test_every_pixel_is_in_the_picture(size: int, count: int) -> None:
    cards = [card(size, "7", ("7", 0.62), ("3", 0.3)) for _ in range(count)]
    subtitle = ["one line", "another"]
    layout = picture.layout_of(subtitle, cards)
    drawn = np.asarray(picture.sheet("title", subtitle, cards))
    assert drawn.shape == (layout.height, max(layout.width, drawn.shape[1]), 3) and layout.width <= max(2000, 3 * layout.side)
    times = layout.enlargement
    for number, each in enumerate(cards):
        left, top = layout.place(number)
        shown = drawn[top : top + layout.side, left : left + layout.side]
        np.testing.assert_array_equal(shown, each.seen.repeat(times, 0).repeat(times, 1))


def test_the_bar_shows_the_shares() -> None:
    cards = [card(32, "7", ("7", 0.5), ("3", 0.25))]
    layout = picture.layout_of(["line"], cards)
    left, top = layout.place(0)
    row = np.asarray(picture.sheet("t", ["line"], cards))[top + layout.side + picture.ABOVE_BAR + 1, left : left + layout.side]
    colours = [tuple(int(value) for value in pixel) for pixel in row]
    assert colours.count(picture.COLOURS[0]) == layout.side // 2 and colours.count(picture.COLOURS[1]) == layout.side // 4
    assert colours.count(picture.EMPTY) == layout.side // 4


def test_long_names_stay_in_their_place() -> None:
    long = "a class whose name is longer than the image is wide"
    cards = [card(32, long, (long, 0.5), (long, 0.4)) for _ in range(2)]
    layout = picture.layout_of(["line"], cards)
    drawn = np.asarray(picture.sheet("t", ["line"], cards))
    left, top = layout.place(0)
    below = drawn[top + layout.side + picture.ABOVE_BAR + picture.BAR :]
    right = left + layout.side
    between = [*range(left - picture.BETWEEN_IMAGES, left), *range(right, right + picture.BETWEEN_CARDS)]
    assert (below[:, between] == 255).all() and (below[:, left:right] < 128).any()


@pytest.mark.parametrize(
    ("target", "smoothing", "shares"),
    [
        ([0.05, 0.95], 0.1, [("b", 0.95)]),
        ([0.5, 0.5], 0.1, [("a", 0.5), ("b", 0.5)]),
        ([0.4, 0.6], 0.0, [("b", 0.6), ("a", 0.4)]),
        ([0.0, 1.0], 0.0, [("b", 1.0)]),
    ],
)
def test_classes_of_a_target_are_named(target: list[float], smoothing: float, shares: list[tuple[str, float]]) -> None:
    assert named_shares(np.array(target), ["a", "b"], smoothing) == shares


def test_a_class_that_the_letters_cannot_write_is_called_by_its_number(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("花", "цветок"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (40, 30), (number, 0, 0)).save(tmp_path / split / name / f"{number}.png")
    config = previewed("data=imagefolder", f"data.root={tmp_path}", "data.batch_size=4")
    cards = evaluation_cards(config, open_dataset(config.data, train=False))
    assert sorted(card.name for card in cards) == ["class 1", "class 1", "цветок", "цветок"]


def test_summary_names_what_is_on() -> None:
    deit = summary(freeze("model=deit_small").augment)
    assert deit == "crop 0.08-1, flip 0.5, rand-m9-mstd0.5-inc1, erase 0.25, smoothing 0.1, mixup 0.8 or CutMix 1"
    assert summary(freeze("augment=none").augment) == "crop 1-1"
    assert summary(freeze("experiment=quickstart").augment).endswith("mixup 0.2 or CutMix 0.5 with probability 0.2")


# ---------------------------------------------------------------------------------------------- the command


def test_the_command_leaves_two_pictures_and_no_mlflow_run(process, tmp_path: Path) -> None:
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


@pytest.mark.usefixtures("graph_mode")
def test_an_interrupted_preview_leaves_nothing_half_written(tmp_path: Path) -> None:
    stopped = context(previewed("task.images=2"), tmp_path)
    stopped.stop_signals.append(signal.SIGINT)
    with pytest.raises(Interrupted) as stop:
        preview.run(stopped)
    assert interrupted(stop.value.signal).exit_code == 130
    assert list(stopped.run.path.glob("*.png")) + list(stopped.run.path.glob(".*")) == []


def test_dry_run_says_what_would_be_shown(command, tmp_path: Path) -> None:
    outcome = command("experiment=quickstart", "task=preview", "hardware=ascend8", "dry_run=true")
    assert outcome.code == 0, outcome.err
    words = " ".join(outcome.out.split())
    assert "batch 64 images, those of the first step of the first of 8 processes" in words
    assert "rand-m4-n1-mstd0.5-inc1" in words and "at most 16 images" in words and "python -m deit.worker" in words
    assert "optimizer" not in words and "learning rate" not in words
    assert not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize(
    "overrides",
    [
        "model=deit_small_distilled",  # no teacher is needed to look
        "model=deit_small_distilled distill=hard",
        "hardware=ascend2x8",  # neither addresses nor cards
        "hardware=cpu precision=bf16",
        "model=deit_small schedule=cosine augment=none",
        "debug=fast experiment=quickstart",
    ],
)
def test_what_only_a_training_needs_does_not_stand_in_the_way(overrides: str) -> None:
    assert freeze("task=preview", *overrides.split()).task.name == "preview"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ("data.batch_size=7 augment.mixup_prob=1", ["data.batch_size is 7", "an even number"]),
        ("augment.auto_augment=rand-q9", ["rand-q9"]),
        ("augment.scale=[1.0,0.5]", ["augment.scale is [1, 0.5]"]),
        ("task.ranks=2000", ["task.ranks=2000", "1,442 training images"]),
        ("task.images=0", ["task.images is 0", "at least 1", "at most 64"]),
        ("resume=x", ["resume=x", "it uses no weights"]),
        ("checkpoint=x.safetensors", ["checkpoint=x.safetensors", "task=preview", "no weights"]),
        ("optim.base_lr=1", ["optim.base_lr has no effect with task=preview"]),
        ("schedule.epochs=7", ["schedule.epochs has no effect with task=preview"]),
        ("ema.decay=0.5", ["ema.decay has no effect with task=preview"]),
        ("distill.alpha=0.5", ["distill.alpha has no effect with task=preview"]),
        ("checkpointing.every=2", ["checkpointing.every has no effect with task=preview"]),
        ("precision.level=O1", ["precision.level has no effect with task=preview"]),
        ("tracking.uri=sqlite:///x.db", ["tracking.uri has no effect with task=preview"]),
        ("model.depth=3", ["model.depth has no effect with task=preview"]),
        ("hardware.card_ids=[0]", ["hardware.card_ids has no effect with task=preview"]),
        ("hardware.cards=2 task.ranks=4", ["hardware.cards has no effect while task.ranks is set"]),
        ("data.eval_batch_size=3", ["data.eval_batch_size has no effect with task=preview"]),
    ],
)
def test_refused(overrides: str, words: list[str], command, tmp_path: Path) -> None:
    outcome = command("experiment=quickstart", "task=preview", *overrides.split())
    assert outcome.code == 2 and outcome.out == "" and "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_the_recipe_of_a_run_can_be_looked_at(tmp_path: Path) -> None:
    base = freeze("experiment=quickstart", "seed=7", "augment.mixup=0.4", "hardware.cards=2", "data.batch_size=32")
    frozen.save(base, tmp_path / "config.yaml")
    config = prepare(freeze("task=preview", f"run={tmp_path}", "model.img_size=48"))
    assert (config.task.name, config.task.ranks, config.run) == ("preview", 2, str(tmp_path))
    assert (config.seed, config.augment.mixup, config.data.batch_size, config.model.img_size) == (7, 0.4, 32, 48)
    with pytest.raises(UserError, match=r"resume=.*"):
        freeze("task=preview", f"resume={tmp_path}")
