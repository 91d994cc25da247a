"""Flags next to the overrides: Hydra's, and invalid ones."""

from __future__ import annotations

import pytest

from deit.compose import flags
from deit.errors import UserError


def test_flags_and_overrides_in_any_order() -> None:
    found = flags.parse(["model=deit_tiny", "--cfg", "job", "seed=1", "--resolve"])
    assert (found.cfg, found.resolve, found.overrides) == ("job", True, ["model=deit_tiny", "seed=1"])


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--model=deit_tiny"], "--model is not a flag; settings are given without dashes: model=deit_tiny."),
        (["--base-lr", "1"], "settings are given without dashes: optim.base_lr=VALUE."),
        (["--multirunn"], "--multirunn is not a flag. Did you mean '--multirun'?"),
        (["--cfg", "job", "--info", "defaults"], "--cfg and --info are both given; allowed: one of them."),
        (["--resolve"], "--resolve goes with --cfg only"),
        (["--experimental-rerun", "x"], "use resume=RUN"),
        (["--hydra-help", "seed=1"], "--hydra-help takes no other flags"),
        (["--shell-completion", "install=tcsh"], "SHELL is bash, zsh, fish"),
        (["--cfg", "nothing"], "See python launch.py --help."),
    ],
)
def test_invalid_input_is_rejected(typed: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        flags.parse(typed)
    assert message in str(caught.value)


def test_info_without_a_value_shows_only_the_defaults() -> None:
    assert flags.normal(["--info", "seed=1"]) == ["--info=defaults", "seed=1"]
    assert flags.normal(["--info", "config"]) == ["--info", "config"] and flags.normal(["-i"]) == ["--info=defaults"]


def test_versions_are_those_of_the_project_and_its_libraries() -> None:
    assert flags.version().startswith("deit-mindspore 0.") and "Hydra 1.3.8" in flags.version()
    assert "--experimental-rerun" not in flags.hydra_page() and "--cfg" in flags.hydra_page()
