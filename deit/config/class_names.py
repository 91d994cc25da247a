"""Class names, and how those of weights and data are compared.

A label is an index into a list of names. The same names in another order need a translation; other names mean another
task. Names are compared as NFC, since macOS stores file names as NFD.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from deit.text import listed


def normal(name: str) -> str:
    """The normal form in which a name is compared."""
    return unicodedata.normalize("NFC", name)


def positions(wanted: Sequence[str], known: Sequence[str]) -> list[int] | None:
    """The index of each ``wanted`` name in ``known``; None if the two are not the same set of names."""
    where = {normal(name): position for position, name in enumerate(known)}
    found = [where.get(normal(name)) for name in wanted]
    if len(wanted) != len(known) or None in found or len(set(found)) != len(known):
        return None
    return [position for position in found if position is not None]


def same(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether two lists have the same names in the same order."""
    return list(map(normal, first)) == list(map(normal, second))


def difference(first: Sequence[str], second: Sequence[str], labels: tuple[str, str] = ("the first", "the second")) -> str:
    """For messages: the names that only one list has, or where the orders differ; empty if they are equal."""
    if same(first, second):
        return ""
    only = [
        sorted({normal(name) for name in one} - {normal(name) for name in other})
        for one, other in ((first, second), (second, first))
    ]
    if not any(only) and len(first) == len(second):
        number = next(i for i, (a, b) in enumerate(zip(first, second, strict=True)) if normal(a) != normal(b))
        return (
            f"the same names in another order, label {number} is {first[number]} in {labels[0]} and {second[number]} "
            f"in {labels[1]}"
        )
    counts = [f"{len(first)} and {len(second)} classes"] if len(first) != len(second) else []
    return "; ".join(
        [*counts, *(f"only {label} has {listed(names)}" for label, names in zip(labels, only, strict=True) if names)]
    )


def natural(names: Sequence[str]) -> list[str]:
    """The names in timm's order (``natural_key``): numbers in them by their value, letters without regard to case."""

    def key(name: str) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", name.lower())
        return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]

    return sorted(names, key=key)
