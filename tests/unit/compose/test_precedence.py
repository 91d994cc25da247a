"""Typed values take precedence over files, or the contradiction is rejected; so are Hydra settings without effect."""

from __future__ import annotations

from pathlib import Path

import pytest
from composition import freeze

from deit.cli import main
from deit.compose import overrides
from deit.errors import UserError


def test_a_typed_group_wins_over_a_debug_file() -> None:
    config = freeze(
        "experiment=deit_small_paper",
        "debug=fast",
        "hardware=gpu8",
        "tracking=mlflow",
        "schedule=finetune",
        "data.train_limit=256",
    )
    assert (config.hardware.target, config.hardware.cards) == ("gpu", 8)
    assert (config.schedule.name, config.schedule.epochs) == ("constant", 30)
    # What the options do not say stays the debug file's.
    assert (config.tracking.log_every, config.data.train_limit, config.data.batch_size) == (1, 256, 16)


def test_a_debug_file_wins_over_the_experiment() -> None:
    config = freeze("experiment=deit_small_paper", "debug=fast")
    assert (config.hardware.target, config.hardware.cards, config.schedule.epochs) == ("auto", 1, 2)
    config = freeze("debug=overfit", "hardware=ascend8", "data=digits", "model=deit_micro", "data.train_limit=null")
    assert (config.hardware.target, config.hardware.cards, config.data.batch_size) == ("ascend", 8, 64)


def test_a_typed_group_wins_over_conf_local(conf: Path) -> None:
    (conf / "local" / "default.yaml").write_text("# @package _global_\nhardware:\n  target: ascend\n  grace_period: 7\n")
    assert freeze("experiment=quickstart").hardware.target == "ascend"
    config = freeze("experiment=quickstart", "hardware=gpu1")
    assert (config.hardware.target, config.hardware.grace_period) == ("gpu", 7)


def test_experiment_that_contradicts_a_typed_group_is_rejected() -> None:
    with pytest.raises(UserError) as caught:
        freeze("experiment=digits_distilled", "model=deit_tiny", "optim=sgd", "optim.base_lr=0.1", "debug=fast")
    assert str(caught.value).splitlines() == [
        f"model=deit_tiny sets model.{key}={own}, but conf/experiment/digits_distilled.yaml sets {its}; give model.{key}=VALUE."
        for key, own, its in (("embed_dim", 192, 64), ("num_heads", 3, 2))
    ]
    assert freeze("experiment=quickstart", "ema=paper", "data=cifar10", "augment=none").schedule.epochs == 48


def test_key_given_twice_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["seed=1", "seed=2", "name=x", "name=x", "--cfg", "job"]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines() == ["seed=1 is replaced by seed=2, which is given after it"]
    assert "seed: 2" in said.out


def test_typed_key_of_a_sweep_case_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep=augmentation_ablation", "optim=adamw", "dry_run=true"]) == 2
    assert "optim=adamw: the case sgd of the template sets optim=sgd" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    ["+hydra.job.env_set={FOO: x}", "hydra.job.name=x", "hydra.verbose=true", "hydra/output=default", "hydra.help.app_name=x"],
)
def test_hydra_settings_without_effect_are_rejected(text: str) -> None:
    with pytest.raises(UserError, match="has no effect here"):
        overrides.check([text], sweeping=False)


def test_hydra_settings_can_be_interpolated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment=quickstart", "name=${hydra:job.config_name}_1", "task=check_data", "dry_run=true"]) in (0, 2)
    assert "HydraConfig" not in capsys.readouterr().err


def test_flags_describe_this_program(capsys: pytest.CaptureFixture[str]) -> None:
    def answer(*typed: str) -> tuple[int, str, str]:
        try:
            code = main(list(typed))
        except SystemExit as end:  # argparse's way to end after --version
            code = int(end.code or 0)
        return (code, *capsys.readouterr())

    code, out, _ = answer("--version")
    assert code == 0 and out.startswith("deit-mindspore ") and "MindSpore" in out
    code, out, _ = answer("--hydra-help")
    assert code == 0 and "--multirun" in out and "hydra.sweeper" in out and "--experimental-rerun" not in out
    code, out, _ = answer("--info", "experiment=quickstart")
    assert code == 0 and "experiment/quickstart" in out and "Plugins" not in out
    code, _, err = answer("-sc")
    assert code == 2 and 'eval "$(python launch.py -sc install=bash)"' in err
    code, _, err = answer("hydra/launcher=submitit_slurm")
    assert code == 2 and "hydra/launcher=slurm" in err
    code, out, _ = answer("--help")
    assert code == 0 and 'eval "$(python launch.py -sc install=bash)"' in out
    code, _, err = answer()
    assert code == 2 and "data.root" in err and "python launch.py experiment=quickstart" in err
