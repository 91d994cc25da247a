"""The control half of task=preview: what it accepts, rejects and shows without a start."""

from __future__ import annotations

from pathlib import Path

import pytest
from composition import freeze

from deit.commands.table import prepare
from deit.config import frozen
from deit.errors import UserError


def test_dry_run_describes_the_preview(command, tmp_path: Path) -> None:
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
def test_preview_does_not_need_what_only_a_training_needs(overrides: str) -> None:
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
def test_preview_rejects(overrides: str, words: list[str], command, tmp_path: Path) -> None:
    outcome = command("experiment=quickstart", "task=preview", *overrides.split())
    assert outcome.code == 2 and outcome.out == "" and "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_run_gives_the_recipe_of_that_run(tmp_path: Path) -> None:
    base = freeze("experiment=quickstart", "seed=7", "augment.mixup=0.4", "hardware.cards=2", "data.batch_size=32")
    frozen.save(base, tmp_path / "config.yaml")
    config = prepare(freeze("task=preview", f"run={tmp_path}", "model.img_size=48"))
    assert (config.task.name, config.task.ranks, config.run) == ("preview", 2, str(tmp_path))
    assert (config.seed, config.augment.mixup, config.data.batch_size, config.model.img_size) == (7, 0.4, 32, 48)
    with pytest.raises(UserError, match=r"resume=.*"):
        freeze("task=preview", f"resume={tmp_path}")
