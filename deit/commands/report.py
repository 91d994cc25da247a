"""``task=report``: write the files that compare the trials of a sweep from the current content of its directory and its runs.

It starts no worker, needs no MindSpore and makes no run directory. The sweep may be at work meanwhile: nothing of it is
touched but these files.
"""

from __future__ import annotations

from deit.config.schema import RunConfig
from deit.lookup.sweeps import find
from deit.runs.sweep_directory import SweepDirectory
from deit.sweeps.reporting.report_files import show


def report(config: RunConfig) -> int:
    """Write the files and say where they are, and send them to MLflow where the trials went, unless ``tracking=none``.

    With ``dry_run`` only say what would be written. Returns the exit code, 0, also where MLflow did not take them: the files
    are there. Raises UserError, before anything is written, where there is no such sweep.
    """
    sweep = check(config)
    if config.dry_run:
        print(f"dry run: would write {sweep.summary_csv.name}, {sweep.summary_md.name} and {sweep.report.name} of {sweep}")
        return 0
    show(sweep, mlflow=config.tracking.backend == "mlflow")
    return 0


def check(config: RunConfig) -> SweepDirectory:
    """The sweep that is meant. Raises UserError where there is none."""
    assert config.sweep.dir is not None
    return find(config.sweep.dir, "sweep.dir", config.runs_dir)
