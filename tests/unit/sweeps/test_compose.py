"""Composing the trials of a sweep: equal to Hydra's composition, but the files are composed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from command import Outcome
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from deit.commands import table
from deit.compose import freeze, groups, hydra_guard, overrides
from deit.sweeps.compose import Composer


@pytest.fixture
def composer() -> Iterator[Composer]:
    freeze.register()
    with initialize_config_dir(str(groups.CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("config", [], run_mode=RunMode.MULTIRUN)
        yield Composer(loader, config, table, look=lambda config: config)


@pytest.mark.parametrize(
    "texts",
    [
        ["experiment=quickstart", "seed=3"],
        ["experiment=quickstart", "debug=fast", "optim.base_lr=1e-3", "seed=4"],
        ["model=deit_tiny", "model.depth=3", "optim=sgd", "data.mean=[0.1,0.2,0.3]", "name=2024_01_02"],
        ["seed=5", "name=${model.name}", "model.drop_path_rate=0.3"],
        ["experiment=quickstart", "name='job ${hydra:job.num}'"],
        ["data.root=", "seed=6"],
    ],
)
def test_composition_equals_hydras(composer: Composer, texts: list[str]) -> None:
    given = overrides.check(texts, sweeping=False)
    for number in (0, 7):  # the second finds the files composed
        found, whole = composer._compose(number, texts, given), composer._by_hydra(number, texts)
        assert OmegaConf.to_container(found, resolve=False) == OmegaConf.to_container(whole, resolve=False)
        assert OmegaConf.get_type(found.optim) is OmegaConf.get_type(whole.optim)
        with pytest.raises(Exception, match="not_a_key"):  # it is as closed
            found.not_a_key = 1


def test_the_files_are_composed_once_for_all_values(command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    composed: list[Any] = []
    load = hydra_guard.TrustedLoader.load_configuration

    def counting(self: hydra_guard.TrustedLoader, *arguments: Any, **options: Any) -> Any:
        composed.append(options.get("overrides"))
        return load(self, *arguments, **options)

    monkeypatch.setattr(hydra_guard.TrustedLoader, "load_configuration", counting)
    outcome = command("-m", "experiment=quickstart", "augment=deit,none", "seed=range(20)", "dry_run=true", "tracking=none")
    assert outcome.code == 0, outcome.err
    assert "40 trials" in outcome.out and len(composed) <= 2 + 2 * 2  # Hydra's own; each option twice
