"""The launcher's side of tracking: starts the shipper, waits for it at the end, says where to look."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

from rich.console import Console

from deit.config.schema import TRACKED_TASKS, RunConfig
from deit.launching import processes
from deit.launching.command import ROOT
from deit.runs.directory import RunDirectory, read_json
from deit.tracking.store import run_url, ui_command

STOP_PATIENCE = 5.0  # seconds the shipper has after SIGTERM


class Shipper:
    """The process ``python -m deit.tracking.shipper`` of one run; nothing at all where nothing is tracked."""

    def __init__(self, run: RunDirectory, config: RunConfig) -> None:
        self.run, self.config = run, config
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self.config.tracking.backend == "none" or self.config.task.name not in TRACKED_TASKS:
            return
        if self.config.hardware.node_rank not in (None, 0):
            return
        environment = dict(os.environ)
        environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{environment.get('PYTHONPATH', '')}".rstrip(os.pathsep)
        self.process = processes.start(
            [sys.executable, "-m", "deit.tracking.shipper", str(self.run.path)],
            environment,
            self.run.logs / "shipper.log",
            # It outlives a killed launcher long enough to set the status in MLflow.
            death_signal=None,
        )

    def finish(self, console: Console, hurry: Callable[[], bool]) -> None:
        """Wait until all is sent, and print where it is to be seen.

        At most ``tracking.flush_timeout`` seconds, and only until ``hurry`` says that somebody wants to go.
        """
        if self.process is None:
            return
        uri = self.config.tracking.uri
        assert uri is not None
        limit = self.config.tracking.flush_timeout
        end = time.monotonic() + limit
        with console.status("sending the rest to MLflow (Ctrl-C leaves it)"):
            while self.process.poll() is None and time.monotonic() < end and not hurry():
                time.sleep(0.1)
        if self.process.poll() != 0:
            console.print(
                f"MLflow: not all was sent within tracking.flush_timeout={limit} s; "
                f"the journal in {self.run} is complete. "
                f"See {self.run.logs / 'shipper.log'}. Send it later: python -m deit.tracking.shipper {self.run}",
                highlight=False,
                soft_wrap=True,
            )
            return
        sent_to = read_json(self.run.tracking / "state.json") or {}
        command = ui_command(uri)
        if command:
            console.print(f"compare:  {command}", highlight=False, soft_wrap=True)
        console.print(f"this run: {run_url(uri, sent_to['experiment_id'], sent_to['run_id'])}", highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """End the shipper if it is still at work; it keeps its place and can go on later."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        end = time.monotonic() + STOP_PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
