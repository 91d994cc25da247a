"""A key of the schema: the dataclass field has its type, the metadata everything else."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import field
from typing import Any

MISSING: Any = "???"  # OmegaConf's MISSING, written out so that the workers do not need OmegaConf


def option(
    help: str,
    *,
    unit: str | None = None,
    choices: Collection[Any] | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    length: int | None = None,
    default: Any = MISSING,
) -> Any:
    """A field of the schema.

    ``help`` describes the key, ``unit`` is the unit of its number. ``choices`` lists the allowed values; ``low`` and ``high``
    are inclusive limits, ``above`` is an exclusive one; for a list they apply to each element, and ``length`` is the number
    of elements. ``default`` is for keys that no file of conf/ sets; it keeps older frozen configurations readable.
    """
    metadata = {"help": help, "unit": unit, "choices": choices, "low": low, "high": high, "above": above, "length": length}
    metadata = {k: v for k, v in metadata.items() if v is not None}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)
