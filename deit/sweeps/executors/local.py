"""Trials on this machine: each in its own process group, on cards (on the CPU: slots with cores) of a shared pool."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from deit.config.schema import RunConfig
from deit.console import console
from deit.errors import UserError
from deit.machine import leases
from deit.machine.card_usage import busy
from deit.machine.cards import NAMES, VISIBLE, card_ids, cores
from deit.machine.python import python_environment
from deit.runs import status
from deit.runs.run_processes import kill_all
from deit.runs.trial_record import Trial
from deit.sweeps.executors.base import Executor, Handle, launch
from deit.sweeps.executors.pool import CardPool


class Local(Executor):
    """The cards of this machine, with a pool for each kind of device that the trials use."""

    def __init__(self, cards: int | None, folder: Path) -> None:
        """``cards``: how many of each kind may be used, None for all. ``folder``: working directory of the trials."""
        self._limit, self._folder = cards, folder
        self._pools: dict[str, CardPool] = {}

    @property
    def size(self) -> int:
        return sum(len(pool.cards) for pool in self._pools.values())

    @property
    def full(self) -> bool:
        return bool(self._pools) and not any(pool.free for pool in self._pools.values())

    def check(self, config: RunConfig) -> None:
        machine, pool = config.hardware, self._pool(config.hardware.target)
        if machine.nodes > 1:
            raise UserError(
                f"hardware.nodes={machine.nodes}: hydra/launcher=cards shares the cards of one machine; "
                "give hydra/launcher=slurm, or start each run on its machines."
            )
        if machine.cards > len(pool.cards):
            name = "slot" if machine.target == "cpu" else NAMES[machine.target]
            raise UserError(
                f"hardware.cards={machine.cards}: the sweep has {len(pool.cards)} {name}{'s' * (len(pool.cards) != 1)} to share"
                f"{f' (sweep.cards={self._limit})' if self._limit else ''}, so the trial could never start."
            )
        absent = sorted(set(machine.card_ids or ()) - set(pool.cards))
        if absent:
            raise UserError(f"hardware.card_ids={machine.card_ids}: {absent} are not among those shared: {list(pool.cards)}.")

    def start(self, trial: Trial, config: RunConfig) -> Handle | None:
        pool, machine = self._pool(config.hardware.target), config.hardware
        taken = self._take(pool, trial, config)
        if taken is None:
            return None
        cards, held = taken
        environment = python_environment()
        if machine.target in VISIBLE:
            environment[VISIBLE[machine.target]] = ",".join(map(str, cards))
        process = launch(trial.directory, environment, self._folder)
        if machine.target == "cpu":
            os.sched_setaffinity(process.pid, self._cores(pool, cards))
        return _Process(trial, process, cards, pool, held)

    def _pool(self, target: str) -> CardPool:
        if target not in self._pools:
            if target == "cpu":
                cards = list(range(self._limit or cores()))
            else:
                used = busy(target)
                cards = [card for card in card_ids(target) if card not in used][: self._limit]
                for card, user in used.items():
                    console().print(f"card {card} is left out: {user} is using it")
            self._pools[target] = CardPool(cards)
        return self._pools[target]

    def _take(self, pool: CardPool, trial: Trial, config: RunConfig) -> tuple[list[int], list[leases.Lease]] | None:
        """Cards and their leases; cards leased by another launch are skipped, and tried again next time."""
        machine = config.hardware
        foreign: set[int] = set()
        while (cards := pool.take(machine.cards, machine.card_ids, foreign)) is not None:
            if machine.target == "cpu":
                return cards, []
            held = {card: leases.take(machine.target, card, f"{trial} in {trial.run}") for card in cards}
            got = [lease for lease in held.values() if lease is not None]
            if len(got) == len(cards):
                return cards, got
            for lease in got:
                lease.close()
            pool.give_back(cards)
            foreign |= {card for card, lease in held.items() if lease is None}
        return None

    def _cores(self, pool: CardPool, slots: list[int]) -> list[int]:
        """The CPU cores of some slots; all of them if there are more slots than cores."""
        cores = sorted(os.sched_getaffinity(0))
        share = len(cores) // len(pool.cards)
        return [core for slot in slots for core in cores[slot * share : (slot + 1) * share]] or cores


class _Process(Handle):
    def __init__(
        self, trial: Trial, process: subprocess.Popen[bytes], cards: list[int], pool: CardPool, held: list[leases.Lease]
    ) -> None:
        self.cards = cards
        self._run, self._process, self._pool, self._held = trial.directory, process, pool, held

    def poll(self) -> int | None:
        code = self._process.poll()
        if code is not None and self.freed is None:
            kill_all(self._run)  # the remaining processes of a killed trial
            self._free()
        elif self.freed is None and status.read(self._run).released:
            self._free()  # the trial itself may still wait for MLflow
        return code

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        kill_all(self._run)

    def _free(self) -> None:
        self.freed = time.time()
        self._pool.give_back(self.cards)
        for lease in self._held:
            lease.close()
