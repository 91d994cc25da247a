"""One run from its configuration to its exit code: prepare, start, watch, end.

The launcher owns the processes: it forwards signals, sees every way a worker can die, and sets the final
state where the workers could not. Training does not depend on it for anything else.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from deit.config import frozen
from deit.config.schema import RunConfig
from deit.errors import UserError
from deit.launching import environment, processes
from deit.launching.command import free_port, worker_command, worker_environment
from deit.launching.display import Display, duration, results_table
from deit.launching.preflight import begins_pretrained, prepare, pretrained_fit
from deit.launching.shipping import Shipper
from deit.lr_curve import draw
from deit.plan import plan
from deit.runs import checkpoint, directory, status
from deit.runs.directory import RunDirectory

GRACE = 60.0  # seconds a worker has to write its checkpoint after a signal
SETTLE = 3.0  # seconds the other ranks have to end by themselves after one has failed or stopped
TEARDOWN = 30.0  # seconds all ranks have to give their devices back after a run that went well
POLL = 0.2  # seconds


def run_task(config: RunConfig, overrides: list[str], sweep: dict[str, Any] | None = None) -> int:
    """Run a task to its end; returns the exit code (0, 1, 2, 130, 143).

    ``sweep`` (id, overrides) marks the run as a trial of a sweep. Raises UserError, before anything is
    written, for what is wrong with the configuration on this machine.
    """
    config = prepare(config)
    resumed = RunDirectory(config.resume) if config.resume else None
    if resumed:
        _check_unfinished(resumed, config)
    console = Console(stderr=False)
    run = resumed or directory.create(config.runs_dir, config.name)
    with _locked(run):
        _write_records(run, config, overrides, sweep, resumed is not None)
        return _Launch(run, config, console).execute()


def _check_unfinished(run: RunDirectory, config: RunConfig) -> None:
    existing = checkpoint.complete(run)
    if existing:
        state = checkpoint.read_state(existing[-1])
        total = plan(config, state["train_images"]).total_steps
        if state["step"] >= total:
            raise UserError(f"resume={run}: the run has finished with step {state['step']} of {total}, nothing is left to do.")


@contextmanager
def _locked(run: RunDirectory) -> Iterator[None]:
    """Hold the run: no second launcher may work on the same directory."""
    with open(run.path / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"resume={run}: this run is still being worked on by another launch.") from None
        if processes.of_run(run):
            raise UserError(f"resume={run}: processes of this run are still alive: {processes.of_run(run)}.")
        yield


def _write_records(
    run: RunDirectory, config: RunConfig, overrides: list[str], sweep: dict[str, Any] | None, resumed: bool
) -> None:
    """Freeze what is about to run."""
    frozen.save(config, run.config)
    described = environment.describe(config) | ({"sweep": sweep} if sweep else {})
    if resumed:
        first = directory.read_json(run.environment) or {}
        described = first | {"resumes": [*first.get("resumes", []), described | {"overrides": overrides}]}
    else:
        run.overrides.write_text(yaml.safe_dump(overrides), encoding="utf-8")
    directory.write_json(run.environment, described)
    status.write(run, status.Status(launcher_pid=os.getpid()))


class _Launch:
    """The processes of one run, and the watch over them."""

    def __init__(self, run: RunDirectory, config: RunConfig, console: Console) -> None:
        self.run, self.config, self.console = run, config, console
        self.signals: list[int] = []
        self.multiple = config.hardware.cards * config.hardware.nodes > 1
        self.began = time.monotonic()

    def execute(self) -> int:
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        shipper = Shipper(self.run, self.config)
        try:
            shipper.start()
            worker = self._start_workers()
            if self.config.task.name == "train" and not self.run.lr_curve.exists():
                draw(self.config, self.run.lr_curve)
            with Display(self.run, self.config, self.console) as display:
                self._tell_pretrained()
                final = self._watch(worker, display)
            self._show(final)
            signals = len(self.signals)
            shipper.finish(self.console, hurry=lambda: len(self.signals) > signals)
        except BaseException:
            # A fault of the launcher's own: the run must not stand there as if it were still going on.
            processes.kill_all(self.run)
            self._final(1, None)
            raise
        finally:
            processes.kill_all(self.run)
            shipper.stop()
            for number, handler in previous.items():
                signal.signal(number, handler)
        assert final.exit_code is not None
        return final.exit_code

    def _on_signal(self, number: int, frame: Any) -> None:
        self.signals.append(number)

    def _tell_pretrained(self) -> None:
        """Say what was taken from ``model.pretrained``, where the run begins with it."""
        if begins_pretrained(self.config):
            self.console.print(f"weights of {self.config.model.pretrained}", highlight=False, soft_wrap=True, markup=False)
            for line in pretrained_fit(self.config).lines():
                self.console.print(f"  {line}", highlight=False, soft_wrap=True, markup=False)
            self.console.print(f"  every name: {self.run.pretrained.name} in the run directory", highlight=False)

    def _start_workers(self) -> subprocess.Popen[bytes]:
        machine = self.config.hardware
        port = machine.master_port or (free_port() if self.multiple else None)
        for old in self.run.logs.glob("worker_*.pid"):
            old.unlink()
        if self.multiple:
            self._keep_logs()
        return processes.start(
            worker_command(self.config, self.run.path, port),
            worker_environment(machine, self.run),
            self.run.logs / ("msrun.log" if self.multiple else "worker_0.log"),
            # A lone worker still writes its checkpoint; ranks without their msrun would wait for each other.
            death_signal=signal.SIGKILL if self.multiple else signal.SIGTERM,
            # MindSpore drops its debris (rank_0/, kernel_meta/) where it works.
            folder=self.run.logs,
        )

    def _keep_logs(self) -> None:
        """Rename the logs of an earlier part of the run: msrun would overwrite them."""
        for log in self.run.logs.glob("worker_*[0-9].log"):
            parts = len(list(self.run.logs.glob(f"{log.stem}.part*.log")))
            log.rename(log.with_name(f"{log.stem}.part{parts + 1}.log"))

    def _watch(self, worker: subprocess.Popen[bytes], display: Display) -> status.Status:
        """Wait for the end of all workers, whatever it is; returns the final status, also on disk."""
        forwarded = 0
        deadline = None  # when patience with the rest of the processes ends
        dead: int | None = None  # the rank that died without a word
        while worker.poll() is None:
            now = status.read(self.run)
            display.update(now)
            if len(self.signals) > forwarded:
                forwarded = len(self.signals)
                deadline = self._forward(now, forwarded)
            if now.ended and deadline is None:
                deadline = time.monotonic() + (TEARDOWN if now.state == status.FINISHED else SETTLE)
            elif dead is None and not now.ended and (dead := self._dead_rank()) is not None:
                deadline = min(deadline or float("inf"), time.monotonic() + SETTLE)
            if deadline is not None and (time.monotonic() > deadline or (forwarded and now.ended and self.multiple)):
                break
            time.sleep(POLL)
        processes.kill_all(self.run)
        code = worker.wait()
        return self._final(code, dead)

    def _forward(self, now: status.Status, count: int) -> float:
        """Hand a signal to rank 0, which writes a checkpoint; a second one ends all at once."""
        if count > 1 or now.worker_pid is None or now.state != status.RUNNING:
            return time.monotonic()
        writing = "writing a checkpoint" if self.config.task.name == "train" else "stopping"
        self.console.print(f"{signal.Signals(self.signals[0]).name}: {writing} (once more ends the run at once)")
        try:
            # Always SIGTERM: MindSpore catches SIGINT itself.
            os.kill(now.worker_pid, signal.SIGTERM)
        except ProcessLookupError:
            return time.monotonic()
        return time.monotonic() + GRACE

    def _dead_rank(self) -> int | None:
        """A rank whose process is gone while the run has not ended; msrun would notice it much later."""
        if not self.multiple:
            return None
        for file in self.run.logs.glob("worker_*.pid"):
            pid = file.read_text()
            if pid and not _alive(int(pid)):  # empty while it is being written
                return int(file.stem.removeprefix("worker_"))
        return None

    def _first_to_die(self) -> tuple[int, int] | None:
        """(rank, exit code) of the worker whose end msrun noticed; it kills the others right after that."""
        log = self.run.logs / "msrun.log"
        found = re.search(r"Worker process (\d+) exit with exception. Error code: (-?\d+)", processes.tail(log))
        for file in self.run.logs.glob("worker_*.pid"):
            if found and file.read_text() == found[1]:
                return int(file.stem.removeprefix("worker_")), int(found[2])
        return None

    def _final(self, code: int, dead: int | None) -> status.Status:
        final = status.read(self.run)
        if final.state in (status.FINISHED, status.FAILED):
            return final
        if self.signals:
            in_vain = self.config.task.name == "train" and not final.ended
            written = ", before a checkpoint could be written" if in_vain else ""
            final.state, final.exit_code = status.INTERRUPTED, 128 + self.signals[0]
            final.message = f"stopped by {signal.Signals(self.signals[0]).name}{written}"
        elif code == 0 and self.config.hardware.node_rank not in (None, 0):
            # Rank 0 and its results are on another machine; ours have ended well.
            final.state, final.exit_code = status.FINISHED, 0
        elif not final.ended:
            how = _exit_text(code)
            if self.multiple and (first := self._first_to_die()) is not None:
                dead, how = first[0], _exit_text(first[1])
            elif dead is not None:
                how = "it is gone"
            who = f"rank {dead}" if dead is not None else "msrun" if self.multiple else "the worker"
            final.state, final.exit_code = status.FAILED, 1
            final.message = f"{who} ended unexpectedly ({how})"
        final.progress["dead_rank"] = dead
        status.write(self.run, final)
        return final

    def _show(self, final: status.Status) -> None:
        """Tell how the run ended and what to do next."""
        took = duration(time.monotonic() - self.began)
        if final.state == status.FINISHED:
            if final.results:
                self.console.print(results_table(self.run, final.results, self.config.task.name))
            self.console.print(f"finished in {took}; the run directory is {self.run}", highlight=False, soft_wrap=True)
            return
        error = Console(stderr=True)
        error.print(f"{final.state} after {took}: {final.message}", highlight=False, soft_wrap=True, markup=False)
        if final.state == status.FAILED and final.exit_code == 1:
            log = self._telling_log(final.progress.get("dead_rank"))
            error.print(f"the end of {log}:\n{processes.tail(log)}", highlight=False, soft_wrap=True, markup=False)
        if self.config.task.name == "train" and checkpoint.complete(self.run):
            error.print(
                f"go on with:  python launch.py resume={shlex.quote(str(self.run))}",
                highlight=False,
                soft_wrap=True,
                markup=False,
            )

    def _telling_log(self, dead: int | None) -> Path:
        log = self.run.logs / f"worker_{dead or 0}.log"
        return log if log.exists() or not self.multiple else self.run.logs / "msrun.log"


def _alive(pid: int) -> bool:
    try:
        # The state stands after the name in parentheses; Z is a process that has ended but was not waited for.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _exit_text(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
