"""A sweep from its checked trials to its exit (directories, the loop, summaries), and resuming one."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from deit.config import frozen
from deit.config.schema import RunConfig, SweepConfig
from deit.console import console, harmless, waiting
from deit.errors import UserError
from deit.installation import program, words
from deit.lookup import sweeps
from deit.machine import environment
from deit.recipe.plan import expected_length
from deit.runs import status, sweep_directory
from deit.runs.create import create as create_run
from deit.runs.lock import held
from deit.runs.outcome import FAILED, FINISHED, INTERRUPTED, signal_code
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import DONE, WAITING, Trial, identity, swept
from deit.secrets import redact
from deit.storage.uploader_process import SweepUploader
from deit.sweeps import trial_results
from deit.sweeps.compose import Draft
from deit.sweeps.executors.base import Executor
from deit.sweeps.executors.choose import build
from deit.sweeps.reporting.report_files import show as show_report
from deit.sweeps.trial_source import Listed, Source
from deit.sweeps.trial_tables import overview, ranking, use_of_cards
from deit.sweeps.work import Work
from deit.text import duration, line_to_type

SETTLE = 120.0  # seconds for the trials of a killed sweep to write and copy their checkpoints
RESUMING = ("sweep.resume", "sweep.retries", "sweep.retry_failed", "sweep.trial_timeout", "sweep.cards", "runs_dir")


def open_new(
    first: Draft, settings: SweepConfig, launcher: str, options: dict[str, Any], search: dict[str, Any] | None
) -> SweepDirectory:
    """Create the directory of a new sweep, next to the runs of its first trial.

    ``launcher`` is the option of hydra/launcher, with its ``options``; ``search`` describes a search, if it is one.
    """
    sweep = sweep_directory.create(first.config.runs_dir)
    sweep.write_info(
        {
            "id": sweep.id,
            "created": time.time(),
            "program": words(),
            "typed": [redact(text) for text in sys.argv[1:]],
            "folder": str(Path.cwd()),
            "launcher": launcher,
            "launcher_options": options,
            "search": search,
            "settings": dataclasses.asdict(settings),
            "runs_dir": first.config.runs_dir,
            "upload_timeout": first.config.checkpointing.upload_timeout,
            "git": environment.git_state(),
        }
    )
    return sweep


def make_trials(sweep: SweepDirectory, drafts: Sequence[Draft]) -> list[Trial]:
    """Freeze every trial into its own run directory."""
    apart = swept([draft.overrides for draft in drafts])
    return [make_trial(sweep, draft, values) for draft, values in zip(drafts, apart, strict=True)]


def make_trial(sweep: SweepDirectory, draft: Draft, values: dict[str, str]) -> Trial:
    """Freeze one trial; ``values`` distinguish it from the others."""
    mark = {"id": sweep.id, "trial": draft.number, "overrides": draft.overrides, "swept": values}
    typed = [redact(text) for text in sys.argv[1:]]
    origin = {"program": words(), "command": [*words(), *typed], "sweep": mark}
    run = create_run(draft.config, draft.overrides, origin, draft.unused)
    return Trial(
        draft.number,
        draft.overrides,
        values,
        str(run.path),
        identity(draft.config),
        draft.config.hardware.cards * draft.config.hardware.nodes,
        length=expected_length(draft.config),
    )


def show(drafts: Sequence[Draft]) -> None:
    """The trials as a table."""
    labels = [" ".join(f"{key}={value}" for key, value in values.items()) for values in swept([d.overrides for d in drafts])]
    console().print(overview([(draft.number, label, draft.config) for draft, label in zip(drafts, labels, strict=True)]))


def start(sweep: SweepDirectory, source: Source, executor: Executor, settings: SweepConfig) -> None:
    """Run the trials of ``source`` and summarise. Raises UserError: exit code 1 if any failed, 130 or 143 after a signal."""
    uploader = SweepUploader(sweep)
    try:
        with sweep.locked():
            sweep.write_trials(source.trials)
            executor.begin(sweep)
            began = time.time()
            uploader.start()
            received = Work(sweep, source, executor, settings, beside=uploader).run()
        _conclude(sweep, executor, began, received)
    finally:
        uploader.finish()


def resume(config: RunConfig, given: Sequence[Override]) -> list[str] | None:
    """Resume the sweep ``config.sweep.resume``; ``given`` are the typed overrides.

    Typed settings of the sweep replace its own. Returns None when all is done; for a search, whose trials are not all known,
    the arguments to compose it again. Raises UserError as ``start`` does, and for overrides that are not allowed.
    """
    assert config.sweep.resume is not None
    keys = [override.key_or_group for override in given]
    wrong = [key for key in keys if key not in RESUMING]
    if wrong:
        raise UserError(
            f"{wrong[0]} is not allowed with sweep.resume=, whose trials already have their complete configuration. Allowed: "
            f"{', '.join(RESUMING[1:])}."
        )
    if "runs_dir" in keys and config.sweep.resume != "last":
        raise UserError("runs_dir has no effect unless sweep.resume is last.")
    sweep = sweeps.find(config.sweep.resume, "sweep.resume", config.runs_dir)
    info = sweep.read_info()
    if info["search"] is not None:
        os.chdir(folder_of(info))
        kept = [text for text in info["typed"] if not text.startswith(("sweep.resume=", "sweep.retry_failed="))]
        ours = [str(override.input_line) for override in given if override.key_or_group not in ("sweep.resume", "runs_dir")]
        return [*kept, *ours, f"sweep.resume={sweep.path}"]
    known = {field.name for field in dataclasses.fields(SweepConfig)}
    values = {name: value for name, value in info["settings"].items() if name in known}
    typed = [key.removeprefix("sweep.") for key in keys if key != "runs_dir"]
    settings = SweepConfig(**values | {name: getattr(config.sweep, name) for name in typed})
    executor = build(info["launcher"], info["launcher_options"], settings, folder_of(info))
    trials = again(sweep, settings, executor)
    waiting = [trial for trial in trials if trial.state == WAITING]
    for trial in waiting:
        executor.check(frozen.load(trial.directory.config))
    counts = Counter(trial.state for trial in trials)
    said = ", ".join(f"{counts[state]} {state}" for state in counts)
    console().print(f"sweep {sweep}: {len(trials)} trials, {said}")
    start(sweep, Listed(trials), executor, settings)
    return None


def folder_of(info: dict[str, Any]) -> Path:
    """The working directory of a resumed sweep: that of its start, or on another machine that of the command."""
    begun = Path(info["folder"])
    # Not Path.is_dir: it raises where it is below the home of another user.
    return begun if os.access(begun, os.R_OK | os.X_OK) else Path.cwd()


def again(sweep: SweepDirectory, settings: SweepConfig, executor: Executor) -> list[Trial]:
    """The trials of a resumed sweep: finished ones stay, the rest waits, also failed ones with ``retry_failed``.

    Waits for the trials of a killed sweep, which write a checkpoint and end by themselves. Cluster jobs continue. Raises
    UserError if a frozen configuration has changed, or a checkpoint is not on this machine.
    """
    _check_whole(sweep)
    with sweep.locked():
        trials = sweep.read_trials()
        for trial in trials:
            if identity(frozen.load(trial.directory.config)) != trial.identity:
                raise UserError(
                    f"{trial.directory.config}: has changed since the sweep started, so its results would not be those of "
                    f"{trial}. Restore it, or start a new sweep."
                )
        executor.begin(sweep)
        going = [trial for trial in trials if trial.state not in DONE and executor.takes_up(trial)]
        patience = SETTLE + (0 if sweep.address is None else sweep.read_info().get("upload_timeout", 0))
        _wait_for_ends([trial for trial in trials if trial not in going], patience)
        for trial in trials:
            if trial in going:
                trial.state = WAITING  # its attempt and its status stay open
                continue
            found = status.read(trial.directory)
            last = trial.attempts[-1] if trial.attempts else None  # a kill may have come between a start and its record
            if last is not None and last.ended is None:
                last.ended = max(last.began, found.updated)  # it may not have written its own status yet
            if trial.state not in DONE and found.state == FINISHED:
                trial.state, trial.message = FINISHED, None
                if last is not None:
                    last.exit_code = 0
                trial.read_objectives(settings.objectives)
            elif trial.state not in (*DONE, FAILED) or (trial.state == FAILED and settings.retry_failed):
                trial.wait_again()
        sweep.write_trials(trials)
    return trials


def _check_whole(sweep: SweepDirectory) -> None:
    for trial in sweep.read_trials():
        if trial.state not in DONE and trial.directory.partial.exists():
            raise UserError(
                f"sweep.resume={sweep}: this sweep was fetched for a report, without the checkpoints of {trial}; give its "
                f"address, sweep.resume={sweep.address}."
            )


def _wait_for_ends(trials: Sequence[Trial], patience: float) -> None:
    end = time.monotonic() + patience
    with waiting("waiting for trials of the earlier launch to write their checkpoints and end"):
        while alive := [trial for trial in trials if trial.state not in DONE and held(trial.directory)]:
            if time.monotonic() > end:
                raise UserError(f"{alive[0]}: another launch still works on its run {alive[0].directory}.")
            time.sleep(0.5)


def _conclude(sweep: SweepDirectory, executor: Executor, began: float, received: int | None) -> None:
    trials = sweep.read_trials()
    on = f"{program()} {line_to_type('sweep.resume', sweep)}"
    if received is not None:
        raise UserError(f"The sweep was stopped. Resume it with:  {on}", exit_code=signal_code(received))
    _sum_up(sweep, trials, executor, began)
    unfinished = [trial for trial in trials if trial.state in (FAILED, INTERRUPTED)]
    if unfinished:
        counts = Counter(trial.state for trial in unfinished)
        ways = {FAILED: "failed", INTERRUPTED: "were interrupted"}
        lines = [" and ".join(f"{count} of {len(trials)} trials {ways[state]}" for state, count in counts.items()) + ":"]
        lines += [f"{trial}: {(trial.message or '').rstrip('.')}; see {trial.directory}" for trial in unfinished]
        lines.append(f"Retry them with:  {on}{' sweep.retry_failed=true' if counts[FAILED] else ''}")
        raise UserError("\n".join(lines), exit_code=1)


def _sum_up(sweep: SweepDirectory, trials: Sequence[Trial], executor: Executor, began: float) -> None:
    """Print the best trials, the usage of the cards and the links, and write the summary files."""
    now = time.time()
    with harmless("the results of the sweep"):
        found = trial_results.read(sweep)
        console().print(ranking(found))
        if verdict := found.verdict():
            console().print(verdict)
    used = ""
    if executor.size:
        used = f"; cards in use {100 * use_of_cards(trials, executor.size, began, now):.0f} % of the time"
    console().print(f"{len(trials)} trials in {duration(now - began)}{used}")
    try:
        show_report(sweep, mlflow=True)
    except Exception as error:  # an error in the page does not make the trials failed
        console().print(f"no report: {type(error).__name__}: {error}")
