"""The worker of task=preview: the pixels and targets of a first step, and the images of an evaluation."""

from __future__ import annotations

import signal
import zlib
from pathlib import Path

import numpy as np
import pytest
from composition import composed
from PIL import Image

from deit.commands.table import prepare
from deit.config.schema import RunConfig
from deit.data.datasets import open_dataset
from deit.data.sampler import TrainOrder
from deit.data.transform import EvalTransform
from deit.engine.recorder import Mute
from deit.inference import picture
from deit.runs import directory
from deit.runs.outcome import interrupted
from deit.tasks import preview
from deit.tasks.context import Context, Interrupted
from deit.tasks.preview import denormalized, evaluation_cards, first_batch, named_shares, training_cards

DIGITS = ("experiment=quickstart", "data.batch_size=12", "data.workers=0")
RICH = ("augment.mixup_prob=1", "augment.reprob=0.7", "augment.recount=2", "augment.hflip=0.5")
PREVIEW = (*DIGITS, "task=preview")


def previewed(*overrides: str) -> RunConfig:
    """The configuration as the worker of a preview gets it."""
    return prepare(composed(*PREVIEW, *overrides))


def context(config: RunConfig, folder: Path) -> Context:
    return Context(directory.create(folder, "run"), config, Mute())


@pytest.mark.usefixtures("graph_mode")
def test_pixels_are_unchanged_without_erasing_and_mixing() -> None:
    """Without erasing and mixing, the picture contains the bytes of the loader."""
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
def test_grey_images_have_one_channel(remode: str, tmp_path: Path) -> None:
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
def test_mixed_images_show_both_classes() -> None:
    config = previewed(*RICH, "task.images=4", "seed=3")
    data = open_dataset(config.data, train=True)
    batch, images, targets = first_batch(config, data)
    cards = training_cards(config, data)
    for card, row in zip(cards, (0, 1, 10, 11), strict=True):
        np.testing.assert_array_equal(card.seen, denormalized(images[row], config))
        assert {name for name, _ in card.shares} == {str(batch.labels[row]), str(batch.labels[11 - row])}
        assert sum(share for _, share in card.shares) == pytest.approx(np.sort(targets[row])[-len(card.shares) :].sum())


@pytest.mark.usefixtures("graph_mode")
def test_images_are_those_of_the_first_rank_on_any_machine() -> None:
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
def test_rectangular_images_keep_their_shape() -> None:
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


@pytest.mark.parametrize(
    ("target", "smoothing", "shares"),
    [
        ([0.05, 0.95], 0.1, [("b", 0.95)]),
        ([0.5, 0.5], 0.1, [("a", 0.5), ("b", 0.5)]),
        ([0.4, 0.6], 0.0, [("b", 0.6), ("a", 0.4)]),
        ([0.0, 1.0], 0.0, [("b", 1.0)]),
    ],
)
def test_named_shares_of_a_target(target: list[float], smoothing: float, shares: list[tuple[str, float]]) -> None:
    assert named_shares(np.array(target), ["a", "b"], smoothing) == shares


@pytest.mark.usefixtures("graph_mode")
def test_class_name_missing_in_the_font_is_shown_as_a_number(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("花", "цветок"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (40, 30), (number, 0, 0)).save(tmp_path / split / name / f"{number}.png")
    config = previewed("data=imagefolder", f"data.root={tmp_path}", "data.batch_size=4")
    cards = evaluation_cards(config, open_dataset(config.data, train=False))
    assert sorted(card.name for card in cards) == ["class 1", "class 1", "цветок", "цветок"]


@pytest.mark.usefixtures("graph_mode")
def test_interrupted_preview_leaves_no_partial_files(tmp_path: Path) -> None:
    stopped = context(previewed("task.images=2"), tmp_path)
    stopped.stop_signals.append(signal.SIGINT)
    with pytest.raises(Interrupted) as stop:
        preview.run(stopped)
    assert interrupted(stop.value.signal).exit_code == 130
    assert list(stopped.run.path.glob("*.png")) + list(stopped.run.path.glob(".*")) == []
