"""How well the card pool of a sweep uses the cards: 1,000 trials of mixed sizes in simulated time.

    python benchmarks/pool_simulation.py

The pool and the order of trials are the real ones (``deit.sweeps.executors.pool``, ``deit.sweeps.trial_source``); the
trials are random: 1, 2, 4 or 8 cards, lengths log-normal around an hour, estimated with an error of a fifth; a tenth of
them fails early and is retried. Compared with a bound that no schedule can beat: all card-hours spread evenly over all
cards, or the longest trial.

Also in the same run: the widest trials first, the order given (both also fill gaps with what fits), and one trial
after another, as Hydra's own launcher does.
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from deit.runs.outcome import FINISHED
from deit.runs.trial_record import RUNNING, WAITING, Trial
from deit.sweeps.executors.pool import CardPool
from deit.sweeps.trial_source import Listed

TRIALS = 1000
MIXES = {"1": (1,), "1 2": (1, 2), "1 2 4 8": (1, 2, 4, 8), "4 8": (4, 8), "3 5": (3, 5)}
RETRIED = 0.2  # of its length is lost with a trial that fails
Order = Callable[[Sequence[Trial]], Sequence[Trial]]


def main() -> None:
    table = Table(title=f"{TRIALS} trials, simulated; hours as a ratio to the bound", title_justify="left")
    for name in ("cards", "sizes", "use of cards", "pool", "widest first", "as given", "one by one", "s of computing"):
        table.add_column(name, justify="right")
    for cards in (8, 64, 1024):
        for label, sizes in MIXES.items():
            draw = random.Random(f"{cards} {label}")
            trials = [Trial(number, [], {}, "", "", draw.choice(sizes)) for number in range(TRIALS)]
            hours = [draw.lognormvariate(0.0, 0.6) for _ in trials]
            fails = {trial.number for trial in trials if draw.random() < 0.1}
            for trial in trials:
                trial.length = hours[trial.number] * draw.lognormvariate(0.0, 0.2)
            whole = [hour * (1 + RETRIED * (number in fails)) for number, hour in enumerate(hours)]
            work = sum(whole[trial.number] * trial.cards for trial in trials)
            bound = max(work / cards, *whole)
            began = time.perf_counter()
            pooled = simulate(trials, cards, hours, fails, lambda waiting: Listed(list(waiting)).waiting())
            took = time.perf_counter() - began
            widest = simulate(trials, cards, hours, fails, lambda waiting: sorted(waiting, key=lambda t: (-t.cards, t.number)))
            given = simulate(trials, cards, hours, fails, lambda waiting: sorted(waiting, key=lambda t: t.number))
            ratios = [f"{found / bound:.3f}" for found in (pooled, widest, given)]
            use = f"{100 * work / cards / pooled:.1f} %"
            table.add_row(f"{cards:,}", label, use, *ratios, f"{sum(whole) / bound:.1f}", f"{took:.1f}")
    Console(width=128).print(table)


def simulate(trials: Sequence[Trial], cards: int, hours: Sequence[float], fails: set[int], order: Order) -> float:
    """Hours until the last trial has ended; those of ``fails`` lose a part of their time once, and wait again."""
    for trial in trials:
        trial.state = WAITING
    pool = CardPool(range(cards))
    failed: set[int] = set()
    running: list[tuple[float, int, list[int]]] = []
    now = 0.0
    while True:
        for trial in order([trial for trial in trials if trial.state == WAITING]):
            if not pool.free:
                break
            got = pool.take(trial.cards)
            if got is None:
                continue
            trial.state = RUNNING
            lost = trial.number in fails and trial.number not in failed
            heapq.heappush(running, (now + hours[trial.number] * (RETRIED if lost else 1.0), trial.number, got))
        if not running:
            return now
        now, number, got = heapq.heappop(running)
        pool.give_back(got)
        trials[number].state = FINISHED if number not in fails or number in failed else WAITING
        failed.add(number)


if __name__ == "__main__":
    main()
