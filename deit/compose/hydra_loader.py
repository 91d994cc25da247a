"""Hydra's loader without the work that no composition needs; the result is the same.

- Without `-m` and `--cfg` Hydra composes twice: to read ``hydra.mode``, and to run.
- For each file it makes a node of all chosen options, for interpolations in a defaults list, where few files have one.
- Composing makes many objects that all remain, in which the garbage collector would look for cycles.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hydra._internal.hydra
from hydra._internal import defaults_list
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from deit.compose.hydra_guard import TrustedLoader

_choices_for_interpolations = defaults_list._create_interpolation_map


class OnceLoader(TrustedLoader):
    """Composes once what Hydra asks for twice."""

    _last: tuple[str | None, list[str], DictConfig] | None = None  # the name, the overrides and the result

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Raises what TrustedLoader does."""
        last, self._last = self._last, None
        if last is not None and last[0] == config_name and validate_sweep_overrides:
            added = overrides[len(last[1]) :]
            if last[1] + added == overrides and added in ([], [f"hydra.mode={run_mode.name}"]) and not _open(last[2]):
                parsed = OverridesParser.create().parse_overrides(overrides)
                self.validate_sweep_overrides_legal(overrides=parsed, run_mode=run_mode, from_shell=from_shell)
                if added:
                    self._apply_overrides_to_config(parsed[-1:], last[2])
                    last[2].hydra.overrides.hydra.append(added[0])
                return last[2]
        with _without_collector():
            config = super().load_configuration(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
        if not validate_sweep_overrides:  # Hydra reads the mode of it, and forgets it
            self._last = config_name, list(overrides), config
        return config


def install() -> None:
    """Make Hydra compose with ``OnceLoader``, in this process."""
    hydra._internal.hydra.ConfigLoaderImpl = OnceLoader
    defaults_list._create_interpolation_map = _choices


def _open(config: DictConfig) -> bool:
    """Whether an option must still be chosen, which Hydra accepts as long as it only asks for the mode."""
    return bool(OmegaConf.missing_keys(config.hydra.runtime.choices))


def _choices(overrides: Any, defaults: list[Any], self_added: bool) -> Any:
    """The chosen options, if an entry of ``defaults`` refers to one."""
    wanted = any(entry.is_interpolation() for entry in defaults)
    return _choices_for_interpolations(overrides, defaults, self_added) if wanted else {}


@contextmanager
def _without_collector() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
