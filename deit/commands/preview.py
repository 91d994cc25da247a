"""``task=preview``: pictures of the training batches, without a network."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.console import RenderableType

from deit.commands.task import Task
from deit.compose import rules
from deit.compose.unused_keys import Unused
from deit.config.schema import RunConfig
from deit.config.tasks import PreviewTask
from deit.launching.display import lines_of
from deit.preflight.placement import on_one_process
from deit.recipe.augmentation import summary
from deit.recipe.plan import Plan, ranks
from deit.runs.directory import RunDirectory


class Preview(Task[PreviewTask]):
    trains = True
    takes = ("run",)
    instead = "it uses no weights; give run= for the recipe of a run, or leave them out."
    obeys = (rules.data, rules.channels, rules.augment)

    def unused(self, found: Unused) -> None:
        found.all_but("model", "name", "img_size", "in_chans")
        found.all_but("hardware", "cards", "nodes", "jit")
        found.tracked_metrics()
        found.with_task("data.eval_batch_size", "weights_dir")
        found.add(self.of(found.config).ranks is not None, "while task.ranks is set", "hardware.cards", "hardware.nodes")

    def placed(self, config: RunConfig) -> RunConfig:
        """On one CPU process; ``task.ranks`` keeps the number of processes that share the training images."""
        task = dataclasses.replace(self.of(config), ranks=ranks(config))
        return dataclasses.replace(on_one_process(config), task=task)

    def recipe(self, config: RunConfig, planned: Plan | None) -> list[tuple[str, str]]:
        whose = "" if ranks(config) == 1 else f" of the first of {ranks(config)} processes"
        return [
            ("batch", f"{config.data.batch_size} images, those of the first step{whose}"),
            ("augment", summary(config.augment)),
            ("shown", f"at most {self.of(config).images} images"),
        ]

    def show(self, run: RunDirectory, results: dict[str, Any]) -> RenderableType:
        return lines_of([(what, f"{run}/{name}") for what, name in results.items()])


TASK = Preview()
