"""Adds ``multirun_templates/`` to Hydra's search path, so that ``sweep=NAME`` finds its file."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from deit.compose.groups import TEMPLATES


class Templates(SearchPathPlugin):
    """Called by Hydra at each start."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="deit", path=f"file://{TEMPLATES}")
