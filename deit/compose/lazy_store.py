"""The dataclasses that ``conf/`` refers to, stored for Hydra so that only those a composition uses become its nodes.

Hydra itself makes a node of every stored dataclass at once, and copies all of them for each composition: a quarter of the time
that composing took.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

from hydra._internal.core_plugins import structured_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf


class LazyNode(ConfigNode):  # type: ignore[misc]  # Hydra is untyped for mypy
    """An entry of the store, of which Hydra loads copies; its node is made for the first of them.

    A process composes once, as a rule: ``taken`` gives the first caller a node of its own, without a copy.
    """

    is_taken = False

    def __init__(self, name: str, kind: Any, group: str | None, provider: str | None) -> None:
        self.name, self.kind, self.group, self.package, self.provider = name, kind, group, None, provider

    @functools.cached_property
    def node(self) -> Any:
        return OmegaConf.structured(self.kind)

    def taken(self) -> Any:
        """A node that the caller may change."""
        if self.is_taken:
            return copy.deepcopy(self.node)
        self.is_taken = True
        return OmegaConf.structured(self.kind)

    def __copy__(self) -> ConfigNode:
        return ConfigNode(self.name, self.node, self.group, self.package, self.provider)


# Hydra registers its own source under this class name, and keeps an existing one.
class StructuredConfigSource(structured_config_source.StructuredConfigSource):  # type: ignore[misc]
    """``structured://`` in the search path."""

    def load_config(self, config_path: str) -> ConfigResult:
        entry = self.store._load(self._normalize_file_name(config_path))
        if not isinstance(entry, LazyNode):
            return super().load_config(config_path)
        header, place = {"package": entry.package}, f"{self.scheme()}://{self.path}"
        return ConfigResult(provider=entry.provider or self.provider, path=place, config=entry.taken(), header=header)

    def __deepcopy__(self, memo: dict[int, Any]) -> StructuredConfigSource:
        """Itself: a source does not change, and the store copies each node that it loads."""
        return self


def install() -> None:
    """Make Hydra read its store with ``StructuredConfigSource``, in this process."""
    SourcesRegistry.instance().types["structured"] = StructuredConfigSource


def store(name: str, kind: Any, group: str | None = None, provider: str | None = None) -> None:
    """As ``ConfigStore.store``; ``kind`` is a dataclass or a node."""
    known = ConfigStore.instance().repo
    for part in group.split("/") if group else ():
        known = known.setdefault(part, {})
    there = known.get(f"{name}.yaml")
    if not isinstance(there, LazyNode) or there.kind is not kind:  # as in every later composition of a process
        known[f"{name}.yaml"] = LazyNode(f"{name}.yaml", kind, group, provider)
