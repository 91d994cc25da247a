"""``task=report``: write the files that compare the trials of a sweep from the current content of its directory and its runs.

It starts no worker, needs no MindSpore and makes no run directory. The sweep may be at work meanwhile: only these files of it
are touched.
"""

from __future__ import annotations

from deit.commands.task import Task
from deit.compose.unused_keys import Unused
from deit.config.schema import RunConfig
from deit.config.tasks import ReportTask
from deit.console import console
from deit.lookup.base_run import References
from deit.lookup.sweeps import find
from deit.runs.sweep_directory import SweepDirectory


class Report(Task[ReportTask]):
    is_trial = False

    def refuses(self, named: References) -> list[str]:
        return [f"{named} with task=report: it reports a sweep; give sweep.dir= instead."] if named.given else []

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
        _sweep(config)
        return config

    def dry_run(self, config: RunConfig, typed: list[str]) -> int:
        sweep = _sweep(config)
        console().print(
            f"dry run: would write {sweep.summary_csv.name}, {sweep.summary_md.name} and {sweep.report.name} of {sweep}"
        )
        return 0

    def run(self, config: RunConfig, typed: list[str]) -> int:
        """Write the files and say where they are, and send them to MLflow where the trials went, unless ``tracking=none``.

        The exit code is 0 also where MLflow did not take them: the files are there. Raises UserError, before anything is
        written, where there is no such sweep.
        """
        from deit.sweeps.reporting.report_files import show

        show(_sweep(config), mlflow=config.tracking.backend == "mlflow")
        return 0


def _sweep(config: RunConfig) -> SweepDirectory:
    """The sweep that is meant. Raises UserError where there is none."""
    assert config.sweep.dir is not None  # a rule
    return find(config.sweep.dir, "sweep.dir", config.runs_dir)


TASK = Report()
