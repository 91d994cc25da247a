"""Supervise the processes of one run: start, show, restart, end.

The supervisor owns the processes: it forwards signals, notices every way in which a worker can die or hang, and sets the final
state if the workers could not. Training does not depend on it for anything else.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

from rich.console import RenderableType

from deit.config.schema import RunConfig
from deit.console import console, harmless
from deit.files import read_json
from deit.installation import program
from deit.launching.display import Display
from deit.launching.nodes import Word
from deit.launching.run import Start
from deit.launching.worker_command import worker_command, worker_environment
from deit.machine import leases, processes, signals
from deit.machine.ports import lease_port
from deit.runs import checkpoint, status
from deit.runs.directory import DISK_FULL, RunDirectory
from deit.runs.outcome import FAILED, FINISHED, Outcome, decide, failed, finished, interrupted
from deit.runs.run_processes import kill_all
from deit.text import duration, exit_text, line_to_type
from deit.tracking.shipper_process import Shipper

SETTLE = 3.0  # seconds for the other ranks to end by themselves after one has failed or stopped
TEARDOWN = 30.0  # seconds for all ranks to release their devices after a successful run
POLL = 0.2  # seconds
FULL = 2**20  # bytes; with fewer free the disk counts as full
STACKS = 2.0  # seconds for all ranks to write their stacks before a hanging run is ended
LONGEST_BACKOFF = 60.0  # seconds between a crash and the next start
ONE_WISH = 5.0  # seconds within which several SIGTERM of a batch system count as one


class Supervised(Protocol):
    """What the supervisor uses of a task (``deit.commands.task.Task``)."""

    resumable: bool

    def begin(self, run: RunDirectory, config: RunConfig) -> list[str]: ...

    def show(self, run: RunDirectory, results: dict[str, Any]) -> RenderableType: ...


class Supervisor:
    """Supervises the processes of one run on this machine. With several machines, that of machine 0 sets the status."""

    def __init__(self, start: Start, task: Supervised) -> None:
        self.run, self.config, self.cards, self.machines = start.run, start.config, start.cards, start.machines
        self.task = task
        self.signals: list[int] = []
        self._signalled = float("-inf")
        self._elsewhere: Word | None = None  # how the run ended on another machine
        self.multiple = self.config.hardware.cards * self.config.hardware.nodes > 1
        self.began = time.monotonic()
        self.shipper, self.uploader = Shipper(self.run, self.config), start.uploader
        self._port: leases.Lease | None = None
        self._unwritten: status.Status | None = None  # the last one, if the disk was full

    def execute(self) -> int:
        """Work on the run until it has ended; returns the exit code."""
        with signals.handled(self._on_signal):
            return self._see_through()

    def _see_through(self) -> int:
        if self.machines.first:
            self.run.stop_reason.unlink(missing_ok=True)
        shipper = self.shipper
        try:
            shipper.start()
            with Display(self.run, self.config, console()) if self.machines.first else nullcontext() as display:
                final = self._work(display)
            final.released = True  # set before the rest is sent to MLflow, which needs no card
            self._record(final)
            self.machines.tell(final)
            self._show(final)
            signals = len(self.signals)
            shipper.finish(hurry=lambda: self._is_awaited(signals))
        except BaseException:
            # The launcher itself failed: the run must not stay recorded as running.
            kill_all(self.run, self.machines.node)
            self.machines.tell(self._final(1, None, None))
            raise
        finally:
            kill_all(self.run, self.machines.node)
            shipper.stop()
            if self._port is not None:
                self._port.close()
        assert final.exit_code is not None
        return final.exit_code

    def _work(self, display: Display | None) -> status.Status:
        """Start all workers, and restart them after a crash up to ``hardware.max_restarts`` times; returns the final status."""
        restarts, crashed_at = 0, -1
        while True:
            worker = self._start_workers()
            if restarts == 0:
                self._introduce()
            final = self._watch(worker, display)
            outcome = final.outcome
            if outcome is None or not outcome.retryable or restarts >= self.config.hardware.max_restarts:
                return final
            step = final.progress.get("step", 0)
            if step == crashed_at:
                final.message = f"{final.message}; a second time at step {step}, so it was not restarted"
                self._record(final)
                return final
            crashed_at, restarts = step, restarts + 1
            self._back_off(final, restarts)
            if self.signals:
                return self._final(1, None, None)
            self.shipper.start()  # it may have seen the intermediate end

    def _back_off(self, final: status.Status, restarts: int) -> None:
        """Wait before the next start, or until a signal."""
        wait = min(LONGEST_BACKOFF, 2.0 ** (restarts - 1))
        of = f"restart {restarts} of {self.config.hardware.max_restarts}"
        console().print(f"{final.message}; {of} from the last checkpoint in {wait:.0f} s")
        final.state, final.exit_code = status.CREATED, None
        self._record(final)
        end = time.monotonic() + wait
        while time.monotonic() < end and not self.signals:
            time.sleep(POLL)

    def _on_signal(self, number: int, frame: Any) -> None:
        again = number == signal.SIGTERM and time.monotonic() - self._signalled < ONE_WISH
        self._signalled = time.monotonic()
        if not again:
            self.signals.append(number)

    def _introduce(self) -> None:
        """Print the task's lines about this start, and a hint about unneeded keys."""
        if self.machines.first:
            for line in self.task.begin(self.run, self.config):
                console().print(line)
        if self.config.hardware.rank_table:
            console().print("hardware.rank_table is passed to msrun, which does not need it: you can remove it")

    def _start_workers(self) -> subprocess.Popen[bytes]:
        machine = self.config.hardware
        port = machine.master_port
        if self.multiple and port is None:
            if self._port is not None:
                self._port.close()
            port, self._port = lease_port(str(self.run.path))
        for old in self._pid_files():
            old.unlink()
        if self.multiple:
            self._keep_logs()
        return processes.start(
            worker_command(self.config, self.run.path, port),
            worker_environment(machine, self.run, self.cards),
            self._msrun_log if self.multiple else self.run.logs / "worker_0.log",
            # A single worker still writes its checkpoint; ranks without their msrun would wait for each other.
            death_signal=signal.SIGKILL if self.multiple else signal.SIGTERM,
            shielded=self.multiple,  # msrun would orphan its ranks; they have their own handlers
            # MindSpore writes rank_0/ and kernel_meta/ into its working directory.
            folder=self.run.logs,
        )

    def _keep_logs(self) -> None:
        """Rename the logs of an earlier part of the run, which msrun would overwrite."""
        for log in filter(Path.exists, (self.run.logs / f"worker_{rank}.log" for rank in self.machines.ranks)):
            parts = len(list(self.run.logs.glob(f"{log.stem}.part*.log")))
            log.rename(log.with_name(f"{log.stem}.part{parts + 1}.log"))

    def _pid_files(self) -> list[Path]:
        """Those of the ranks of this machine; process ids mean nothing on another one."""
        return list(filter(Path.exists, (self.run.logs / f"worker_{rank}.pid" for rank in self.machines.ranks)))

    @property
    def _msrun_log(self) -> Path:
        return self.run.logs / ("msrun.log" if self.machines.first else f"msrun_node{self.machines.node}.log")

    def _record(self, final: status.Status) -> None:
        """Write the status. A full disk is only reported: readers then see a run whose processes are gone."""
        if not self.machines.first:
            return
        known, self._unwritten = self._unwritten, None
        try:
            status.write(self.run, final)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            self._unwritten = final
            if known is None:
                console(stderr=True).print(f"warning: {self.run.status} cannot be written: {error.strerror}")

    def _is_awaited(self, signals: int) -> bool:
        """Whether a signal has come after the first ``signals``; also retries to record the end after a full disk."""
        if self._unwritten is not None:
            self._record(self._unwritten)  # the shipper waits for it, too
        return len(self.signals) > signals

    def _watch(self, worker: subprocess.Popen[bytes], display: Display | None) -> status.Status:
        """Wait until all workers have ended; returns the final status, also on disk."""
        forwarded = 0
        deadline = None  # when the remaining processes are killed
        dead: int | None = None  # the rank that died without a message
        hang = _Hang(self.config.hardware.hang_timeout)
        while worker.poll() is None:
            now = status.read(self.run)
            if display:
                display.update(now)
            self.shipper.watch()
            if news := self.shipper.news():
                console().print(news)
            if self.uploader is not None:
                self.uploader.watch()
            self._listen()
            if len(self.signals) > forwarded:
                forwarded = len(self.signals)
                deadline = self._forward(now, forwarded)
            ended = self._ended(now)
            if ended and deadline is None:
                deadline = time.monotonic() + (TEARDOWN if ended == FINISHED else SETTLE)
            elif dead is None and not ended and (dead := self._dead_rank()) is not None:
                deadline = min(deadline or float("inf"), time.monotonic() + SETTLE)
            elif hang.found(now) and deadline is None:
                self._ask_for_stacks()
                deadline = time.monotonic() + STACKS
            if deadline is not None and (time.monotonic() > deadline or (forwarded and ended and self.multiple)):
                break
            if ended == FINISHED and self._ranks_are_gone():
                break
            time.sleep(POLL)
        kill_all(self.run, self.machines.node)
        code = worker.wait()
        return self._final(code, dead, hang.message)

    def _listen(self) -> None:
        """Read the messages of the launchers on other machines."""
        for word in self.machines.heard():
            if word.state == status.RUNNING:
                if self.machines.first and not self.signals and word.signal is not None:
                    self.signals.append(word.signal)
            elif self._elsewhere is None and (word.state != FINISHED or word.node == 0):
                self._elsewhere = word

    def _ended(self, now: status.Status) -> str | None:
        """The state in which the run has ended, here or on another machine."""
        if self.machines.first and now.ended:  # elsewhere the file may be from an earlier start
            return now.state
        return self._elsewhere.state if self._elsewhere else None

    def _ask_for_stacks(self) -> None:
        """Let every rank write the stacks of its threads into its log."""
        for file in self._pid_files():
            try:
                os.kill(int(file.read_text()), signal.SIGUSR1)
            except (ValueError, ProcessLookupError):
                continue

    def _forward(self, now: status.Status, count: int) -> float:
        """Forward a signal to rank 0, which writes a checkpoint; a second one ends the run at once."""
        if not self.machines.first:
            if count > 1:
                return time.monotonic()
            self.machines.tell(status.Status(status.RUNNING), signal=self.signals[0])
            return time.monotonic() + self.config.hardware.grace_period
        if count > 1 or now.worker_pid is None or now.state != status.RUNNING:
            return time.monotonic()
        writing = "writing a checkpoint" if self.task.resumable else "stopping"
        console().print(f"{signal.Signals(self.signals[0]).name}: {writing} (once more ends the run at once)")
        try:
            # Always SIGTERM: MindSpore catches SIGINT itself.
            os.kill(now.worker_pid, signal.SIGTERM)
        except ProcessLookupError:
            return time.monotonic()
        return time.monotonic() + self.config.hardware.grace_period

    def _dead_rank(self) -> int | None:
        """A rank whose process is gone although the run has not ended; msrun would notice it much later."""
        # On other machines msrun has no scheduler and ends when a rank does; its exit code says how.
        if not self.multiple or not self.machines.first:
            return None
        return next((int(file.stem.removeprefix("worker_")) for file in self._pid_files() if _is_gone(file)), None)

    def _ranks_are_gone(self) -> bool:
        """Whether only msrun and its scheduler are left, which sleep for seconds before they end."""
        # The ranks of other machines need the scheduler.
        return self.multiple and self.config.hardware.nodes == 1 and all(map(_is_gone, self._pid_files()))

    def _first_to_die(self) -> tuple[int, int] | None:
        """(rank, exit code) of the worker whose end msrun noticed first; msrun then kills the others."""
        log = self._msrun_log
        found = re.search(r"Worker process (\d+) exit with exception. Error code: (-?\d+)", processes.tail(log))
        for file in self._pid_files():
            if found and file.read_text() == found[1]:
                return int(file.stem.removeprefix("worker_")), int(found[2])
        return None

    def _final(self, code: int, dead: int | None, hung: str | None) -> status.Status:
        """The final status, also on disk. ``code`` is that of the process that was started, ``dead`` a rank that is gone."""
        final = status.read(self.run) if self.machines.first else status.Status()
        if final.state in (FINISHED, FAILED):
            return final
        elsewhere, how = self._elsewhere, exit_text(code)
        if elsewhere is not None and elsewhere.state != FINISHED:
            dead = elsewhere.dead_rank
        elif self.multiple and not self.signals and (first := self._first_to_die()) is not None:
            dead, how = first[0], exit_text(first[1])
        elif dead is not None:
            how = "it is gone"
        final.outcome = decide(
            final.outcome,
            elsewhere.outcome if elsewhere else None,
            self._stopped(in_vain=self.task.resumable and not final.ended) if self.signals else None,
            lambda: self._seen(code, how, dead, hung),
        )
        final.progress["dead_rank"] = dead
        self._record(final)
        return final

    def _stopped(self, in_vain: bool) -> Outcome:
        reason = read_json(self.run.stop_reason) or f"stopped by {signal.Signals(self.signals[0]).name}"
        written = ", before a checkpoint could be written" if in_vain else ""
        return interrupted(self.signals[0], f"{reason}{written}")

    def _seen(self, code: int, how: str, dead: int | None, hung: str | None) -> Outcome:
        """How the processes ended, where none of them could say it."""
        if code == 0 and not self.machines.first:  # rank 0 and its results are on another machine
            return finished()
        if hung:
            return failed(hung)
        who = f"rank {dead}" if dead is not None else "msrun" if self.multiple else "the worker"
        message = f"{who} ended unexpectedly ({how})"
        # A full disk could explain why neither the status nor the log has a reason.
        if (free := shutil.disk_usage(self.run.path).free) < FULL:
            message += f"; the disk of {self.run} is full: {free} bytes are free"
        return failed(message)

    def _show(self, final: status.Status) -> None:
        """Print how the run ended and what to do next."""
        took = duration(time.monotonic() - self.began)
        if final.state == FINISHED:
            if final.results:
                with harmless("the results"):
                    console().print(self.task.show(self.run, final.results))
            console().print(f"finished in {took}; the run directory is {self.run}")
            return
        error = console(stderr=True)
        error.print(f"{final.state} after {took}: {final.message}")
        if final.state == FAILED and final.exit_code == 1:
            log = self._telling_log(final.progress.get("dead_rank"))
            end = processes.tail(log).rstrip().removesuffix(final.message or "").rstrip()  # it stands above
            error.print(f"the end of {log}:\n{end}" if end else f"its log is {log}")
        if self.task.resumable and checkpoint.complete(self.run):
            error.print(f"resume with:  {program()} {line_to_type('resume', self.run)}")

    def _telling_log(self, dead: int | None) -> Path:
        log = self.run.logs / f"worker_{dead or 0}.log"
        return log if log.exists() or not self.multiple else self._msrun_log


def _is_gone(file: Path) -> bool:
    """Whether the process of a pid file has ended; the file is empty while it is being written."""
    pid = file.read_text()
    return bool(pid) and processes.find(int(pid), time.time()) is None


class _Hang:
    """Detects that a run makes no progress."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._seen: object = None
        self._since = time.monotonic()
        self.message: str | None = None

    def found(self, now: status.Status) -> bool:
        """Whether the newest progress is older than the limit; sets ``message`` then."""
        place = tuple(now.progress.get(key) for key in ("phase", "step", "evaluated"))
        if place != self._seen:
            self._seen, self._since = place, time.monotonic()
        elif self._limit is not None and time.monotonic() - self._since > self._limit:
            self.message = (
                f"no progress for hardware.hang_timeout={self._limit} s while {now.progress.get('phase', 'starting')}, at "
                f"step {now.progress.get('step', 0)}; the logs of the workers end with their stacks"
            )
        return self.message is not None
