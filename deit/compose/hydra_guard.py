"""Guard against configurations that make Hydra call foreign code.

Hydra instantiates any ``_target_`` in hydra.launcher, hydra.sweeper and hydra.callbacks, and passes hydra.job_logging to
``logging.config``, which can call anything, too. It does so right after composing, wherever the keys come from: the command
line, an experiment, conf/local. So every composition is checked before Hydra continues. In all other groups such keys are
unknown keys like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from deit.compose import precedence
from deit.errors import UserError

CALLS = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_")
LOGGING = {"version": 1, "root": None, "disable_existing_loggers": False}  # from the option `none`


class TrustedLoader(ConfigLoaderImpl):  # type: ignore[misc]  # Hydra is untyped for mypy
    """Hydra's loader, whose compositions call only the options of hydra/launcher and hydra/sweeper."""

    def load_configuration(self, config_name: Any, overrides: list[str], *arguments: Any, **options: Any) -> DictConfig:
        """Raises UserError if a file or override would call something else, or a file contradicts the command line."""
        config: DictConfig = super().load_configuration(config_name, overrides, *arguments, **options)
        found = [*_problems(config), *precedence.apply(config, overrides)]
        if found:
            raise UserError("\n".join(found))
        return config


def calls(values: Any, place: str = "") -> dict[str, Any]:
    """The keys in plain nested ``values`` with which Hydra calls something, by dotted path."""
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
                    f"allowed: hydra/{part}=OPTION and its keys."
                )
    if settings.callbacks:
        yield f"hydra.callbacks has {', '.join(settings.callbacks)}, but callbacks are not supported; remove it."
    for part in ("job_logging", "hydra_logging"):
        values = OmegaConf.to_container(settings[part], resolve=False)
        if values and values != LOGGING:
            yield f"hydra.{part} is set, but not used here; remove it. Logs are in the run directory."


def _registered(part: str, option: str | None) -> Any:
    try:
        node = ConfigStore.instance().load(f"hydra/{part}/{option}.yaml").node
    except Exception:  # not an option of a plugin
        return {}
    return OmegaConf.to_container(node, resolve=False)
