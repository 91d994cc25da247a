"""Trials as Slurm jobs: submitted through submitit, watched with squeue.

Accounting (sacct) is not used: a job that is neither waiting nor running has ended, and the run's status says how. A preempted
job is requeued and resumes from its checkpoint; here it stays one running trial. Jobs outlive this process: a sweep that was
killed finds them again through ``slurm/jobs.json`` in its directory.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deit.config.schema import HardwareConfig, RunConfig, SweepConfig
from deit.console import console
from deit.errors import UserError
from deit.files import read_json, write_json
from deit.machine import slurm
from deit.machine.cards import VISIBLE
from deit.machine.command import output
from deit.machine.python import PATH
from deit.runs import status
from deit.runs.outcome import failed, interrupted
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import Trial
from deit.sweeps.executors.base import Executor, Handle
from deit.sweeps.executors.slurm_job import Job

if TYPE_CHECKING:
    from submitit import SlurmExecutor

TOOLS = ("sbatch", "srun", "squeue", "scontrol", "scancel")
LAG = 30.0  # seconds until a shared file system shows the last writes of a job
KILLED = ("CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE")


# Keys of hydra-submitit-launcher that other keys replace here, and the value that leaves them unset.
REPLACED = {
    "nodes": (1, "give hardware.nodes"),
    "tasks_per_node": (1, "one process per machine starts those of the cards"),
    "submitit_folder": ("${hydra.sweep.dir}/.submitit/%j", "the folders of jobs are in the directory of the sweep"),
    "array_parallelism": (256, "give hydra.launcher.max_jobs"),
}


@dataclass
class Settings:
    """How jobs are submitted. ``parameters`` are those of submitit, without nodes and gres."""

    parameters: dict[str, Any]
    max_num_timeout: int
    poll_interval: float
    cancel_jobs: bool
    max_jobs: int | None = None
    gres: str | None = None  # replaces the one made from hardware.cards


def build(options: dict[str, Any], settings: SweepConfig, folder: Path) -> Slurm:
    """The executor from the keys of hydra.launcher. Raises UserError for unsupported ones."""
    given = {key: value for key, value in options.items() if value is not None}
    for key, (unset, instead) in REPLACED.items():
        value = given.pop(key, unset)
        if value != unset and not (key == "submitit_folder" and str(value).endswith("/.submitit/%j")):
            raise UserError(f"hydra.launcher.{key}={value} has no effect with hydra/launcher=slurm: {instead}.")
    if settings.cards is not None:
        raise UserError(
            f"sweep.cards={settings.cards} has no effect with hydra/launcher=slurm, where Slurm assigns the cards; "
            "give hydra.launcher.max_jobs."
        )
    own = {
        key: given.pop(key) for key in ("gres", "max_num_timeout", "max_jobs", "poll_interval", "cancel_jobs") if key in given
    }
    return Slurm(Settings(given, **own), folder)


class Slurm(Executor):
    """A cluster. Raises UserError if Slurm's commands are missing."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        """``folder`` is the working directory of the trials, on every machine."""
        missing = [tool for tool in TOOLS if shutil.which(tool) is None]
        if missing:
            raise UserError(
                f"hydra/launcher=slurm: there is no `{missing[0]}` here. Run it where jobs are submitted, on a login node."
            )
        self._settings, self._folder = settings, folder
        self._queue = _Queue(settings.poll_interval)
        self._running: set[str] = set()
        self._fits: set[tuple[int, str | None]] = set()
        self._sweep: SweepDirectory | None = None

    @property
    def full(self) -> bool:
        return self._settings.max_jobs is not None and len(self._running) >= self._settings.max_jobs

    @property
    def outlives(self) -> bool:
        return not self._settings.cancel_jobs

    def begin(self, sweep: SweepDirectory) -> None:
        self._sweep = sweep
        self._jobs_folder.mkdir(exist_ok=True)

    def takes_up(self, trial: Trial) -> bool:
        number = self._known_jobs().get(str(trial.number))
        return number is not None and self._queue.state(number, time.monotonic()) is not None

    def check(self, config: RunConfig) -> None:
        machine = config.hardware
        if machine.card_ids is not None:
            raise UserError(f"hardware.card_ids={machine.card_ids}: Slurm chooses the cards; give only hardware.cards.")
        for key in ("node_rank", "master_addr"):
            if getattr(machine, key) is not None:
                raise UserError(f"hardware.{key}={getattr(machine, key)}: Slurm chooses the machines; remove it.")
        wanted = (machine.nodes, self._gres(machine))
        if wanted not in self._fits:
            self._ask_whether_it_fits(machine)
            self._fits.add(wanted)

    def start(self, trial: Trial, config: RunConfig) -> Handle | None:
        if self.full:
            return None
        jobs = self._known_jobs()
        number = jobs.get(str(trial.number))
        if number is None or self._queue.state(number, time.monotonic()) is None:
            number = self._submit(trial, config.hardware)
            write_json(self._jobs_folder / "jobs.json", jobs | {str(trial.number): number})
        self._running.add(number)
        return _Submitted(self._queue, self._running, trial, number, self._jobs_folder)

    def _submit(self, trial: Trial, machine: HardwareConfig) -> str:
        from submitit.core.utils import FailedJobError

        # The cards visible on the login node do not apply to the job.
        for name in VISIBLE.values():
            os.environ.pop(name, None)
        patience = max(5.0, self._settings.parameters["signal_delay_s"] - 10.0)
        try:
            job = self._submitit(machine, self._jobs_folder / "%j").submit(Job(trial.run, str(self._folder), patience))
        except FailedJobError as error:
            raise UserError(f"{trial}: sbatch rejected the job: {_said(error)}") from None
        return str(job.job_id)

    @property
    def _jobs_folder(self) -> Path:
        assert self._sweep is not None
        return self._sweep.path / "slurm"

    def _known_jobs(self) -> dict[str, str]:
        return dict(read_json(self._jobs_folder / "jobs.json") or {})

    def _gres(self, machine: HardwareConfig) -> str | None:
        parameters = self._settings.parameters
        if self._settings.gres or "gpus_per_node" in parameters or "gpus_per_task" in parameters:
            return self._settings.gres
        kinds = slurm.GRES.get(machine.target)
        return f"{kinds[0]}:{machine.cards}" if kinds else None

    def _submitit(self, machine: HardwareConfig, folder: Path) -> SlurmExecutor:
        from submitit import SlurmExecutor

        executor = SlurmExecutor(folder, max_num_timeout=self._settings.max_num_timeout)
        # The jobs must find this code from any working directory.
        setup = [f"export PYTHONPATH={shlex.quote(PATH)}${{PYTHONPATH:+:$PYTHONPATH}}"] if PATH else []
        setup += self._settings.parameters.get("setup", ())
        given = self._settings.parameters | {"setup": setup, "nodes": machine.nodes, "tasks_per_node": 1}
        if (gres := self._gres(machine)) is not None:
            given["gres"] = gres
        executor.update_parameters(**executor._convert_parameters(given))  # from the names common to all its executors
        return executor

    def _ask_whether_it_fits(self, machine: HardwareConfig) -> None:
        """Let sbatch check the parameters without a job: a wrong partition, or cards that no machine has."""
        script = self._submitit(machine, Path("none"))._make_submission_file_text("true", "check")
        try:
            subprocess.run(["sbatch", "--test-only"], input=script, capture_output=True, text=True, timeout=60, check=True)
        except subprocess.SubprocessError as error:
            gres = self._gres(machine)
            asked = f"{machine.nodes} {'node' if machine.nodes == 1 else 'nodes'}{f', gres {gres}' if gres else ''}"
            raise UserError(f"hydra/launcher=slurm: sbatch rejects such a job ({asked}): {_said(error)}") from None


