"""Notes for the user about a guess or a choice made for them. Each is printed once per process."""

from __future__ import annotations

import sys

_said: set[str] = set()


def note(text: str) -> None:
    """Print ``text`` as one line on stderr, unless this process has printed it before."""
    if text not in _said:
        _said.add(text)
        print(f"note: {text}", file=sys.stderr, flush=True)
