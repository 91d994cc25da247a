"""Sweeps as the launcher and the workers leave them on disk, without training: real run directories, journals and states."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from composition import composed

from deit.config import frozen
from deit.files import write_json
from deit.runs import directory as runs
from deit.runs import status, sweep_directory, trial_record
from deit.runs.directory import RunDirectory
from deit.runs.journal import Journal
from deit.runs.outcome import FAILED, FINISHED
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import Attempt, Trial
from deit.tracking import progress
from deit.tracking import uri as store

BEGAN = 1_790_000_000.0  # Unix seconds
HOSTILE = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>{{script}}"


@cache
def _quickstart() -> dict[str, Any]:
    return frozen.to_dict(composed("experiment=quickstart"))


def make_run(folder: Path, **tracking: Any) -> RunDirectory:
    """A run directory with its configuration; nothing has happened in it yet."""
    values = _quickstart()
    run = runs.create(folder / "runs", "quickstart")
    frozen.save(frozen.from_dict(values | {"tracking": values["tracking"] | {"backend": "none"} | tracking}), run.config)
    return run


def train(run: RunDirectory, best: float, *, epochs: int = 10, steps: int = 4, seed: int = 0) -> None:
    """Journal and status of a training that reaches ``best`` % with a decreasing loss."""
    noise = np.random.default_rng(seed)
    journal, found, entry = Journal(run.journal), 0.0, {}
    for step in range(1, epochs * steps + 1):
        part = step / (epochs * steps)
        journal.metrics(
            step,
            {"train/loss": 2.3 - best / 45 * (1 - math.exp(-3 * part)) + 0.1 * noise.random(), "train/epoch": step / steps},
        )
        if step % steps == 0:
            top1 = best if step == epochs * steps else best * (1 - math.exp(-4 * part)) - noise.random()
            found = max(found, top1)
            entry = {"top1": top1, "top5": 99.0, "loss": 2.3 - top1 / 50 + 0.2 * part, "step": step, "epoch": step // steps}
            journal.metrics(step, {"val/top1": top1, "val/loss": entry["loss"], "best/val_top1": found})
    journal.close()
    results = {"best": {"val": entry | {"top1": found}}, "last": {"val": entry}}
    status.write(run, status.Status(FINISHED, exit_code=0, results=results))


def make_sweep(
    folder: Path,
    trials: Sequence[Trial],
    *,
    objectives: Sequence[str] = ("best/val_top1",),
    directions: Sequence[str] = ("maximize",),
    typed: Sequence[str] = ("-m", "experiment=quickstart"),
    cards: int | None = None,
) -> SweepDirectory:
    sweep = sweep_directory.create(folder / "runs")
    settings = {"cards": cards, "objectives": list(objectives), "directions": list(directions)}
    sweep.write_info(
        {
            "id": sweep.id,
            "typed": list(typed),
            "folder": str(folder),
            "launcher": "cards",
            "launcher_options": {},
            "created": BEGAN,
            "settings": settings,
            "search": None,
            "git": {"commit": "c0ffee0123456789", "dirty": True},
        }
    )
    sweep.write_trials(trials)
    return sweep


def grid(
    folder: Path, *, rates: Sequence[str] = ("1e-4", "5e-4", "1e-3", "5e-3"), seeds: int = 2, cards: int = 2, **training: Any
) -> list[Trial]:
    """Finished trials over learning rate, augmentation and seed, on two cards; the learning rate matters most.

    The last one failed at first and went on.
    """
    found: list[Trial] = []
    values = list(itertools.product(rates, ("none", "deit"), map(str, range(seeds))))
    overrides = [[f"optim.base_lr={r}", f"augment={a}", f"seed={s}", "data=digits"] for r, a, s in values]
    for number, (swept, (rate, augment, seed)) in enumerate(zip(trial_record.swept(overrides), values, strict=True)):
        best = 90 - 20 * abs(math.log10(float(rate)) + 3) + 2 * (augment == "deit") + 0.5 * int(seed)
        run = make_run(folder)
        train(run, best, seed=number, **training)
        began = BEGAN + 60 * (number // cards)
        attempts = [Attempt(began, [number % cards], began + 50 + 5 * int(seed), 0)]
        found.append(Trial(number, overrides[number], swept, str(run.path), f"{number}", 1, FINISHED, None, [best], attempts))
    end = found[-1].attempts[0].began
    found[-1].attempts = [Attempt(end, [0], end + 20, -9, failed=True), Attempt(end + 25, [0], end + 55, 0)]
    return found


def failed(folder: Path, number: int, overrides: list[str], message: str) -> Trial:
    """A trial that ended before its first evaluation."""
    run = make_run(folder)
    swept = dict(text.split("=", 1) for text in overrides)
    status.write(run, status.Status(FAILED, message=message, exit_code=1))
    attempts = [Attempt(BEGAN, [0], BEGAN + 5, 1, failed=True)]
    return Trial(number, overrides, swept, str(run.path), f"{number}", 1, FAILED, message, None, attempts)


def trial(folder: Path, number: int, objectives: list[float] | None, state: str = FINISHED, **swept: str) -> Trial:
    """A trial without attempts; its run directory has no record yet."""
    run = make_run(folder)
    return Trial(number, [f"{k}={v}" for k, v in swept.items()], swept, str(run.path), str(number), 1, state, None, objectives)


def hostile_grid(folder: Path) -> SweepDirectory:
    """A grid of 16 finished trials, and a failed one whose texts are hostile."""
    trials = grid(folder)
    trials.append(failed(folder, len(trials), ["optim.base_lr=1", f"augment={HOSTILE}", "seed=0"], f"nan {HOSTILE}"))
    password = "tracking.uri=postgresql://me:sesame@db/mlflow"
    return make_sweep(folder, trials, typed=["-m", password, f"name={HOSTILE}"], cards=2)


def sent(folder: Path, count: int, uri: str) -> SweepDirectory:
    """A sweep of finished trials whose runs are in the MLflow store ``uri``."""
    trials = []
    for number in range(count):
        run = make_run(folder, backend="mlflow", uri=uri)
        write_json(run.environment, {"working_directory": str(folder)})
        progress.write(run, progress.Progress(store.identity(store.anchored(uri, folder)), "7", f"{number:032x}"))
        trials.append(
            Trial(
                number, [], {"seed": str(number)}, str(run.path), "", 1, FINISHED, None, [float(number)], [Attempt(BEGAN, [0])]
            )
        )
    return make_sweep(folder, trials)