class _Submitted(Handle):
    """A Slurm job."""

    def __init__(self, queue: _Queue, running: set[str], trial: Trial, number: str, folder: Path) -> None:
        """``running`` are the numbers of all jobs that have not ended."""
        self.cards = []
        self._queue, self._running = queue, running
        self._trial, self._number, self._folder = trial, number, folder
        self._since = time.monotonic()
        self._seen = ""  # the last known state
        self._gone: float | None = None  # when the end of the job was noticed
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is not None:
            return self._code
        state = self._queue.state(self._number, self._since)
        if state is not None:
            if state == "RUNNING" and self._seen != "RUNNING":
                cards = _cards_of(self._number)
                if cards is None:
                    return None
                self.began, self.cards = time.time(), cards
            self._seen = state
            return None
        self._code = self._outcome()
        if self._code is not None:
            self._running.discard(self._number)
        return self._code

    def stop(self) -> None:
        # A waiting job has no process that could write a checkpoint.
        if self._queue.state(self._number, time.monotonic()) == "RUNNING":
            _tell("scancel", "--signal=TERM", self._number)
        else:
            self.kill()

    def kill(self) -> None:
        _tell("scancel", self._number)

    def _outcome(self) -> int | None:
        """The exit code of a job that has left the queue; None while its last writes may not be visible here."""
        self._gone = self._gone or time.monotonic()
        how = _ask_state(self._number)
        now = status.read(self._trial.directory)
        if now.outcome is None:
            if how not in KILLED and time.monotonic() - self._gone < LAG:
                return None
            message = f"the job {self._number} ended in Slurm{f' as {how}' if how else ''}; see {self._folder / self._number}"
            outcome = interrupted(signal.SIGTERM, message) if how == "CANCELLED" else failed(message)
            return status.end(self._trial.directory, now, outcome)
        return now.outcome.exit_code


