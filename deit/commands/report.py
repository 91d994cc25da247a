"""``task=report``: write the files that compare the trials of a sweep, from its directory and runs as they are now.

It starts no worker, needs no MindSpore and creates no run directory. The sweep may still be running: only these files change.
"""

from __future__ import annotations

import dataclasses

from deit.commands.task import Task
from deit.compose.unused_keys import Unused
from deit.config.schema import RunConfig
from deit.config.tasks import ReportTask
from deit.console import console
from deit.lookup.sweeps import find
from deit.runs.sweep_directory import SweepDirectory


class Report(Task[ReportTask]):
    is_trial = False
    takes = ()
    instead = "it reports a sweep; give sweep.dir= instead."

    def rules(self, config: RunConfig) -> list[str]:
        if config.sweep.dir is None:
            return ["task=report needs sweep.dir, the directory of a sweep or `last`, but it is null."]
        return []

    def unused(self, found: Unused) -> None:
        found.all_but("sweep", "dir")
        found.all_but("tracking", "backend")
        found.with_task("name", "seed", "weights_dir")
        found.add(found.config.sweep.dir != "last", "unless sweep.dir is last", "runs_dir")

    def prepare(self, config: RunConfig, *, here: bool = True) -> RunConfig:
        return dataclasses.replace(config, sweep=dataclasses.replace(config.sweep, dir=str(_sweep(config))))

    def outline(self, config: RunConfig, *, starts: bool) -> None:
        sweep = SweepDirectory(str(config.sweep.dir))
        console().print(f"would write {sweep.summary_csv.name}, {sweep.summary_md.name} and {sweep.report.name} of {sweep}")

    def run(self, config: RunConfig, typed: list[str]) -> int:
        """Write the files, print their paths, and send them to the MLflow store of the trials, unless ``tracking=none``.

        The exit code is 0 even if MLflow is unreachable: the files exist. Raises UserError, before anything is written, if
        there is no such sweep.
        """
        from deit.sweeps.reporting.report_files import show

        show(_sweep(config), mlflow=config.tracking.backend == "mlflow")
        return 0


def _sweep(config: RunConfig) -> SweepDirectory:
    """The selected sweep. Raises UserError if there is none."""
    assert config.sweep.dir is not None  # checked by a rule
    return find(config.sweep.dir, "sweep.dir", config.runs_dir)


TASK = Report()
