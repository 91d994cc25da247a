"""Trials as Ray tasks, on machines with free NPUs, GPUs or CPUs.

A task only starts the trial's process, in its own session, and waits for it: neither the end of that process nor of Ray's
worker affects another trial. A file in its run directory tells it to stop, on whatever machine it runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from deit.config.schema import RunConfig, SweepConfig
from deit.errors import UserError
from deit.files import read_json, write_json
from deit.machine.cards import VISIBLE, card_ids, cores
from deit.machine.python import python_environment
from deit.runs.directory import RunDirectory
from deit.runs.lock import held
from deit.runs.outcome import signal_code
from deit.runs.run_processes import kill_all
from deit.runs.trial_record import Trial
from deit.sweeps.executors.base import Executor, Handle, launch

RESOURCES = {"ascend": "NPU", "gpu": "GPU", "cpu": "CPU"}  # as Ray calls them
POLL = 0.5  # seconds


class Ray(Executor):
    """A Ray cluster, or this machine alone. Raises UserError if there is none at ``address``."""

    def __init__(self, address: str | None, settings: SweepConfig, folder: Path) -> None:
        """``folder`` is the working directory of the trials, on every machine."""
        import ray

        if settings.cards is not None:
            raise UserError(f"sweep.cards={settings.cards} has no effect with hydra/launcher=ray, where Ray assigns the cards.")
        quiet: dict[str, Any] = {
            "log_to_driver": False,
            "logging_level": "ERROR",
            "runtime_env": {"env_vars": {"PYTHONPATH": python_environment()["PYTHONPATH"]}},
        }
        try:
            if address is None:
                npus, gpus = (len(card_ids(target)) for target in ("ascend", "gpu"))
                found = {"num_cpus": cores(), "num_gpus": gpus, "resources": {"NPU": npus} if npus else {}}
                # Otherwise Ray's workers run with nice 15, and the trials with them.
                ray.init(**found, include_dashboard=False, _system_config={"worker_niceness": 0}, **quiet)
            else:
                ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(f"hydra.launcher.address={address}: Ray does not start there: {error}") from None
        self._folder = folder

    def check(self, config: RunConfig) -> None:
        import ray

        machine = config.hardware
        if machine.nodes > 1 or machine.card_ids is not None:
            key = "nodes" if machine.nodes > 1 else "card_ids"
            raise UserError(
                f"hardware.{key}={getattr(machine, key)}: hydra/launcher=ray runs a trial on cards that Ray chooses."
            )
        kind = RESOURCES[machine.target]
        most = max(int(node["Resources"].get(kind, 0)) for node in ray.nodes() if node["Alive"])
        if machine.cards > most:
            raise UserError(f"hardware.cards={machine.cards}: the largest machine of Ray has {kind} {most} times.")

    def start(self, trial: Trial, config: RunConfig) -> Handle:
        import ray

        machine = config.hardware
        wanted: dict[str, Any] = {"num_cpus": machine.cards if machine.target == "cpu" else 0}
        if machine.target == "gpu":
            wanted["num_gpus"] = machine.cards
        elif machine.target == "ascend":
            wanted["resources"] = {"NPU": machine.cards}
        for file in (_told(trial.directory), _place(trial.directory)):
            file.unlink(missing_ok=True)
        # This program decides about retries, not Ray.
        task = ray.remote(max_retries=0, **wanted)(_see_through)
        return _Task(trial, task.remote(trial.run, str(self._folder), VISIBLE.get(machine.target)))

    def close(self) -> None:
        import ray

        ray.shutdown()


class _Task(Handle):
    def __init__(self, trial: Trial, reference: Any) -> None:
        self.cards = []
        self._trial, self._reference = trial, reference

    def poll(self) -> int | None:
        import ray

        if self.began is None and (place := read_json(_place(self._trial.directory))) is not None:
            self.began, self.cards = place["began"], place["cards"]
        if not ray.wait([self._reference], timeout=0)[0]:
            return None
        try:
            return int(ray.get(self._reference))
        except ray.exceptions.RayError:  # its worker is gone; the trial then writes a checkpoint and ends
            return None if held(self._trial.directory) else -signal.SIGKILL

    def stop(self) -> None:
        write_json(_told(self._trial.directory), int(signal.SIGTERM))

    def kill(self) -> None:
        write_json(_told(self._trial.directory), int(signal.SIGKILL))


def _see_through(path: str, folder: str, visible: str | None) -> int:
    """The task: start the trial's process, forward signals, return its exit code."""
    run = RunDirectory(path)
    if read_json(_told(run)) is not None:  # stopped before it started
        return signal_code(signal.SIGTERM)
    cards = [int(card) for card in os.environ.get(visible, "").split(",") if card] if visible else []
    write_json(_place(run), {"began": time.time(), "cards": cards})
    process = launch(run, os.environ, Path(folder))
    sent = None
    while True:
        try:
            return process.wait(POLL)
        except subprocess.TimeoutExpired:
            told = read_json(_told(run))
            if told is not None and told != sent:
                sent = told
                process.send_signal(told)
                if told == signal.SIGKILL:
                    kill_all(run)


def _told(run: RunDirectory) -> Path:
    return run.logs / "ray_signal.json"


def _place(run: RunDirectory) -> Path:
    return run.logs / "ray_place.json"
