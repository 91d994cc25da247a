"""Adds ``multirun_templates/`` to Hydra's search path, so that ``sweep=NAME`` finds its file, and one's own folder."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.plugins.search_path_plugin import SearchPathPlugin

from deit.compose import groups


class Templates(SearchPathPlugin):
    """Called by Hydra at each start."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="deit", path=f"file://{groups.TEMPLATES}")
        if (own := groups.own_folder()) is not None:
            # Before conf/, so that its options replace those of the same name; Hydra itself adds it after conf/.
            search_path.prepend(provider="command-line", path=f"file://{own}", anchor=SearchPathQuery(provider="main"))
