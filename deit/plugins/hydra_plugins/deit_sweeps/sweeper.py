"""The grid of ``-m``: Hydra's own, without its file, and with checks for mistakes that it accepts."""

# No postponed annotations here: Hydra runs plugin modules before sys.modules knows them, where dataclasses look.

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins import basic_sweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from deit.compose import lazy_store, overrides
from deit.errors import UserError


@dataclass
class GridConf(basic_sweeper.BasicSweeperConf):
    _target_: str = "hydra_plugins.deit_sweeps.sweeper.Grid"
    cases: dict[str, list[str]] = field(default_factory=dict)


lazy_store.store("grid", GridConf, group="hydra/sweeper", provider="deit")


def parsed(template: Mapping[str, Any], typed: list[str], loader: ConfigLoader) -> list[Override]:
    """The overrides of a template, then the typed ones, of which the later one for a key counts. Raises UserError."""
    params = [f"{key}={value}" for key, value in template.items()]
    overrides.check(params, sweeping=True)
    return OverridesParser.create(config_loader=loader).parse_overrides(overrides.readable(params) + typed)


class Grid(basic_sweeper.BasicSweeper):
    """Every combination of the values, as one batch, so that the launcher sees all trials before it starts one.

    Typed overrides replace those of ``hydra.sweeper.params`` (a template). ``hydra.sweeper.cases`` lists overrides that belong
    together, each list under a name: every combination is tried with each of them.
    """

    def __init__(self, cases: dict[str, list[str]], **given: Any) -> None:
        super().__init__(**given)
        self.cases = cases

    def sweep(self, arguments: list[str]) -> Any:
        assert self.hydra_context is not None and self.launcher is not None
        loader = self.hydra_context.config_loader
        given = {override.get_key_element(): override for override in parsed(self.params, arguments, loader)}
        grid = itertools.product(*(_values(override) for override in given.values()))
        trials = [[*trial, *case] for trial in grid for case in self._cases(parsed({}, arguments, loader))]
        return self.launcher.launch(trials, initial_job_idx=0)

    def _cases(self, typed: list[Override]) -> list[list[str]]:
        typed_keys = {override.get_key_element(): override for override in typed}
        for name, texts in self.cases.items():
            if not re.fullmatch(r"\w+", name):
                raise UserError(
                    f"hydra.sweeper.cases: {name!r} must be usable as a trial's name; allowed: letters, digits and `_`."
                )
            for override in overrides.check(texts, sweeping=False):
                same = typed_keys.get(override.get_key_element())
                if same is not None:
                    raise UserError(
                        f"{same.input_line}: the case {name} of the template sets {override.input_line}, so it would have no "
                        "effect there; remove it, or write a template without that case."
                    )
        return [[*overrides.readable(texts), f"sweep.case={name}"] for name, texts in self.cases.items()] or [[]]


def _values(override: Override) -> list[str]:
    """The override once for each of its values, as text."""
    from deit.sweeps.space import choices  # late: Hydra imports this module in every composition

    key = override.get_key_element()
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if not override.is_discrete_sweep():
        raise UserError(f"{override.input_line}: a grid needs single values; allowed: A,B,C or choice(...) or range(...).")
    return [f"{key}={value}" for value in choices(override)]
