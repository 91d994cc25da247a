"""``--config-dir``: a folder with own options, used like those of conf/."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from composition import freeze

from deit.compose import groups


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], Path]]:
    folder = tmp_path_factory.mktemp("settings")

    def write(name: str, text: str) -> Path:
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return folder

    yield write
    groups.use(None)


def test_own_option_based_on_a_built_in_one_is_listed_and_composed(own: Callable, command: Callable) -> None:
    folder = own("optim/mine", "# A stronger decay.\ndefaults: [adamw]\nweight_decay: 0.2\n")
    listed = command("--config-dir", str(folder), "--help", "optim")
    assert listed.code == 0 and "A stronger decay." in listed.out and "lamb" in listed.out
    composed = command(f"--config-dir={folder}", "optim=mine", "--cfg", "job")
    assert "weight_decay: 0.2" in composed.out and "base_lr: 0.0005" in composed.out
    wrong = command("--config-dir", str(folder), "optim=min")
    assert wrong.code == 2 and "Did you mean 'mine'?" in wrong.err
    assert "mine" not in command("--help", "optim").out


def test_own_option_replaces_a_built_in_one_of_the_same_name(own: Callable, command: Callable) -> None:
    folder = own("ema/none", "# Always.\ndefaults: [paper]\ndecay: 0.5\n")
    assert "decay: 0.5" in command("--config-dir", str(folder), "--cfg", "job").out


def test_contradiction_with_an_own_experiment_is_rejected(own: Callable, command: Callable) -> None:
    folder = own("experiment/mine", "# @package _global_\ndefaults:\n  - quickstart\noptim:\n  weight_decay: 0.3\n")
    outcome = command("--config-dir", str(folder), "experiment=mine", "optim=sgd", "dry_run=true")
    assert outcome.code == 2 and "optim.weight_decay" in outcome.err and "mine.yaml" in outcome.err


def test_own_local_settings_replace_those_of_conf(own: Callable) -> None:
    folder = own("local/default", "# @package _global_\nhardware:\n  target: gpu\n")
    groups.use(str(folder))
    assert groups.local_settings() == folder / "local" / "default.yaml"
    assert freeze("experiment=quickstart").hardware.target == "gpu"
    assert freeze("experiment=quickstart", "hardware=cpu").hardware.target == "cpu"  # what is typed wins


def test_root_configuration_is_always_built_in(own: Callable, command: Callable) -> None:
    folder = own("config", "anything: at all\n")
    assert "anything" not in command("--config-dir", str(folder), "--cfg", "job").out


def test_missing_folder_is_reported(command: Callable, tmp_path: Path) -> None:
    outcome = command("--config-dir", "nowhere", "experiment=quickstart")
    assert outcome.code == 2 and outcome.err.startswith("--config-dir nowhere: no such folder.")
    assert list(tmp_path.iterdir()) == []
