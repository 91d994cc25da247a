"""Choices and limits of single values, from ``option``."""

from __future__ import annotations

import dataclasses
from typing import Any

from deit.compose.keys import limits_text, spoken


def problems(node: Any, prefix: str = "") -> list[str]:
    """One line for each value of a configuration, or of its part at ``prefix``, that is out of its limits.

    It names the key, what was found, and what is allowed.
    """
    found: list[str] = []
    for field in dataclasses.fields(node):
        key, value = prefix + field.name, getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            found += problems(value, f"{key}.")
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
