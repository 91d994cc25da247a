"""The command under test, and what it answered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "launch.py"


@dataclass
class Outcome:
    code: int
    out: str
    err: str
