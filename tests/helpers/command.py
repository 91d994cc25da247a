"""The command under test, and its output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch.py"


def with_last(*arguments: str) -> list[str]:
    """The arguments without those whose key is given again later: a test changes single values of a shared recipe.

    The command refuses a key that is typed with two values.
    """
    keys = [text.partition("=")[0] if "=" in text else None for text in arguments]
    return [text for at, text in enumerate(arguments) if keys[at] is None or keys[at] not in keys[at + 1 :]]


@dataclass
class Outcome:
    code: int
    out: str
    err: str
