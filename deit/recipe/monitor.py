"""Which evaluation is the best (``checkpointing.monitor``), and when to stop without a better one (``schedule.patience``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deit.config.schema import RunConfig
from deit.scores import rank

Entries = Mapping[str, Mapping[str, Any]]  # results of an evaluation by the prefix of their metrics


@dataclass(frozen=True)
class Monitor:
    """``name``: the figure by which raw and EMA weights each have their best; ``prefix``: whose best ``patience`` waits for."""

    prefix: str
    name: str
    patience: int | None

    @property
    def key(self) -> str:
        return f"{self.prefix}/{self.name}"

    def improves(self, entry: Mapping[str, Any], best: Mapping[str, Any] | None) -> bool:
        """Whether ``entry`` is better than the ``best`` so far; None: there is none."""
        return best is None or rank(entry, self.name) > rank(best, self.name)

    def stalled(self, best: Entries, last: Entries) -> int | None:
        """The epochs since the best evaluation, if ``patience`` lets them end the training; else None.

        A function of what a checkpoint contains, so that a resumed run keeps the count.
        """
        if self.patience is None or self.prefix not in best or self.prefix not in last:
            return None
        waited: int = last[self.prefix]["epoch"] - best[self.prefix]["epoch"]
        return waited if waited >= self.patience else None


def monitor_of(config: RunConfig) -> Monitor:
    prefix, _, name = config.checkpointing.monitor.partition("/")
    return Monitor(prefix, name, config.schedule.patience)