class _Queue:
    """The states of all our jobs, from one call of squeue."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._states: dict[str, str] = {}
        self._looked = float("-inf")
        self._silent = False

    def state(self, number: str, since: float) -> str | None:
        """The state of a waiting or running job, queried after ``since`` (``time.monotonic``), or the last known one if Slurm
        does not respond; None once it has ended.
        """
        if self._looked < since or time.monotonic() - self._looked > self._interval:
            self._look()
        if self._looked < since:
            return self._states.get(number, "UNKNOWN")
        return self._states.get(number)

    def _look(self) -> None:
        began = time.monotonic()
        answer = output("squeue", "--noheader", f"--user={os.getuid()}", "--format=%i %T")
        if answer is None:
            if not self._silent:
                console(stderr=True).print("Slurm does not respond; its jobs and the waiting continue")
            self._silent = True
            return
        self._silent = False
        self._looked = began
        self._states = dict(line.split(maxsplit=1) for line in answer.splitlines() if " " in line)


def _ask_state(number: str) -> str:
    """The state of an ended job, as long as Slurm remembers it: ``COMPLETED``, ``OUT_OF_MEMORY``; empty later."""
    found = re.search(r"\bJobState=(\w+)", output("scontrol", "show", "job", number) or "")
    return found[1] if found else ""


def _cards_of(number: str) -> list[int] | None:
    """The cards of a job on its first machine, if Slurm reports them; None while it does not respond."""
    shown = output("scontrol", "show", "job", "--details", number)
    if shown is None:
        return None
    return next((indices for names in slurm.job_cards(shown).values() for indices in names.values() if indices), [])


def _tell(*command: str) -> None:
    if output(*command) is None:
        console(stderr=True).print(f"{' '.join(command)} failed")


def _said(error: Exception) -> str:
    """The message of a failed Slurm command, without submitit's wrapping."""
    text = str(getattr(error, "stderr", None) or error)
    lines = [line.strip() for line in text.splitlines() if "error:" in line or "failure:" in line]
    return " ".join(lines) or text.strip().splitlines()[-1]
