"""Which trials a table shows, and how much of their time the cards were used."""

from __future__ import annotations

import pytest

from deit.runs.outcome import FINISHED
from deit.runs.trial_record import RUNNING, WAITING, Attempt, Trial
from deit.sweeps.trial_tables import most_telling, use_of_cards


def trial(number: int, state: str, *attempts: Attempt) -> Trial:
    return Trial(number, [], {}, f"runs/{number}", str(number), 1, state, attempts=list(attempts))


TRIALS = [
    trial(0, FINISHED, Attempt(0, [0], 10)),
    trial(1, FINISHED, Attempt(0, [1], 30)),
    trial(2, WAITING),
    trial(3, RUNNING, Attempt(30, [1])),
    trial(4, WAITING),
]


@pytest.mark.parametrize(
    ("most", "shown"), [(0, [3]), (1, [3]), (2, [1, 3]), (3, [0, 1, 3]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3, 4])]
)
def test_running_trials_come_first_then_recently_ended_then_waiting(most: int, shown: list[int]) -> None:
    assert [one.number for one in most_telling(TRIALS, most)] == shown


def test_use_of_cards_counts_only_the_time_asked_for() -> None:
    assert use_of_cards(TRIALS, 2, 0, 40) == pytest.approx((10 + 30 + 10) / 80)
    assert use_of_cards(TRIALS, 2, 20, 40) == pytest.approx((10 + 10) / 40)  # the rest of trial 1, and trial 3 so far
    assert use_of_cards([trial(0, RUNNING, Attempt(0, [0, 1]))], 2, 0, 10) == pytest.approx(1)
    assert use_of_cards([], 2, 5, 5) == 0
