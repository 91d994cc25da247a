"""What a dry run could not check, since only the start itself shows it: each is listed below the recipe."""

from __future__ import annotations

_lines: list[str] = []


def unchecked(text: str) -> None:
    """Note ``text``, once: it names the key and says what remains open."""
    if text not in _lines:
        _lines.append(text)


def lines() -> list[str]:
    """All that was noted, in its order."""
    return list(_lines)
