"""A page in a real Chromium."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: no page was opened")

_FLAGS = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")


def browse(address: str, folder: Path, *, patience: int = 5000) -> tuple[str, str]:
    """The page's elements after its scripts have run, and what they said on the console.

    ``patience`` is in the page's own milliseconds, which pass as fast as its requests are answered. The browser's files are
    in ``folder``.
    """
    assert CHROMIUM is not None
    flags = (*_FLAGS, "disable-component-update", "disable-sync", "enable-logging=stderr", "dump-dom")
    ended = subprocess.run(
        [
            *(CHROMIUM, *(f"--{flag}" for flag in flags), f"--virtual-time-budget={patience}"),
            *(f"--user-data-dir={folder / 'browser'}", address),
        ],
        capture_output=True,
        text=True,
        timeout=180,
    )
    return ended.stdout, "\n".join(line for line in ended.stderr.splitlines() if "CONSOLE" in line)
