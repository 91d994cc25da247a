"""The order of trials."""

from __future__ import annotations

from deit.runs.trial_record import Trial
from deit.sweeps.trial_source import Listed


def test_longest_trials_start_first_then_the_widest() -> None:
    trials = [
        Trial(number, [], {}, "", "", cards, length=length) for number, (cards, length) in enumerate([(1, 1), (4, 2), (8, 2)])
    ]
    assert [trial.number for trial in Listed(trials).waiting()] == [2, 1, 0]
