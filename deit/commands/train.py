"""``task=train``: a new training, or with ``resume=`` one from its last checkpoint."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from deit.commands.task import Task
from deit.compose import auto_keys, rules
from deit.config.schema import PROFILE_WARMUP, RunConfig
from deit.config.tasks import TrainTask
from deit.errors import UserError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from deit.launching.run import Start
    from deit.recipe.plan import Plan
    from deit.runs.directory import RunDirectory


class Train(Task[TrainTask]):
    trains = True
    resumable = True
    takes = ("resume",)
    instead = "run and checkpoint are for an evaluation; give task=evaluate, or resume=."
    obeys = (*Task.obeys, rules.augment, rules.freeze, rules.balance, rules.training_split)
    obeys += (rules.loss, rules.distill, rules.schedule, rules.objectives)

    def check(self, config: RunConfig) -> RunConfig:
        from deit.preflight.disk_space import check_space
        from deit.preflight.pretrained import begins_pretrained, with_pretrained
        from deit.preflight.teacher_weights import resolve_teacher
        from deit.preflight.unfinished import check_unfinished

        config = super().check(config)
        if config.data.num_classes is None:
            return config  # a dry run, whose data is not here
        if begins_pretrained(config):
            config = with_pretrained(config)
        if config.distill.type != "none":
            config = dataclasses.replace(config, distill=resolve_teacher(config))
        if config.resume is not None:
            check_unfinished(config)
        check_space(config)
        _check_profile(config)
        return config

    def work(self, start: Start) -> int:
        from deit.data.datasets import record_split
        from deit.runs import status

        run = start.run
        if start.machines.first and not run.split.is_file():
            with status.failure_recorded(run, status.read(run)):
                try:
                    record_split(run.split, start.config.data)
                except OSError as error:
                    raise UserError(f"{run.split}: cannot be written ({error.strerror}).", exit_code=1) from None
        return super().work(start)

    def recipe(self, config: RunConfig, planned: Plan | None) -> list[tuple[str, str]]:
        from deit.commands.dry_run import device, training

        return [*device(config), *training(config, planned)]

    def begin(self, run: RunDirectory, config: RunConfig) -> list[str]:
        from deit.commands.dry_run import trained_text
        from deit.preflight.pretrained import begins_pretrained, pretrained_fit
        from deit.recipe.lr_curve import draw

        draw(config, run.lr_curve)  # a resumed run may have another schedule
        count = config.hardware.profile
        recorded = [] if count is None else [f"records {count} steps after {PROFILE_WARMUP} with the profiler: {run.profile}"]
        if config.model.freeze != "none":
            recorded.append(f"trains {trained_text(config)}")
        if chosen := auto_keys.chosen():
            values = " ".join(auto_keys.typed(key, choice) for key, choice in chosen.items())
            recorded.append(f"chosen for this data and machine (dry_run=true says why): {values}")
        if not begins_pretrained(config):
            return recorded
        taken = [f"  {line}" for line in pretrained_fit(config).lines()]
        every = f"  every name: {run.pretrained.name} in the run directory"
        return [*recorded, f"weights of {config.model.pretrained}", *taken, every]

    def show(self, run: RunDirectory, results: dict[str, Any]) -> RenderableType:
        from deit.launching.accuracy_table import accuracy_table

        title, early = "best results", results.get("stopped_early")
        if early is not None:
            title += f"; stopped early, {early['monitor']} has not improved for {early['epochs']} epochs"
        table = accuracy_table(run, title, results["best"], "epoch", results.get("teacher"))
        if not run.report.exists():
            return table
        from rich.console import Group

        return Group(table, f"{run}/{run.report.name} shows the curves, the classes and the mistakes")


def _check_profile(config: RunConfig) -> None:
    """Raise UserError where a new training is over before the steps that it should record."""
    from deit.recipe.plan import known_train_images, plan

    images = known_train_images(config)
    if config.hardware.profile is None or config.resume is not None or images is None:
        return
    needed, total = PROFILE_WARMUP + config.hardware.profile, plan(config, images).total_steps
    if total < needed:
        raise UserError(
            f"hardware.profile={config.hardware.profile} records the steps {PROFILE_WARMUP + 1} to {needed}, but the training "
            f"has {total}. Give fewer, or a longer training."
        )


TASK = Train()
