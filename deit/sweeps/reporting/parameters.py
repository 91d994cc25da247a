"""Swept values as numbers or categories, for plot axes and importance."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deit.sweeps.trial_results import REPEATS, Results

DECADE = 10.0  # positive numbers that span this factor get a logarithmic axis


@dataclass
class Parameter:
    """One swept key. ``values`` has an entry for each row: None if the trial does not set the key."""

    name: str
    numeric: bool  # every value is a finite number
    log: bool
    values: list[float | None] | list[str | None]

    @property
    def levels(self) -> list[float | str]:
        """Its different values: numbers by size, categories in order of appearance."""
        found = list(dict.fromkeys(value for value in self.values if value is not None))
        return sorted(found) if self.numeric else found


def parameters(results: Results) -> list[Parameter]:
    """The swept keys in the order of the trials."""
    return [_parameter(name, [row.trial.swept.get(name) for row in results.rows]) for name in results.parameters]


def _parameter(name: str, texts: list[str | None]) -> Parameter:
    numbers = [None if text is None else _number(text) for text in texts]
    known = [number for number in numbers if number is not None]
    # Seeds are labels, not quantities.
    if name in REPEATS or len(known) < sum(text is not None for text in texts):
        return Parameter(name, False, False, texts)
    return Parameter(name, True, min(known) > 0 and max(known) >= DECADE * min(known), numbers)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
