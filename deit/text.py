"""Numbers and values for people: the same quantity looks the same everywhere."""

from __future__ import annotations

import math
import re
import shlex
import signal
from collections.abc import Mapping, Sequence

DIGITS = 5  # significant digits of the largest number in a column


def duration(seconds: float) -> str:
    """``1:02:03``; days and hours only if there are any, ``-`` if not finite."""
    if not math.isfinite(seconds):
        return "-"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
    return f"{days} d {clock}" if days else clock


def byte_size(size: int) -> str:
    """``1.4 GB``; decimal units, as disk vendors and ``df -H`` use."""
    amount, unit = float(size), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"


def exit_text(code: int) -> str:
    """``exit code 3`` of a process, or ``killed by SIGKILL`` if ``code`` is the negative number of a signal."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def ended_text(code: int) -> str:
    """``ended with exit code 3``, ``was killed by SIGKILL``."""
    return f"{'was' if code < 0 else 'ended with'} {exit_text(code)}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are: ``cat, dog and 3 more``."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def line_to_type(key: str, value: object) -> str:
    """``key=value`` as typed in a shell, so that the text key ``key`` gets exactly these letters.

    Outside its own quotes, which are inside those of the shell, Hydra reads lists, numbers and comments, and joins blanks.
    """
    text = str(value)
    if re.fullmatch(r"[A-Za-z0-9_./:@+-]+", text) and text.lower() != "null":
        return f"{key}={text}"
    quote = '"' if "'" in text else "'"
    # A backslash is literal, except before a quote.
    escaped = re.sub(rf"(\\*)({quote}|\Z)", lambda found: found[1] * 2 + (f"\\{quote}" if found[2] else ""), text)
    whole = f"{key}={quote}{escaped}{quote}"
    if not re.search(r'[$`!\\"]', whole):
        return f'"{whole}"'
    return f"'{whole}'" if "'" not in whole else shlex.quote(whole)


def label(values: Mapping[str, str]) -> str:
    """``base_lr=0.001 seed=2`` for swept values: keys without their group, long numbers with four digits."""
    return " ".join(f"{key.rpartition('.')[2]}={_short(value)}" for key, value in values.items())


def column(values: Sequence[float | None], none: str = "-", of: Sequence[float | None] | None = None) -> list[str]:
    """Numbers of a column with equal decimals, so that they are easy to compare.

    The largest gets ``DIGITS`` significant digits; a column whose smallest needs more is written in powers of ten. ``none``
    replaces a missing or infinite value; ``of`` are the numbers that determine the format, if not all.
    """
    sizes, deciding = (
        [abs(value) for value in some if value is not None and math.isfinite(value)]
        for some in (values, values if of is None else of)
    )
    whole = all(size == int(size) for size in sizes)
    largest, smallest = max(deciding, default=0.0), min((size for size in deciding if size), default=0.0)
    if whole and largest < 10**DIGITS:
        form = ".0f"
    elif largest >= 10**DIGITS or smallest < 1e-3:
        form = f".{DIGITS - 2}e"
    else:
        form = f".{max(0, DIGITS - len(str(int(largest))))}f"
    return [none if value is None or not math.isfinite(value) else f"{value:{form}}" for value in values]


def _short(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":  # text that could be read as a number
        return value[1:-1]
    return f"{float(value):.4g}" if len(value) > 8 and re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", value) else value
