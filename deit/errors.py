"""Errors that a user can fix: one message, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad configuration, missing files, absent hardware: what the user can fix.

    The message names the key or file, what was found and what is allowed. ``exit_code`` is 2 for bad configuration or usage
    (the default) and 1 if a running task failed on its input.
    """

    def __init__(self, message: str, *, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class BadImage(UserError):
    """An unusable image: ``file`` names it, ``kind`` is one of ``BAD``, ``reason`` says more."""

    def __init__(self, file: str, kind: str, reason: str) -> None:
        super().__init__(f"{file}: not readable as an image ({reason}).", exit_code=1)
        self.file, self.kind, self.reason = file, kind, reason

    def __reduce__(self) -> tuple[type[BadImage], tuple[str, str, str]]:
        return BadImage, (self.file, self.kind, self.reason)  # raised in image processes, so it is pickled


# What can be wrong with an image.
BAD = {
    "empty": "the file is empty",
    "no image": "the content is in no supported format",
    "damaged": "truncated or corrupt",
    "too large": "more pixels than data.max_pixels, or a file larger than such an image needs",
    "unknown range": "values of more than 8 bits whose white is unknown",
    "too long": "hundreds of times as long as wide, so that resizing it would take all memory",
}

# What is done to good images beyond decoding them.
TREATED = {
    "transparent": "transparent pixels, which show data.background (none: the colour below, often black)",
    "16-bit grey": "grey values of 16 bits, scaled to 8",
    "float grey": "grey values as floats, scaled to 8 bits",
}


def nearest(name: str, allowed: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the allowed name closest to ``name``, or the empty string."""
    close = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
