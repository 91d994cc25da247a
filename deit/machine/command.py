"""The output of another program of this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path


def output(*command: str, timeout: float = 60, folder: Path | None = None, check: bool = True) -> str | None:
    """What the command writes to stdout; None if there is none, it takes longer than ``timeout`` seconds or fails.

    Without ``check`` also what it has written before it failed.
    """
    pipe, none = subprocess.PIPE, subprocess.DEVNULL
    try:
        ended = subprocess.run(
            command, stdin=none, stdout=pipe, stderr=none, text=True, timeout=timeout, cwd=folder, check=check
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ended.stdout
