"""Hydra composes with less work, and composes the same."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Outcome
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.types import RunMode
from omegaconf import OmegaConf

from deit.compose import freeze, groups
from deit.compose.hydra_guard import TrustedLoader
from deit.compose.hydra_loader import OnceLoader


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The overrides of each composition by Hydra itself."""
    seen: list[list[str]] = []
    compose_all = ConfigLoaderImpl._load_configuration_impl

    def counting(self: ConfigLoaderImpl, **options: Any) -> Any:
        seen.append(list(options["overrides"]))
        return compose_all(self, **options)

    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", counting)
    return seen


@pytest.mark.parametrize("typed", [(), ("hydra.mode=RUN",), ("hydra.mode=MULTIRUN",), ("-m",)])
def test_a_command_composes_once_and_each_trial_once(
    command: Callable[..., Outcome], composed: list[list[str]], typed: tuple[str, ...]
) -> None:
    outcome = command("experiment=quickstart", "tracking=none", "dry_run=true", *typed)
    assert outcome.code == 0, outcome.err
    trials = 1 if typed in [("hydra.mode=MULTIRUN",), ("-m",)] else 0
    assert len(composed) == 1 + trials


@pytest.mark.parametrize("given", [[], ["optim.base_lr=1", "hydra.mode=RUN"], ["sweep=seeds"]])
@pytest.mark.parametrize("mode", RunMode)
def test_the_second_composition_is_what_hydra_would_compose(given: list[str], mode: RunMode) -> None:
    freeze.register()
    settings = ["experiment=quickstart", *given]
    path = create_config_search_path(str(groups.CONF))
    ours, of_hydra = OnceLoader(path), TrustedLoader(path)
    asked = ours.load_configuration("config", settings, RunMode.MULTIRUN, validate_sweep_overrides=False)
    if asked.hydra.mode is None:  # then Hydra adds the mode
        settings.append(f"hydra.mode={mode.name}")
    again, expected = (loader.load_configuration("config", settings, mode) for loader in (ours, of_hydra))
    assert again is asked
    assert OmegaConf.to_container(again) == OmegaConf.to_container(expected)
    assert again.hydra.mode is expected.hydra.mode and again.hydra.overrides == expected.hydra.overrides
    assert ours.load_configuration("config", settings, mode) is not asked


def test_other_overrides_are_composed_for_themselves() -> None:
    freeze.register()
    loader = OnceLoader(create_config_search_path(str(groups.CONF)))
    loader.load_configuration("config", ["seed=1"], RunMode.MULTIRUN, validate_sweep_overrides=False)
    assert loader.load_configuration("config", ["seed=2"], RunMode.RUN).seed == 2


def test_an_option_that_nobody_chose_is_missed(command: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "own/experiment").mkdir(parents=True)
    (tmp_path / "own/experiment/open.yaml").write_text("# @package _global_\ndefaults:\n  - override /optim: ???\n")
    outcome = command("--config-dir", "own", "experiment=open", "dry_run=true")
    assert outcome.code == 2 and "You must specify 'optim'" in outcome.err and "adamw" in outcome.err


def test_a_defaults_list_may_refer_to_a_chosen_option(tmp_path: Path) -> None:
    no_logging = (f"  - override hydra/{part}: none\n" for part in ("job_logging", "hydra_logging"))
    for name, text in {
        "config": f"defaults:\n  - a: first\n  - b: ${{a}}\n  - _self_\n{''.join(no_logging)}",
        "a/first": "of_a: 1\n",
        "b/first": "of_b: 1\n",
        "a/second": "of_a: 2\n",
        "b/second": "of_b: 2\n",
    }.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    freeze.register()
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        assert compose("config", ["a=second"]) == {"a": {"of_a": 2}, "b": {"of_b": 2}}


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_pauses_while_hydra_composes(enabled: bool) -> None:
    freeze.register()
    collections: list[str] = []

    def note(phase: str, info: dict[str, int]) -> None:
        collections.append(phase)

    loader = OnceLoader(create_config_search_path(str(groups.CONF)))
    (gc.enable if enabled else gc.disable)()
    gc.callbacks.append(note)
    try:
        loader.load_configuration("config", [], RunMode.RUN)
        assert gc.isenabled() is enabled
    finally:
        gc.callbacks.remove(note)
        gc.enable()
    assert len(collections) <= 2  # of the lines here
