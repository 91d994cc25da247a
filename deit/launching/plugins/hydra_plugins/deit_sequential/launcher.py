"""Runs the trials of a sweep one after another, once all of them are composed, frozen and checked."""

# No postponed annotations here: Hydra runs plugin modules before sys.modules knows them, where dataclasses look.

import copy
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins import launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from deit.config import compose, overrides
from deit.config.hydra_errors import ERRORS, translate
from deit.config.schema import RunConfig
from deit.errors import UserError


@dataclass
class SequentialConf:
    _target_: str = "hydra_plugins.deit_sequential.launcher.Sequential"


ConfigStore.instance().store(group="hydra/launcher", name="deit_sequential", node=SequentialConf, provider="deit")


@dataclass(frozen=True)
class Trial:
    number: int
    overrides: list[str]  # as typed, without Hydra's own
    config: RunConfig
    ignored: list[str]  # complaints about keys this trial does not use

    def __str__(self) -> str:
        return f"trial {self.number} ({' '.join(self.overrides)})"


class Sequential(launcher.Launcher):
    """A trial that fails does not stop the others; the sweep fails at its end."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.loader = hydra_context.config_loader
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Raises UserError: with exit code 2 before the first trial, 1 after the last if any failed, 130 if interrupted."""
        from deit.launching.start import start

        trials = self._prepare(job_overrides, initial_job_idx)
        sweep_id = f"{time.strftime('%Y%m%d_%H%M%S')}_{secrets.token_hex(3)}"
        shared = set.intersection(*(set(trial.overrides) for trial in trials))
        failed: list[str] = []
        returns = []
        for trial in trials:
            print(f"[{trial.number - initial_job_idx + 1}/{len(trials)}] {' '.join(trial.overrides)}", flush=True)
            try:
                code = start(trial.config, trial.overrides, sweep=_mark(sweep_id, trial, shared))
            except UserError as error:  # what only a look at the machine and the data can show
                print(error, file=sys.stderr)
                code = error.exit_code
            if code > 128:
                raise UserError(f"The sweep {sweep_id} was interrupted in {trial}.", exit_code=code)
            if code:
                failed.append(f"{trial}: exit code {code}")
            result = JobReturn(overrides=trial.overrides, status=JobStatus.COMPLETED)
            result.return_value = code
            returns.append(result)
        if failed:
            raise UserError("\n".join([f"{len(failed)} of {len(trials)} trials failed:", *failed]), exit_code=1)
        return returns

    def _prepare(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[Trial]:
        """Compose, freeze and check every trial. Raises UserError with all that is wrong in any of them."""
        trials: list[Trial] = []
        problems: dict[str, list[str]] = {}  # message -> the trials that have it
        for number, texts in enumerate(job_overrides, start=first):
            typed = [text for text in texts if not text.startswith("hydra")]
            try:
                given = overrides.check(typed, sweeping=False)
                config = compose.freeze(self._compose(list(texts)), given)
            except ERRORS as error:
                problems.setdefault(str(translate(error, typed)), []).append(f"trial {number} ({' '.join(typed)})")
            except UserError as error:
                problems.setdefault(str(error), []).append(f"trial {number} ({' '.join(typed)})")
            else:
                trials.append(Trial(number, typed, config, compose.idle(config, given)))
        if problems:
            raise UserError("\n".join(f"{_some(names)}: {message}" for message, names in problems.items()))
        # One value of a sweep may well make a key idle that another value needs.
        ignored = set.intersection(*(set(trial.ignored) for trial in trials))
        if ignored:
            raise UserError("\n".join(f"In every trial: {message}" for message in sorted(ignored)))
        for index, trial in enumerate(trials):
            for other in trials[:index]:
                if trial.config == other.config:
                    raise UserError(f"{other} and {trial} are the same configuration; leave one out.")
        return [trial if trial.config.dry_run else self._look(trial) for trial in trials]

    def _look(self, trial: Trial) -> Trial:
        """The trial as it will run: `last` as a teacher must not become the trial before it.

        Raises UserError where it lacks cards, data, weights or a teacher.
        """
        from deit.launching.preflight import prepare

        try:
            return replace(trial, config=prepare(trial.config))
        except UserError as error:
            raise UserError(f"{trial}: {error}") from error

    def _compose(self, texts: list[str]) -> DictConfig:
        composed = self.loader.load_sweep_config(copy.deepcopy(self.config), texts)
        for part in ("launcher", "sweeper"):
            ours, its = self.config.hydra[part], composed.hydra[part]
            if OmegaConf.to_container(ours) != OmegaConf.to_container(its):
                raise UserError(
                    f"The option brings hydra.{part} settings of its own, which a sweep over it would ignore; run it alone."
                )
        with open_dict(composed):
            del composed["hydra"]
        return composed


def _mark(sweep_id: str, trial: Trial, shared: set[str]) -> dict[str, Any]:
    """What a trial's run notes of its sweep; ``swept`` leaves out the overrides that all trials share."""
    swept = dict(text.split("=", 1) for text in trial.overrides if text not in shared)
    return {"id": sweep_id, "overrides": trial.overrides, "swept": swept}


def _some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
