"""The result of one check of the doctor: one line of its page."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(str, Enum):
    OK = "ok"  # green
    WARN = "warn"  # yellow: the training runs, but something is missing, slow or unknown
    FAIL = "fail"  # red: the configuration cannot be trained here


@dataclass(frozen=True)
class Finding:
    """``advice`` says what to do; without it the finding is OK."""

    name: str
    level: Level
    text: str
    advice: str = ""


def ok(name: str, text: str) -> Finding:
    return Finding(name, Level.OK, text)


def warn(name: str, text: str, advice: str) -> Finding:
    return Finding(name, Level.WARN, text, advice)


def fail(name: str, text: str, advice: str, *, needed: bool = True) -> Finding:
    """Only a warning if the training that was composed does not need it."""
    return Finding(name, Level.FAIL if needed else Level.WARN, text, advice)
