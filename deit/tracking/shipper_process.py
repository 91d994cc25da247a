"""The launcher's side of tracking: starts the shipper, keeps it alive, waits for it at the end, prints the address."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from deit.config.addresses import runs_copy
from deit.config.schema import RunConfig
from deit.console import console, waiting
from deit.installation import program
from deit.machine.companion import Companion
from deit.runs.directory import RunDirectory
from deit.text import line_to_type
from deit.tracking import progress
from deit.tracking.sender import own_uri
from deit.tracking.uri import identity, run_url, ui_command

LOOK = 2.0  # seconds between two checks of the shipper


class Shipper(Companion):
    """The process ``python -m deit.tracking.shipper`` of one run; nothing if the run is not tracked."""

    name, module = "shipper", "deit.tracking.shipper"

    def __init__(self, run: RunDirectory, config: RunConfig) -> None:
        super().__init__(run)
        self.run, self.config = run, config
        self._in_trouble, self._troubled = False, 0  # checks in a row that found trouble
        self._look = 0.0

    def start(self) -> None:
        """Start the shipper, unless it is running, and the first time the search for killed runs."""
        if self.process is not None and self.process.poll() is None:
            return
        if self.config.hardware.node_rank not in (None, 0):
            return
        if not self._started:
            # Not waited for: it concerns other runs.
            self._spawn("deit.tracking.stale", Path(runs_copy(self.config.runs_dir)).absolute())
        self._started = time.monotonic()
        if self.config.tracking.backend == "none" or not self.config.task.tracked:
            return
        self._begin()

    def news(self) -> str | None:
        """A line when MLflow stops or resumes accepting data; None if nothing has changed.

        A single failed attempt is not reported: MLflow may be busy.
        """
        if self.process is None or time.monotonic() < self._look:
            return None
        self._look = time.monotonic() + LOOK
        trouble = self._progress().trouble
        self._troubled = self._troubled + 1 if trouble else 0
        if (self._troubled > 1) is self._in_trouble:
            return None
        self._in_trouble = trouble is not None
        if trouble is None:
            return "MLflow accepts metrics again; nothing is lost"
        return f"MLflow accepts no metrics at present ({trouble}); the run keeps them and retries"

    def finish(self, hurry: Callable[[], bool]) -> None:
        """Wait until all is sent, and print its address.

        Waits at most ``tracking.flush_timeout`` seconds, and only until ``hurry`` returns True; then kills the shipper.
        """
        if self.process is None:
            return
        limit = self.config.tracking.flush_timeout
        end = time.monotonic() + limit
        with waiting("sending the rest to MLflow (Ctrl-C skips this)"):
            while not self._done() and time.monotonic() < end and not hurry():
                self.watch()
                time.sleep(0.1)
        if not self._done():
            # What it was sending is sent again later, so nothing is lost.
            self.process.kill()
            self.process.wait()
            trouble = self._progress().trouble
            console().print(
                f"MLflow: not everything was sent within tracking.flush_timeout={limit} s"
                f"{f' ({trouble})' if trouble else ''}; the journal in {self.run} is complete. "
                f"See {self.run.logs / 'shipper.log'}. "
                f"Send it later: {program()} task=sync {line_to_type('run', self.run)}",
            )
            return
        uri, sent_to = own_uri(self.run, self.config), self._progress()
        if sent_to.refused:
            console().print(progress.refusal(sent_to.refused))
        assert sent_to.experiment_id is not None and sent_to.run_id is not None
        command = ui_command(self.config.tracking.uri or uri)
        if command:
            console().print(f"compare:  {command}")
        console().print(f"this run: {run_url(uri, sent_to.experiment_id, sent_to.run_id)}")

    def _progress(self) -> progress.Progress:
        return progress.read(self.run, identity(own_uri(self.run, self.config)))

    def _done(self) -> bool:
        """Whether the run has ended and MLflow has all of it."""
        return progress.complete(self.run, identity(own_uri(self.run, self.config)))
