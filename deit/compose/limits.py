"""Choices and limits of single values, from ``option``."""

from __future__ import annotations

import dataclasses
from typing import Any

from deit.compose.keys import limits_text, spoken
from deit.config.schema import RunConfig


def problems(config: RunConfig) -> list[str]:
    """One line for each value out of its limits: the key, what was found, what is allowed."""
    return _problems(config, "")


def _problems(node: Any, prefix: str) -> list[str]:
    found: list[str] = []
    for field in dataclasses.fields(node):
        key, value = prefix + field.name, getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            found += _problems(value, f"{key}.")
            continue
        length = field.metadata.get("length")
        if length is not None and len(value) != length:
            found.append(f"{key} is {value}, but {length} values are expected.")
        wrong = [item for item in (value if isinstance(value, list) else [value]) if not _allowed(item, field.metadata)]
        if wrong:
            found.append(f"{key} is {spoken(value)}; allowed: {limits_text(field.metadata)}.")
    return found


def _allowed(value: Any, metadata: Any) -> bool:
    if value is None:  # its type says whether a key may be null
        return True
    if "choices" in metadata:
        return value in metadata["choices"]
    # Written so that nan, for which every comparison is false, is rejected.
    return bool(
        ("low" not in metadata or value >= metadata["low"])
        and ("high" not in metadata or value <= metadata["high"])
        and ("above" not in metadata or value > metadata["above"])
        and value != float("inf")
    )
