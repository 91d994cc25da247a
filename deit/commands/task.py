"""The control half of a task: one object, ``TASK`` of ``deit/commands/<task>.py``.

The methods here do what most tasks do: check the configuration, take the cards, start the worker's half
(``deit/tasks/<task>.py``) on a run directory and supervise it. A command module is imported only for its task, so it may
import what it needs.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from deit.compose import rules
from deit.compose.unused_keys import Unused, unused
from deit.config import card_rules
from deit.config.schema import RunConfig
from deit.config.tasks import TaskConfig
from deit.errors import UserError
from deit.lookup.base_run import References

if TYPE_CHECKING:
    from rich.console import RenderableType

    from deit.launching.run import Start
    from deit.recipe.plan import Plan
    from deit.runs.directory import RunDirectory

Keys = TypeVar("Keys", bound=TaskConfig)
Rule = Callable[[RunConfig], list[str]]  # a line for each contradiction


class Task(Generic[Keys]):
    """A task that starts a run; ``Keys`` is the type of its keys."""

    is_trial = True  # whether it can be a trial of a sweep: it has a run directory and a worker
    trains = False  # whether it uses batches of training images
    resumable = False  # whether it writes checkpoints from which resume= continues it
    takes: tuple[str, ...] = ("run", "checkpoint", "resume")  # which of these it may be given
    instead = ""  # what the message says about another one; {} stands for what was given
    obeys: tuple[Rule, ...] = (rules.data, rules.model, rules.channels, rules.hardware, rules.precision, rules.tracking)

    @property
    def name(self) -> str:
        """The name of its module."""
        return type(self).__module__.rpartition(".")[2]

    def of(self, config: RunConfig) -> Keys:
        """The keys of the task."""
        return cast(Keys, config.task)

    # ------------------------------------------------------------------ the configuration

    def refuses(self, named: References) -> list[str]:
        """A line for each of run=, checkpoint=, resume=, task.model= that is not allowed or missing.

        Called before any of them is looked up.
        """
        if set(named.given) <= set(self.takes):
            return []
        return [f"{named} with task={self.name}: {self.instead.format(' and '.join(named.given))}"]

    def problems(self, config: RunConfig) -> list[str]:
        """A line for each contradiction between values, which are within their limits."""
        refused = self.refuses(References.of(config, vars(config.task)))
        return rules.names(config) + refused + rules.files(config) + rules.runs_dir(config) + self.rules(config)

    def rules(self, config: RunConfig) -> list[str]:
        """The part of ``problems`` that depends on the groups that the task uses: by default, the rules that it ``obeys``."""
        return [line for rule in self.obeys for line in rule(config)]

    def unused(self, found: Unused) -> None:
        """Add the keys that the task ignores, in addition to its ``idle_groups``."""

    # ------------------------------------------------------------------ this machine

    def prepare(self, config: RunConfig, *, here: bool = True) -> RunConfig:
        """The configuration with every open question answered. Raises UserError for the first mistake.

        With ``here`` False it will run on another machine, so the cards of this one are not checked. Writes nothing.
        """
        return self.check(self.fitted(config, here=here))

    def fitted(self, config: RunConfig, *, here: bool = True) -> RunConfig:
        """The first part of ``prepare``: everything but the data and the weights."""
        from deit.machine import cards
        from deit.preflight.tracking_store import check_tracking

        config = self.placed(config)
        check_tracking(config)
        if here:
            config = dataclasses.replace(config, hardware=cards.resolve(config.hardware))
            cards.check(config.hardware)
        # Some rules depend on the device, which is known only now if it was `auto`.
        broken = self.problems(config)
        if here:
            broken += self.card_problems(config)
        if broken:
            raise UserError("\n".join(dict.fromkeys(broken)))
        return config

    def card_problems(self, config: RunConfig) -> list[str]:
        """A line for each reason why the cards of this machine cannot compute what is configured."""
        from deit.machine import cards

        found = card_rules.overflow_mode(config.hardware.target, os.environ)
        if "precision.level" not in unused(config, self.unused):
            found += card_rules.of_network(config, cards.generation(config.hardware))
        return found

    def placed(self, config: RunConfig) -> RunConfig:
        """The configuration with the part of the hardware that the task uses."""
        return config

    def check(self, config: RunConfig) -> RunConfig:
        """Check the data, the weights and whatever else the task needs; fill in what they determine."""
        from deit.preflight.recipe_data import with_data_of_recipe

        return with_data_of_recipe(config, trains=self.trains)

    # ------------------------------------------------------------------ what it does

    def start(self, config: RunConfig, typed: list[str]) -> int:
        """Run, or only show with dry_run; returns the exit code. ``typed`` are the overrides."""
        return self.dry_run(config, typed) if config.dry_run else self.run(config, typed)

    def dry_run(self, config: RunConfig, typed: list[str]) -> int:
        """Show what would be done, after all that a start checks: what it refuses is refused here, in the same words."""
        from deit.commands.dry_run import rehearse

        rehearse(lambda: self.ready(config), lambda ready: self.outline(ready or config, starts=ready is not None))
        return 0

    def ready(self, config: RunConfig) -> RunConfig:
        """The prepared configuration, after every check of a start. Raises UserError; nothing is written."""
        config = self.prepare(config)
        if self.is_trial:
            from deit.launching.run import check_start

            check_start(config)
        return config

    def outline(self, config: RunConfig, *, starts: bool) -> None:
        """Print what would be done; ``starts`` is false where ``config`` could not be prepared."""
        from deit.commands.dry_run import show

        show(self.placed(config), self.recipe, trains=self.trains, resumable=self.resumable, starts=starts)

    def recipe(self, config: RunConfig, planned: Plan | None) -> list[tuple[str, str]]:
        """The task's own rows of the dry run; ``planned`` are its steps, if it has some."""
        from deit.commands.dry_run import device, weights

        return [*device(config), *weights(config)]

    def run(self, config: RunConfig, typed: list[str]) -> int:
        """Run the task; returns the exit code. Raises UserError for a mistake, before anything is written."""
        from deit.launching.run import run_task

        return run_task(self.prepare(config), typed, self.work, unused(config, self.unused))

    def work(self, start: Start) -> int:
        """Work on a new, locked run directory until the run has ended; returns the exit code."""
        from deit.launching.supervisor import Supervisor

        return Supervisor(start, self).execute()

    def begin(self, run: RunDirectory, config: RunConfig) -> list[str]:
        """Lines to print when the worker has started, on the first machine."""
        return []

    def show(self, run: RunDirectory, results: dict[str, Any]) -> RenderableType:
        """The results of a run, shown at its end."""
        from deit.launching.display import lines_of

        return lines_of([(name, str(value)) for name, value in results.items()])
