"""A key of the schema: its type stands in a dataclass, all else that is known of it in the field's metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

MISSING: Any = "???"  # what OmegaConf calls MISSING; spelled out so that the workers need no OmegaConf


def option(
    help: str,
    *,
    unit: str | None = None,
    choices: Sequence[Any] | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    length: int | None = None,
    default: Any = MISSING,
) -> Any:
    """A field of the schema.

    ``help`` says what the key does, ``unit`` what its number counts. ``choices`` lists the allowed
    values; ``low`` and ``high`` are inclusive limits, ``above`` an exclusive one; for a list they hold
    for each element, of which there are ``length``. ``default`` is for keys that no file of conf/ gives: frozen
    configurations from before such a key was there can still be read.
    """
    metadata = {"help": help, "unit": unit, "choices": choices, "low": low, "high": high, "above": above, "length": length}
    metadata = {k: v for k, v in metadata.items() if v is not None}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)
