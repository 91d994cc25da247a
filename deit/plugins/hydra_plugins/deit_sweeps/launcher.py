"""hydra/launcher=cards: the trials of a sweep share the cards of this machine."""

# No postponed annotations here: Hydra runs plugin modules before sys.modules knows them, where dataclasses look.

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins import launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from deit.compose import lazy_store
from deit.config.schema import RunConfig, SweepConfig
from deit.errors import UserError

if TYPE_CHECKING:
    from deit.runs.sweep_directory import SweepDirectory
    from deit.runs.trial_record import Trial
    from deit.sweeps.compose import Composer, Draft
    from deit.sweeps.executors.base import Executor
    from deit.sweeps.trial_source import Source

    MakeTrial = Callable[[int, list[str], dict[str, str]], Trial]  # number, overrides, those that distinguish it


@dataclass
class CardsConf:
    _target_: str = "hydra_plugins.deit_sweeps.launcher.Cards"


lazy_store.store("cards", CardsConf, group="hydra/launcher", provider="deit")


class Cards(launcher.Launcher):
    """Every trial is composed, checked and frozen before the first one starts; then they share a pool of cards.

    A launcher for another place has its own ``name``, known to ``deit.sweeps.executors.choose.build``, and its own ``look``.
    """

    name = "cards"

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.loader = hydra_context.config_loader
        self.config = config

    def look(self, config: RunConfig) -> RunConfig:
        """Fill in what depends on the machine of the trials. Raises UserError for what it lacks."""
        from deit.commands import table

        return table.prepare(config)

    def executor(self, settings: SweepConfig) -> "Executor":
        """Where the trials run, in the working directory of this process."""
        from deit.sweeps.executors.choose import build

        return build(self.name, self.options, settings, Path.cwd())

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a list of trials. Raises UserError: 2 before the first trial, 1 after the last if any failed, 130 if stopped."""
        from deit.commands.dry_run import rehearse
        from deit.sweeps import start
        from deit.sweeps.compose import settings_of
        from deit.sweeps.trial_source import Listed

        composer = self._composer()
        drafts = composer.drafts(job_overrides, initial_job_idx)
        settings = settings_of(drafts)
        if settings.resume is not None:
            raise UserError(
                f"sweep.resume={settings.resume}: the sweep has its own trials; give it without -m and values to sweep."
            )
        if drafts[0].config.dry_run:
            rehearse(lambda: self._ready(composer.looked_at(drafts)), lambda found: start.show(found or drafts))
            return []
        drafts = composer.looked_at(drafts)
        start.show(drafts)
        executor = self.executor(settings)
        _check(drafts, executor)
        sweep = start.open_new(drafts[0], settings, self.name, self.options, search=None)
        trials = start.make_trials(sweep, drafts)
        _say(f"sweep {sweep}")
        start.start(sweep, Listed(trials), executor, settings)
        return [_returned(trial) for trial in trials]

    def check(self, overrides: Sequence[str]) -> "Draft":
        """Compose, freeze and check one possible trial of a search, without writing anything. Raises UserError."""
        draft = self._composer().draft(0, overrides)
        self.checked = draft if draft.config.dry_run else replace(draft, config=self.look(draft.config))
        return self.checked

    def _ready(self, drafts: "list[Draft]") -> "list[Draft]":
        """The prepared trials, after the other checks of a start. Raises UserError; nothing is written."""
        from deit.launching.run import check_place
        from deit.sweeps.compose import settings_of

        self.check_place(drafts, settings_of(drafts))
        check_place(drafts[0].config)
        return drafts

    def check_place(self, drafts: "Sequence[Draft]", settings: SweepConfig) -> None:
        """Whether each trial can run where this launcher starts them, as far as a dry run can ask. Raises UserError."""
        _check(drafts, self.executor(settings))

    def search(self, build: Callable[["SweepDirectory", "MakeTrial"], "Source"], about: dict[str, Any]) -> Any:
        """Run the trials that a search finds; with ``sweep.resume`` resume an earlier one.

        ``build`` makes the search from the sweep's directory and a function that composes, checks and freezes a trial;
        ``about`` describes it for ``sweep.json``. ``check`` is called before. Raises UserError as ``launch`` does.
        """
        from deit.commands.dry_run import rehearse
        from deit.lookup import sweeps
        from deit.sweeps import start
        from deit.sweeps.compose import settings_of

        composer, first = self._composer(), self.checked
        settings = settings_of([first])
        if first.config.dry_run:
            _say("a search chooses its trials as it runs; a possible one:")
            rehearse(
                lambda: self._ready([replace(first, config=self.look(first.config))]),
                lambda found: start.show(found or [first]),
            )
            return []
        if settings.resume is None:
            executor = self.executor(settings)
            _check([first], executor)
            sweep = start.open_new(first, settings, self.name, self.options, search=about)
        else:
            sweep = sweeps.find(settings.resume, "sweep.resume", first.config.runs_dir)
            executor = self.executor(settings)
            start.again(sweep, settings, executor)

        def make(number: int, overrides: list[str], swept: dict[str, str]) -> "Trial":
            (draft,) = composer.looked_at([composer.draft(number, overrides)])
            _check([draft], executor)
            return start.make_trial(sweep, draft, swept)

        _say(f"sweep {sweep}")
        source = build(sweep, make)
        try:
            start.start(sweep, source, executor, settings)
        except UserError as error:
            raise UserError("\n".join(filter(None, (str(error), source.problem))), exit_code=error.exit_code) from error
        if source.problem is not None:
            raise UserError(source.problem, exit_code=1)
        return [_returned(trial) for trial in source.trials]

    def _composer(self) -> "Composer":
        from deit.commands import table
        from deit.sweeps.compose import Composer

        return Composer(self.loader, self.config, table, self.look)


def _check(drafts: "Sequence[Draft]", executor: "Executor") -> None:
    """Reject what could never be a trial here. Raises UserError."""
    from deit.commands.table import task_of

    for draft in drafts:
        if not task_of(draft.config.task.name).is_trial:
            raise UserError(
                f"{draft}: task={draft.config.task.name} makes no run, so it cannot be a trial of a sweep; run it alone."
            )
        try:
            executor.check(draft.config)
        except UserError as error:
            raise UserError(f"{draft}: {error}") from None


def _returned(trial: "Trial") -> JobReturn:
    """The result of a job for Hydra."""
    result = JobReturn(overrides=trial.overrides, status=JobStatus.COMPLETED)
    result.return_value = trial.objectives
    return result


def _say(text: str) -> None:
    from deit.console import console  # late: Hydra imports this module in every composition, and rich is slow

    console().print(text)
