"""The YAML files of ``conf/`` and ``multirun_templates/``, read as Hydra reads them, with three differences:

text keys keep their spelling (``text_keys``); a file that is not UTF-8 is rejected, with the command that converts it; and a
setting below ``hydra:`` that has no effect here is rejected.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader

from deit.compose import groups, text_keys
from deit.config.safe_yaml import SAME_IN_LIBYAML
from deit.errors import UserError
from deit.installation import program

# Hydra's settings that have an effect here: it composes and sweeps, but runs and writes nothing.
USED_OF_HYDRA = ("mode", "launcher", "sweeper", "searchpath")
LOOKED_AT = ("callbacks", "job_logging", "hydra_logging")  # checked by ``hydra_guard``
_ROOTS = ("config", "sweeping")  # conf/config.yaml disables Hydra's logging and folders


# Hydra registers its own source under this class name, and keeps an existing one.
class FileConfigSource(file_config_source.FileConfigSource):  # type: ignore[misc]  # Hydra is untyped for mypy
    """``file://`` in the search path."""

    def is_config(self, config_path: str) -> bool:
        """One's own folder has options; the root is always ours."""
        if "/" not in config_path and Path(self.path) == groups.own_folder():
            return False
        return bool(super().is_config(config_path))

    def load_config(self, config_path: str) -> ConfigResult:
        """Raises UserError if the file is not UTF-8, or sets something that has no effect."""
        path = (Path(self.path) / self._normalize_file_name(config_path)).resolve()
        if not path.exists():
            raise ConfigLoadError(f"Config not found : {path}")
        text = groups.read(path)
        header = ConfigSource._get_header_dict(text[:512])
        group = ".".join(config_path.split("/")[:-1])
        package = {None: group, "_group_": group, "_global_": ""}.get(header.get("package"), header.get("package") or "")
        values = parse(text, path, package)
        if config_path.removesuffix(".yaml") not in _ROOTS:
            _check_hydra(values, path, package)
        return ConfigResult(
            config=OmegaConf.create({} if values is None else values, flags={"allow_objects": False}),
            path=f"{self.scheme()}://{self.path}",
            provider=self.provider,
            header=header,
        )


def install() -> None:
    """Make Hydra read its files with ``FileConfigSource``, in this process."""
    SourcesRegistry.instance().types["file"] = FileConfigSource


@functools.lru_cache(maxsize=1000)  # the trials of a sweep have most of their files in common
def parse(text: str, path: Path, package: str) -> Any:
    """Plain values of a file that writes at ``package``, with its ``defaults``: read-only. Raises yaml.YAMLError."""
    python, libyaml = _loaders()
    if libyaml is not None and SAME_IN_LIBYAML.fullmatch(text):
        try:
            return _values(libyaml(text), package)
        except yaml.YAMLError:
            pass  # the messages are those of PyYAML
    loader = python(text)
    loader.name = str(path)  # for error messages
    return _values(loader, package)


def _values(loader: Any, package: str) -> Any:
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        text_keys.retag(node, package)
        return loader.construct_document(node)
    finally:
        loader.dispose()


@functools.cache
def _loaders() -> tuple[Any, Any]:
    """The class of OmegaConf's loader, and the same with the parser of libyaml, where PyYAML has it: seven times as fast."""
    python = get_yaml_loader()
    if not yaml.__with_libyaml__:
        return python, None

    from yaml.cyaml import CParser  # type: ignore[attr-defined]  # its stubs lack it

    class LibyamlLoader(CParser, python):  # type: ignore[misc, valid-type]
        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            yaml.constructor.SafeConstructor.__init__(self)
            yaml.resolver.Resolver.__init__(self)

    return python, LibyamlLoader


def _check_hydra(values: Any, path: Path, package: str) -> None:
    found = list(_unused(values, package))
    if found:
        raise UserError("\n".join(f"{groups.shown(path)}: {key} has no effect here; remove it. {why(key)}" for key in found))


def _unused(values: Any, package: str) -> Iterator[str]:
    if not isinstance(values, dict):
        return
    for entry in values.get("defaults") or []:
        for name in entry if isinstance(entry, dict) else ():
            group = str(name).split()[-1].lstrip("/")
            if group.startswith("hydra/") and group.split("/")[1] not in (*USED_OF_HYDRA, *LOOKED_AT):
                yield group
    for part in [name for name in package.split(".") if name][::-1]:
        values = {part: values}
    settings = values.get("hydra")
    if isinstance(settings, dict):
        # ``hydra_guard`` has better messages for callbacks and logging.
        yield from (f"hydra.{name}" for name in settings if name not in (*USED_OF_HYDRA, *LOOKED_AT))


def why(key: str) -> str:
    """What replaces an unused setting of Hydra."""
    if key.startswith(("hydra.run", "hydra.sweep", "hydra.output_subdir", "hydra.job.chdir")):
        return "Hydra makes no folders; runs are written into runs_dir."
    if key.startswith("hydra.job.env"):
        return f"Set environment variables in the shell: NAME=VALUE {program()} ..."
    if key.startswith("hydra.job.name"):
        return "The name of a run is name=NAME."
    if key.startswith("hydra.verbose"):
        return "The log of a run is in its logs folder."
    return f"Hydra settings that are used: {', '.join(f'hydra.{name}' for name in USED_OF_HYDRA)}."
