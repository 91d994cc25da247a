"""How much each swept key matters for the first objective.

A random forest (Breiman, 2001) learns the objective from the swept values of the finished trials. The importance of a key is
how much worse the forest predicts when the values of that key alone are shuffled among the trials, as a share of all keys.
Numbers that span a decade are taken as logarithms; the category columns of a key are shuffled together. Instead of shares a
reason is given unless

- at least two keys differ among the finished trials,
- there are at least ``LEAST_TRIALS`` finished trials, and ``TRIALS_PER_KEY`` per key, and
- the forest predicts out-of-bag trials better than their mean does (R2 above 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deit.sweeps.reporting.parameters import Parameter, parameters
from deit.sweeps.trial_results import Results

LEAST_TRIALS = 8
TRIALS_PER_KEY = 2
_TREES, _SHUFFLES = 300, 20
_LEAF = 2  # trials; with 1 the forest would fit noise, with more it would miss the steps of a small grid


@dataclass
class Importance:
    """``shares`` sum to 1, the largest first; empty if ``reason`` says why there are none."""

    shares: dict[str, float]
    reason: str | None = None
    r2: float | None = None  # out of bag: 1 for exact predictions, 0 if no better than the mean
    trials: int = 0


def importance(results: Results) -> Importance:
    """Shares for the swept keys; deterministic."""
    chosen = [index for index, row in enumerate(results.rows) if row.rank is not None]
    keys = [(parameter, _columns(parameter, chosen)) for parameter in parameters(results)]
    keys = [(parameter, columns) for parameter, columns in keys if columns.shape[1]]
    needed = max(LEAST_TRIALS, TRIALS_PER_KEY * len(keys))
    if len(keys) < 2:
        return Importance({}, "fewer than two keys differ among the finished trials")
    if len(chosen) < needed:
        return Importance({}, f"{len(keys)} keys need at least {needed} finished trials, there are {len(chosen)}")
    target = np.array([results.rows[index].objectives[0] for index in chosen], float)
    if np.ptp(target) == 0:
        return Importance({}, f"{results.objectives[0]} is the same in all finished trials")

    from sklearn.ensemble import RandomForestRegressor  # late: takes a second

    inputs = np.concatenate([columns for _, columns in keys], axis=1)
    forest = RandomForestRegressor(_TREES, min_samples_leaf=_LEAF, oob_score=True, random_state=0).fit(inputs, target)
    r2 = float(forest.oob_score_)
    if r2 <= 0:
        reason = f"a forest predicts unseen trials no better than their mean (R2 out of bag {r2:.2f}), so shares would be noise"
        return Importance({}, reason, r2, len(chosen))
    generator = np.random.default_rng(0)
    before = np.mean((forest.predict(inputs) - target) ** 2)
    harm, start = {}, 0
    for parameter, columns in keys:
        own = slice(start, start + columns.shape[1])
        shuffled = np.repeat(inputs[None], _SHUFFLES, axis=0)
        for copy in shuffled:
            copy[:, own] = columns[generator.permutation(len(columns))]
        predicted = forest.predict(shuffled.reshape(-1, inputs.shape[1])).reshape(_SHUFFLES, -1)
        harm[parameter.name] = max(0.0, float(np.mean((predicted - target) ** 2) - before))
        start = own.stop
    total = sum(harm.values()) or 1.0
    shares = {name: harm[name] / total for name in sorted(harm, key=lambda name: -harm[name])}
    return Importance(shares, None, r2, len(chosen))


def _columns(parameter: Parameter, chosen: list[int]) -> NDArray[np.float64]:
    """The key's values in the chosen trials as numeric columns; empty if they do not differ."""
    values = [parameter.values[index] for index in chosen]
    if len(set(values)) < 2:
        return np.empty((len(values), 0))
    if not parameter.numeric:
        levels = list(dict.fromkeys(values))
        return np.array([[float(value == level) for level in levels] for value in values])
    numbers = np.array([np.nan if value is None else value for value in values], float)  # the forest handles nan
    return (np.log(numbers) if parameter.log else numbers)[:, None]
