"""Numbers and names for people."""

from __future__ import annotations

import math

import pytest

from deit.text import byte_size, duration, ended_text, exit_text, label, listed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (3723, "1:02:03"), (90_061, "1 d 1:01:01"), (math.nan, "-"), (math.inf, "-")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_sizes_use_decimal_units() -> None:
    assert [byte_size(size) for size in (999, 1000, 1_449_999, 10**12, 10**16)] == [
        "999 bytes",
        "1.0 kB",
        "1.4 MB",
        "1.0 TB",
        "10000.0 TB",
    ]


def test_exits_are_codes_or_signals() -> None:
    assert exit_text(3) == "exit code 3" and exit_text(-9) == "killed by SIGKILL"
    assert ended_text(3) == "ended with exit code 3" and ended_text(-15) == "was killed by SIGTERM"


def test_long_lists_are_cut_and_counted() -> None:
    assert listed(["a", "b"]) == "a, b" and listed([]) == ""
    assert listed([str(i) for i in range(2005)], 2) == "0, 1 and 2,003 more"


def test_labels_of_trials_are_short() -> None:
    assert label({"optim.base_lr": "0.00123456789", "name": "'1e3'", "seed": "2"}) == "base_lr=0.001235 name=1e3 seed=2"
