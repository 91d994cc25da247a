"""``${auto:}`` becomes a plain number computed from the data, unless a value is typed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from composition import freeze
from PIL import Image

from deit.cli import main
from deit.compose import auto_keys
from deit.errors import UserError

OWN = ("experiment=finetune", "model=deit_micro", "model.pretrained=null", "hardware=cpu", "tracking=none")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """84 training images, 4 for validation, in a folder with a blank and a `#` in its name."""
    root = tmp_path / "my photos #1"
    for split, count in (("train", 42), ("val", 2)):
        for label, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8), (90 * label, number, 40)).save(root / split / name / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return root


def test_the_images_are_counted_and_typed_values_win(photos: Path) -> None:
    root = f"data.root='{photos}'"
    config = freeze(*OWN, root)
    assert (config.data.batch_size, config.schedule.epochs, config.precision.level) == (8, 200, "O0")
    assert config.optim.base_lr == pytest.approx(5e-4 * 3 * (8 / 64) ** 0.5, rel=0.02)
    config = freeze(*OWN, root, "data.batch_size=2", "schedule.epochs=3", "augment.scale=[0.5,0.9]", "data.train_limit=20")
    assert (config.data.batch_size, config.schedule.epochs, config.augment.scale) == (2, 3, [0.5, 0.9])
    assert (config.tracking.log_every, config.schedule.warmup_epochs) == (2, 1)
    chosen = auto_keys.chosen()
    assert "data.batch_size" not in chosen and "84" not in chosen["augment.mixup"].why and "20" in chosen["augment.mixup"].why
    freeze("experiment=quickstart")
    assert auto_keys.chosen() == {}


def test_an_option_chosen_for_its_numbers_wins_over_the_rules(photos: Path) -> None:
    root = f"data.root='{photos}'"
    config = freeze(*OWN, root, "augment=deit", "schedule=cosine", "precision=o1", "data=imagefolder")
    assert (config.augment.mixup, config.augment.auto_augment) == (0.8, "rand-m9-mstd0.5-inc1")
    assert (config.schedule.epochs, config.schedule.warmup_epochs, config.precision.level) == (300, 5, "O1")
    assert (config.schedule.granularity, config.schedule.cooldown_epochs) == ("epoch", 10)
    config = freeze(*OWN, root, "optim=sgd", "schedule=paper", "data=imagefolder")
    assert (config.optim.base_lr, config.optim.lr_base_size, config.optim.clip_grad) == (0.1, 512, None)
    assert config.data.batch_size == 8  # a default of every data set, not what data=imagefolder is chosen for
    assert freeze(*OWN, root).model.drop_path_rate == 0


def test_official_weights_follow_the_model(photos: Path) -> None:
    root = f"data.root='{photos}'"
    assert freeze("experiment=finetune", root).model.pretrained == "deit_small_patch16_224"
    assert freeze("experiment=finetune", root, "model=deit_base_384").model.pretrained == "deit_base_patch16_384"
    with pytest.raises(UserError, match=r"no official weights of model\.name=deit_micro"):
        freeze("experiment=finetune", root, "model=deit_micro")


def test_command_shows_and_resolves_auto_values(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = f"data.root='{photos}'"
    assert main([*OWN, root, "--cfg", "job", "--resolve"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert (shown["data"]["batch_size"], shown["schedule"]["epochs"], shown["augment"]["scale"]) == (8, 200, [0.4, 1.0])
    assert main([*OWN, root, "dry_run=true", "data.batch_size=4"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "schedule.epochs=200 21 steps an epoch; about 12,000 in all from random weights" in out
    assert "data.batch_size=4 " not in out.partition("chosen for this data")[2]


def test_missing_data_is_reported_below_the_outline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*OWN, "data.root=nowhere", "dry_run=true"]) == 2
    said = capsys.readouterr()
    assert "as for 1,000 images, not counted" in said.out and "this start would be refused" in said.out
    assert said.err.startswith("data.root: there is no folder")


def test_a_run_of_the_experiment_has_plain_numbers_for_evaluate_and_resume(photos: Path, tmp_path: Path) -> None:
    from deit.config import frozen
    from deit.runs import directory

    run = directory.create(tmp_path / "runs", "finetune")
    config = freeze(*OWN, f"data.root='{photos}'")
    frozen.save(config, run.config)
    assert "auto:" not in run.config.read_text()
    assert freeze(f"resume='{run.path}'").schedule == config.schedule
    with pytest.raises(UserError, match=r"schedule.epochs is .*, but the run has its values already"):
        freeze(f"resume='{run.path}'", "schedule.epochs=${auto:}")
    assert freeze("task=evaluate", f"run='{run.path}'").data.batch_size == config.data.batch_size


def test_start_prints_the_chosen_values(photos: Path, tmp_path: Path) -> None:
    from deit.commands.train import TASK
    from deit.runs import directory

    config = freeze(*OWN, f"data.root='{photos}'", "schedule.epochs=2")
    (line,) = TASK.begin(directory.create(tmp_path / "runs", "finetune"), config)
    assert line.startswith("chosen for this data and machine") and " data.batch_size=8 " in line and "epochs=2" not in line
