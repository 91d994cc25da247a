"""What Hydra would call on the word of a configuration, and that it is ours.

Hydra instantiates what stands under ``_target_`` in hydra.launcher, hydra.sweeper and hydra.callbacks, and gives
hydra.job_logging to ``logging.config``, which can call anything, too; all that right after composing, and wherever the keys
come from: the command line, an experiment, conf/local. Here every composition is checked before Hydra continues with it. In
all other groups such keys are unknown keys like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hydra._internal.hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from deit.compose import precedence
from deit.errors import UserError

CALLS = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_")
LOGGING = {"version": 1, "root": None, "disable_existing_loggers": False}  # of the option `none`


class TrustedLoader(ConfigLoaderImpl):  # type: ignore[misc]  # Hydra is untyped for mypy
    """Hydra's loader, whose compositions call nothing but the options of hydra/launcher and hydra/sweeper."""

    def load_configuration(self, config_name: Any, overrides: list[str], *arguments: Any, **options: Any) -> DictConfig:
        """Raises UserError where a file or an override names something else to call, or a file contradicts what is typed."""
        config: DictConfig = super().load_configuration(config_name, overrides, *arguments, **options)
        found = [*_problems(config), *precedence.apply(config, overrides)]
        if found:
            raise UserError("\n".join(found))
        return config


def install() -> None:
    """Let Hydra compose by ``TrustedLoader``, in this process."""
    hydra._internal.hydra.ConfigLoaderImpl = TrustedLoader


def calls(values: Any, place: str = "") -> dict[str, Any]:
    """The keys of plain nested ``values`` by which Hydra calls something, by their dotted place."""
    found: dict[str, Any] = {}
    if isinstance(values, dict):
        for key, value in values.items():
            if str(key) in CALLS:
                found[f"{place}{key}"] = value
            found |= calls(value, f"{place}{key}.")
    elif isinstance(values, list):
        for number, value in enumerate(values):
            found |= calls(value, f"{place}{number}.")
    return found


def _problems(config: DictConfig) -> Iterator[str]:
    settings = config.hydra
    for part in ("launcher", "sweeper"):
        option = settings.runtime.choices.get(f"hydra/{part}")
        allowed = calls(_registered(part, option))
        for key, value in calls(OmegaConf.to_container(settings[part], resolve=False)).items():
            if key not in allowed or allowed[key] != value:
                yield (
                    f"hydra.{part}.{key} is {value!r}, but targets cannot be overridden; choose an option of hydra/{part}; "
                    f"allowed: hydra/{part}=OPTION, whose own keys may be given."
                )
    if settings.callbacks:
        yield f"hydra.callbacks has {', '.join(settings.callbacks)}, but callbacks are not supported; leave it out."
    for part in ("job_logging", "hydra_logging"):
        values = OmegaConf.to_container(settings[part], resolve=False)
        if values and values != LOGGING:
            yield f"hydra.{part} is set, but not used here; remove it. Logs are in the run directory."


def _registered(part: str, option: str | None) -> Any:
    try:
        node = ConfigStore.instance().load(f"hydra/{part}/{option}.yaml").node
    except Exception:  # no option of a plugin, whatever file it may come from
        return {}
    return OmegaConf.to_container(node, resolve=False)
