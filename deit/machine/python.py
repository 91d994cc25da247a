"""How another Python process of this package is started: its root and its environment."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # where the package stands


def python_environment() -> dict[str, str]:
    """This process's environment for another Python of ours: the package is found wherever that one works."""
    return os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep)}
