"""What distinguishes the trials of a sweep."""

from __future__ import annotations

from deit.runs.trial_record import swept
from deit.text import label


def test_trials_are_distinguished_by_their_case_instead_of_its_overrides() -> None:
    trials = [["a=1", "seed=0", "sweep.case=whole"], ["a=1", "seed=1", "mix=0", "sweep.case=no_mix"]]
    assert swept(trials) == [{"seed": "0", "sweep.case": "whole"}, {"seed": "1", "sweep.case": "no_mix"}]


def test_labels_are_short() -> None:
    values = {"optim.base_lr": "0.0011781448719376517", "seed": "2", "sweep.case": "no_mixup_no_cutmix", "ema.decay": "0.99996"}
    assert label(values) == "base_lr=0.001178 seed=2 case=no_mixup_no_cutmix decay=0.99996"
