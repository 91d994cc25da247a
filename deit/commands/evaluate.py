"""``task=evaluate``: top-1 and top-5 of the weights of a run or a checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from deit.commands.of_weights import OfWeights
from deit.compose.unused_keys import Unused
from deit.config.schema import RunConfig, size_text
from deit.config.tasks import EvaluateTask
from deit.launching.accuracy_table import accuracy_table
from deit.preflight.recipe_data import with_data_of_recipe
from deit.runs.directory import RunDirectory
from deit.weights.choice import LABELS
from deit.weights.find import files_to_load
from deit.weights.whole import require_exact

VIEWS = {"flip": ", mean of each image and its mirror image", "five_crop": ", mean of five crops of each image"}


class Evaluate(OfWeights[EvaluateTask]):
    def rules(self, config: RunConfig) -> list[str]:
        found = super().rules(config)
        size, crop_pct = config.model.image_size, config.data.crop_pct
        if self.of(config).tta == "five_crop" and all(int(side / crop_pct) == side for side in size):
            found.append(
                f"task.tta is five_crop, but data.crop_pct={crop_pct:g} resizes images to {size_text(size)} pixels, the size "
                "of a crop; give a smaller data.crop_pct, such as 0.875, or task.tta=flip."
            )
        return found

    def unused(self, found: Unused) -> None:
        config = found.config
        found.training_data()
        found.trained_model()
        found.loss_scale()
        found.with_task("tracking.log_every")
        found.add(config.run is None, "without run=", "task.which")
        found.add(not config.model.distilled, "without model.distilled", "task.heads")

    def check(self, config: RunConfig) -> RunConfig:
        """Compare the weights with the model by their headers."""
        key, files = files_to_load(config, self.of(config).which)
        config = with_data_of_recipe(config, weights=(key, files))
        if config.data.num_classes is None:
            return config  # a dry run without the data
        if config.checkpoint is not None:
            found = files["val"]
            folder = Path(config.checkpoint).is_dir()
            config = dataclasses.replace(config, checkpoint=str(found.parent if folder else found))
        for prefix, file in files.items():
            require_exact(file, config.model, config.data.num_classes or 0, key, LABELS[prefix])
        return config

    def show(self, run: RunDirectory, results: dict[str, Any]) -> RenderableType:
        teacher = results.get("teacher")
        rows = {prefix: entry for prefix, entry in results.items() if prefix != "teacher"}
        calibrated = all("ece" in entry for entry in rows.values())  # an older evaluation has none
        views = next((VIEWS[entry["tta"]] for entry in rows.values() if "tta" in entry), "")
        return accuracy_table(run, f"results{views}", rows, "images", teacher, calibration=calibrated)


TASK = Evaluate()
