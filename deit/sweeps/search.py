"""A search: each trial is proposed by Optuna from the results so far; the study is ``study.db`` of the sweep.

A proposal is made when a trial can start, so no card waits for the end of a round. The user attribute ``trial`` of Optuna's
trials connects the study with ``trials.jsonl``. Differences between the two after a kill -9 are repaired when the search is
opened again:

- a proposal that has not become a trial is used first;
- the end of a trial that Optuna does not know yet is reported;
- a resumed trial stays the same trial of the study, with the values it has reported.

Pruners see the metric of each evaluation at its epoch, so trials with different batch sizes are comparable.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from deit.config import frozen
from deit.config.schema import RunConfig, SweepConfig
from deit.console import console
from deit.errors import UserError
from deit.runs import journal, status
from deit.runs.outcome import FAILED, FINISHED, INTERRUPTED
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import CIRCUMSTANCES, PRUNED, RUNNING, WAITING, Trial
from deit.sweeps import samplers
from deit.sweeps.samplers import Settings
from deit.sweeps.space import Space
from deit.sweeps.trial_source import Source
from deit.tracking.uri import sqlite_uri

STUDY = "search"  # always the same name: Hyperband assigns trials to brackets by it
FRUITLESS = 20  # this many unusable proposals in a row end the search

STATES = {FINISHED: TrialState.COMPLETE, PRUNED: TrialState.PRUNED, FAILED: TrialState.FAIL}

Make = Callable[[int, list[str], dict[str, str]], Trial]  # number, overrides, those that distinguish the trial


def epochs(config: RunConfig) -> int:
    """Epochs of a whole training."""
    return config.schedule.epochs + config.schedule.cooldown_epochs


@dataclass
class _Reader:
    """The position in the journal of a running trial."""

    offset: int = 0
    epoch: float = 0.0  # of the records read so far
    last: int = 0  # the last epoch, at which pruning is useless


class Search(Source):
    """The trials that a sampler proposes for a space."""

    def __init__(
        self, directory: SweepDirectory, make: Make, space: Space, settings: Settings, aims: SweepConfig, epochs: int
    ) -> None:
        """Open the search of ``directory``, or start it.

        ``make`` composes, checks and freezes a trial; it raises UserError if its values break a rule. ``aims`` has the
        objectives, ``epochs`` are those of a training. Raises UserError if the search was started with another space or other
        objectives.
        """
        self.trials = directory.read_trials()
        self._make, self._space, self._settings = make, space, settings
        self._objectives = list(aims.objectives)
        self._readers: dict[int, _Reader] = {}
        self._over = False
        self._study = optuna.create_study(
            storage=sqlite_uri(Path(directory.study).absolute()),
            study_name=STUDY,
            directions=[StudyDirection[direction.upper()] for direction in aims.directions],
            sampler=samplers.sampler(settings, 0),
            pruner=samplers.pruner(settings, epochs),
            load_if_exists=True,
        )
        self._hold_to_its_beginning(directory)
        self._numbers: dict[int, int] = {}  # trial number -> number in the study; of two the later one
        self._pending: list[FrozenTrial] = []  # proposals that have not become trials
        for record in self._records():
            number = record.user_attrs.get("trial")
            if number is not None and number < len(self.trials):
                self._numbers[number] = record.number
            elif record.state == TrialState.RUNNING:
                self._pending.append(record)
        for trial in self.trials:
            if trial.number not in self._numbers:
                raise UserError(f"{directory.study}: does not contain {trial}; restore the file, or start a new search.")
            if trial.state in STATES and not self._record(trial).state.is_finished():
                self.ended(trial)

    def waiting(self) -> Sequence[Trial]:
        found = [trial for trial in self.trials if trial.state == WAITING]
        if not found and not self._over:
            proposed = self._propose()
            if proposed is None:
                self._over = True
            else:
                self.trials.append(proposed)
                found.append(proposed)
        return found

    @property
    def exhausted(self) -> bool:
        return self._over and not any(trial.state == WAITING for trial in self.trials)

    def ended(self, trial: Trial) -> None:
        """Report the end to Optuna. A trial that finished without its objectives fails."""
        if trial.state == INTERRUPTED:  # it will be resumed as the same trial of the study
            return
        self._report_all(trial)
        values = None
        if trial.state == FINISHED:
            values = trial.objectives = self._values_of(trial)
            if values is None:
                trial.state = FAILED
                trial.message = (
                    f"its journal does not have a number for each of sweep.objectives ({', '.join(self._objectives)})"
                )
        record = self._record(trial)
        if not record.state.is_finished():
            self._study.tell(record.number, values, STATES[trial.state])
        elif record.state != STATES[trial.state]:
            self._add_again(trial, record, STATES[trial.state], values)

    def to_prune(self, running: Sequence[Trial]) -> dict[int, str]:
        if self._settings.pruner["name"] == "none":
            return {}
        reasons = {}
        for trial in running:
            for asked, epoch, value in self._reported(trial):
                if epoch < self._readers[trial.number].last and asked.should_prune():
                    metric = samplers.intermediate(self._objectives[0])
                    reasons[trial.number] = f"{metric} {value:.4g} in epoch {epoch}, by {self._settings.pruner['name']}"
                    break
        return reasons

    def _hold_to_its_beginning(self, directory: SweepDirectory) -> None:
        """Check that space and objectives are those of the start."""
        now = [text for text in self._space.fixed if re.split("[.=]", text)[0] not in CIRCUMSTANCES]
        now += [f"{key}={re.sub(' ', '', text)}" for key, text in self._space.typed.items()]
        pairs = zip(self._study.directions, self._objectives, strict=True)
        now += [f"{direction.name.lower()} {objective}" for direction, objective in pairs]
        begun = self._study.user_attrs.get("begun")
        if begun is None:
            self._study.set_user_attr("begun", now)
            return
        gone, new = ([text for text in a if text not in b] for a, b in ((begun, now), (now, begun)))
        if gone or new:
            raise UserError(
                f"{directory}: its results would not be comparable with the new settings. It was started with "
                f"{' and '.join([f'with {text}' for text in gone] + [f'without {text}' for text in new])}. "
                "Give the same settings, or start a new search."
            )

    def _propose(self) -> Trial | None:
        """The next trial; None if there are no more."""
        self._hear_of_finished()
        reasons: list[str] = []
        while len(reasons) < FRUITLESS:
            if self._settings.n_trials is not None and len(self.trials) >= self._settings.n_trials:
                return None
            asked = self._ask()
            if asked is None:
                return None
            values = {key: dimension.suggest(asked) for key, dimension in self._space.dimensions.items()}
            number, swept = len(self.trials), self._space.swept(values)
            twins = [record for record in self._records() if record.params == values and record.number != asked.number]
            if twins:
                # A run depends only on its configuration, so the result would be the same.
                twin = next((record for record in twins if record.state == TrialState.COMPLETE), twins[0])
                asked.set_user_attr("same_as", twin.number)
                if twin.state == TrialState.COMPLETE:
                    self._study.tell(asked, twin.values)
                else:
                    self._study.tell(asked, state=TrialState.FAIL)
                reasons.append("was tried before")
                continue
            asked.set_user_attr("trial", number)
            try:
                trial = self._make(number, self._space.overrides(values), swept)
            except UserError as error:
                asked.set_user_attr("trial", None)
                asked.set_user_attr("refused", str(error))
                self._study.tell(asked, state=TrialState.FAIL)
                texts = " ".join(f"{key}={value}" for key, value in swept.items())
                console(stderr=True).print(f"not tried: {texts}: {error}")
                reasons.append(str(error))
                continue
            self._numbers[number] = asked.number
            return trial
        self.problem = (
            f"The search ended after {len(self.trials)} trials: {FRUITLESS} proposals in a row could not be tried; "
            f"the last reason: {reasons[-1]}"
        )
        return None

    def _hear_of_finished(self) -> None:
        """Report finished trials that still send metrics to MLflow: their cards are free, so the next proposal needs them."""
        for trial in self.trials:
            record = self._record(trial)
            if trial.state == RUNNING and record.state == TrialState.RUNNING:
                found = self._values_of(trial) if status.finished(trial.directory) else None
                if found is not None:
                    self._report_all(trial)
                    self._study.tell(record.number, found)

    def _ask(self) -> optuna.trial.Trial | None:
        """A proposal of the sampler; None if a grid has no more."""
        records = self._records()
        number = self._pending[0].number if self._pending else len(records)
        self._study.sampler = samplers.sampler(self._settings, number)
        if self._pending:
            return optuna.trial.Trial(self._study, self._pending.pop(0)._trial_id)
        if self._settings.sampler["name"] == "grid" and not any(r.state == TrialState.WAITING for r in records):
            tried = [record.params for record in records]
            following = next((values for values in self._space.combinations() if values not in tried), None)
            if following is None:
                return None
            self._study.enqueue_trial(following)
        return self._study.ask()

    def _records(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _record(self, trial: Trial) -> FrozenTrial:
        return self._records()[self._numbers[trial.number]]

    def _add_again(self, trial: Trial, record: FrozenTrial, state: TrialState, values: list[float] | None) -> None:
        """Add a new record for a retried trial that was already reported to Optuna as failed."""
        self._study.add_trial(
            optuna.trial.create_trial(
                state=state,
                values=values,
                params=record.params,
                distributions=record.distributions,
                user_attrs={"trial": trial.number},
                intermediate_values=record.intermediate_values,
            )
        )
        self._numbers[trial.number] = len(self._records()) - 1

    def _values_of(self, trial: Trial) -> list[float] | None:
        """The objectives of a finished trial; None if its journal lacks one, or it is not finite."""
        found = journal.latest(trial.directory.journal, self._objectives)
        values = [found.get(name, math.nan) for name in self._objectives]
        return values if all(map(math.isfinite, values)) else None

    def _report_all(self, trial: Trial) -> None:
        """Report the rest of an ended trial, because the pruner compares others with its whole curve."""
        if self._settings.pruner["name"] != "none" and not self._record(trial).state.is_finished():
            for _ in self._reported(trial):
                pass
        self._readers.pop(trial.number, None)

    def _reported(self, trial: Trial) -> Iterator[tuple[optuna.trial.Trial, int, float]]:
        """Report to Optuna each evaluation that it does not know yet, and yield its trial, epoch and value."""
        if trial.number not in self._readers:
            self._readers[trial.number] = _Reader(last=epochs(frozen.load(trial.directory.config)))
        reader, metric = self._readers[trial.number], samplers.intermediate(self._objectives[0])
        known = self._record(trial)
        asked = optuna.trial.Trial(self._study, known._trial_id)
        reported = set(known.intermediate_values)
        for offset, record in journal.read(trial.directory.journal, reader.offset):
            reader.offset = offset
            metrics = record.get("metrics", {})
            reader.epoch = metrics.get("train/epoch", reader.epoch)
            epoch = math.ceil(reader.epoch - 1e-6)  # schedule.max_steps may end within one
            if metric in metrics and epoch not in reported:
                reported.add(epoch)
                asked.report(metrics[metric], epoch)
                yield asked, epoch, metrics[metric]
