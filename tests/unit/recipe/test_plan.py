"""The numbers of a recipe, the plot of its learning rate, and the dry run that shows both."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import pytest
import yaml
from composition import freeze

from deit.compose import groups
from deit.recipe import lr_curve
from deit.recipe.plan import known_train_images, plan

IMAGENET = 1_281_167


def test_seed_recipe_in_numbers() -> None:
    planned = plan(freeze("experiment=deit_small_modelzoo"), IMAGENET)
    assert (planned.global_batch, planned.steps_per_epoch, planned.epochs) == (1024, 1251, 310)
    assert planned.total_steps == 1251 * 310
    assert planned.peak_lr == pytest.approx(1e-3, rel=1e-12)
    assert planned.learning_rate(0) == 1e-6
    assert planned.learning_rate(1251 * 305) == 1e-6


def test_repeated_augmentation_counts_as_the_reference_does() -> None:
    config = freeze("experiment=deit_small_paper")
    assert plan(config, IMAGENET).steps_per_epoch == 1251  # 160,128 images a rank in batches of 128
    config.augment.repeats = 1
    assert plan(config, 2047).steps_per_epoch == plan(config, 1023).steps_per_epoch == 1
    config.data.last_batch = "fill"
    assert [plan(config, images).steps_per_epoch for images in (0, 1, 1024, 2047)] == [0, 1, 1, 2]
    config.augment.repeats = 3
    assert plan(config, 2047).steps_per_epoch == 2
    config.data.last_batch = "drop"  # 256 * 8 images fill two steps; 2047 lose all but 256 * 7
    assert (plan(config, 2048).steps_per_epoch, plan(config, 2047).steps_per_epoch) == (2, 1)


def test_accumulation_machines_and_max_steps() -> None:
    config = freeze(
        "hardware=ascend2x8",
        *("data.batch_size=32", "optim.accumulation_steps=2", "schedule.max_steps=7"),
    )
    planned = plan(config, 10_000)
    assert (planned.global_batch, planned.steps_per_epoch, planned.total_steps) == (32 * 16 * 2, 9, 7)


def test_unscaled_learning_rate() -> None:
    assert plan(freeze("optim.lr_base_size=null", "optim.base_lr=3e-4"), IMAGENET).peak_lr == 3e-4


def test_known_train_images() -> None:
    assert known_train_images(freeze()) == IMAGENET
    assert known_train_images(freeze("data.train_limit=1000")) == 1000
    assert known_train_images(freeze("data=imagefolder", "data.root=x", "data.train_limit=1000")) is None


def test_curve_is_the_schedule() -> None:
    # The rates of timm for lr 1e-3, min 1e-5, 300 epochs; in the loop of facebookresearch/deit they come an epoch later.
    expected = {0: 1e-6, 1: 2.008e-4, 4: 8.002e-4, 5: 9.9932162e-4, 150: 5.05e-4, 299: 1.00271e-5}
    epochs, rates = lr_curve.curve(freeze("experiment=deit_small_paper", "schedule.timing=start"))
    at = dict(zip(epochs, rates, strict=True))
    assert {epoch: at[epoch] for epoch in expected} == pytest.approx(expected, rel=1e-5)
    assert epochs[-1] == 300
    epochs, rates = lr_curve.curve(freeze("experiment=deit_small_paper"))
    at = dict(zip(epochs, rates, strict=True))
    late = {epoch + 1: rate for epoch, rate in expected.items() if epoch < 299} | {0: 1e-6}
    assert {epoch: at[epoch] for epoch in late} == pytest.approx(late, rel=1e-5)


def test_plot_rises_and_falls() -> None:
    lines = lr_curve.plot_text(freeze("experiment=deit_small_modelzoo"), width=40, height=3).splitlines()
    assert len(lines) == 4
    bottom, top = lines[2][10:], lines[0][10:]
    assert bottom[1] == "█" and bottom[-1] == " " and top[1] == "█" and top[20:].strip() == ""
    assert lines[3].strip().startswith("0") and lines[3].endswith("310 epochs")


def test_png_is_drawn_and_repeatable(tmp_path: Path) -> None:
    config = freeze("experiment=quickstart")
    lr_curve.draw(config, tmp_path / "a.png")
    lr_curve.draw(config, tmp_path / "b.png")
    lr_curve.draw(dataclasses.replace(config, name="other"), tmp_path / "c.png")
    first, same, other = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert first[:8] == b"\x89PNG\r\n\x1a\n" and first == same and first != other


def test_dry_run_shows_the_recipe_and_starts_nothing(command, tmp_path: Path) -> None:
    typed = ["experiment=quickstart", "model=deit_tiny", "seed=5", "dry_run=true"]
    outcome = command(*typed)
    assert (outcome.code, outcome.err) == (0, "")
    flat = " ".join(outcome.out.split())
    config = freeze("experiment=quickstart")
    steps = config.data.train_size // 64
    for words in (
        "deit_tiny: 5,526,346 parameters, 1.253 GMACs",  # the published 5,717,416 less 990 rows of the head
        f"{config.data.train_size:,} training images in 10 classes (counted)",
        "64 = 64 x 1 cards x 1 machines x 1 accumulated",
        f"{steps} per epoch, {steps * config.schedule.epochs:,} in total",
        "peak learning rate 0.002 (0.002 x 64 / 64)",
        "50 tensors, ",
        "102 tensors, ",
        "decay 0.98",
        "-m deit.worker",
    ):
        assert words in flat
    assert list(tmp_path.iterdir()) == []  # nothing is written, either


def test_dry_run_shows_the_recipe_without_cards_and_data(command) -> None:
    outcome = command("hardware=ascend8", "data.root=nowhere", "dry_run=true")
    assert outcome.code == 2 and outcome.err == command("hardware=ascend8", "data.root=nowhere").err
    flat = " ".join(outcome.out.split())
    assert "1,281,167 training images in 1000 classes (not counted: " in flat and "nowhere" in flat
    assert "1,251 per epoch, 387,810 in total" in flat
    assert "this start would be refused" in flat and "would start" not in flat


def test_dry_run_of_a_sweep_shows_each_trial_and_writes_nothing(command, tmp_path: Path) -> None:
    outcome = command("experiment=quickstart", "-m", "seed=1,2", "optim.base_lr=1e-3,2e-3", "dry_run=true")
    assert (outcome.code, outcome.err) == (0, "")
    assert "4 trials" in outcome.out
    for values in ("seed=1 optim.base_lr=0.001", "seed=2 optim.base_lr=0.002"):
        assert outcome.out.count(values) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("template", groups.groups()["sweep"])
def test_each_template_composes_and_documents_its_command(command, template: str) -> None:
    """It makes as many trials as its values say, and its head says how to start it and what it costs."""
    file = groups.groups()["sweep"][template]
    sweeper = yaml.safe_load(file.read_text())["hydra"]["sweeper"]
    params = sweeper.get("params", {})
    listed = math.prod(len(str(values).split(",")) for values in params.values()) * max(1, len(sweeper.get("cases", {})))
    expected = sweeper.get("n_trials", listed)  # a search says how many
    outcome = command(f"sweep={template}", "dry_run=true")
    lacks = "this start would be refused" in outcome.out  # the data, or cards, that this machine does not have
    assert outcome.code == (2 if lacks else 0), outcome.err
    assert f"{expected} trials" in outcome.out
    assert all(re.search(rf"{re.escape(key)} ?=", outcome.out) for key, values in params.items() if "," in str(values))
    assert f"python launch.py sweep={template}" in file.read_text() and "# cost: " in file.read_text()


def test_typed_values_override_a_template(command, tmp_path: Path) -> None:
    outcome = command("sweep=quickstart_grid", "augment.mixup_prob=0.1", "dry_run=true")
    assert (outcome.code, outcome.err) == (0, "")
    assert "2 trials" in outcome.out
    assert outcome.out.count("optim.base_lr=0.001") == 1 and outcome.out.count("optim.base_lr=0.002") == 1


def test_missing_folder_of_any_trial_is_found_before_the_first_starts(command, tmp_path: Path) -> None:
    outcome = command("-m", "experiment=quickstart", "data=digits,cifar10", "hardware=cpu", "tracking=none")
    assert outcome.code == 2 and outcome.out == ""
    assert "trial 1" in outcome.err and "data.root" in outcome.err
    assert list(tmp_path.iterdir()) == []
