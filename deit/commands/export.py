"""``task=export``: a network for other programs from the weights of a run or a checkpoint, compared with the original."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Any

from rich.console import RenderableType

from deit.commands.dry_run import hardware
from deit.commands.of_weights import OfWeights, unused_for_reading
from deit.compose import rules
from deit.compose.unused_keys import Unused
from deit.config.schema import RunConfig
from deit.config.tasks import ExportTask
from deit.errors import UserError
from deit.exports.origin import check_fit, find_origin, output_folder
from deit.exports.predictor import EXTRA
from deit.launching.display import lines_of
from deit.machine import cards
from deit.preflight.placement import on_one_process
from deit.preflight.recipe_data import with_data_of_recipe
from deit.recipe.plan import Plan
from deit.runs.directory import RunDirectory, shown
from deit.scores import LABELS


class Export(OfWeights[ExportTask]):
    def rules(self, config: RunConfig) -> list[str]:
        task, ids = self.of(config), config.hardware.card_ids
        found = rules.data(config) + rules.model(config) + rules.channels(config)  # it has its own device and precision
        if task.format == "air" and task.batch is None:
            found.append("task.batch is null, but task.format=air has a batch of one size only; give task.batch=NUMBER.")
        if task.format == "air" and ids is not None and len(ids) != 1:
            found.append(f"hardware.card_ids is {ids}, but task.format=air needs one card; name one.")
        return found

    def unused(self, found: Unused) -> None:
        task = self.of(found.config)
        unused_for_reading(found)
        of_card = ["card_ids"] if task.format == "air" else []
        found.all_but("hardware", "hang_timeout", "grace_period", "max_restarts", *of_card)
        found.training_data()
        plain = task.format == "safetensors"
        found.add(plain, "with task.format=safetensors, which has no graph", "task.batch", "task.preprocess_in_graph")
        found.add(task.format == "air", "with task.format=air, which cannot be read back", "task.images")

    def prepare(self, config: RunConfig, *, here: bool = True) -> RunConfig:
        _check_tools(self.of(config))
        return super().prepare(config, here=here)

    def placed(self, config: RunConfig) -> RunConfig:
        """On one CPU process, or AIR on one Ascend card, with the attention that every device supports."""
        config = on_one_process(config, on_card=self.of(config).format == "air")
        return dataclasses.replace(
            config,
            hardware=dataclasses.replace(config.hardware, jit=True, jit_level="auto"),
            model=dataclasses.replace(config.model, attention="plain"),
        )

    def check(self, config: RunConfig) -> RunConfig:
        """Compare the weights with the model by their header, and choose the output folder."""
        origin = find_origin(config)
        config = with_data_of_recipe(config, weights=(origin.key, {origin.weights: origin.file}))
        if config.data.num_classes is None:
            return config  # a dry run without the data
        check_fit(config, origin)
        output = str(output_folder(config, origin))
        if config.checkpoint is not None:
            config = dataclasses.replace(config, checkpoint=str(origin.file))
        return dataclasses.replace(config, task=dataclasses.replace(self.of(config), weights=origin.weights, output=output))

    def recipe(self, config: RunConfig, planned: Plan | None) -> list[tuple[str, str]]:
        task = self.of(config)
        of = f"run {config.run} ({task.which})" if config.run else f"checkpoint {config.checkpoint}"
        chosen = {"auto": "the better of raw and EMA", "ema": "EMA", "raw": "raw"}[task.weights]
        takes = "pixels, normalised in the graph" if task.preprocess_in_graph else "normalised images"
        size = "a batch of any size" if task.batch is None else f"batches of {task.batch}"
        compared = "not compared: AIR cannot be read back" if task.format == "air" else f"{task.images} validation images"
        return [
            hardware(config),
            ("weights", f"{chosen}, of {of}"),
            ("format", f"{task.format}, {task.precision}, {size} of {takes}"),
            ("output", task.output or f"exports/{task.format}_<weights> of the run"),
            *([("calibrated on", "all validation images, by one temperature")] if task.calibrate else []),
            ("compared on", compared),
        ]

    def show(self, run: RunDirectory, results: dict[str, Any]) -> RenderableType:
        return lines_of(_rows(results))


def _check_tools(task: ExportTask) -> None:
    """Whether this machine can write the format at all."""
    if task.format == "air" and not cards.card_ids("ascend"):
        raise UserError(
            "task.format=air: MindSpore writes AIR only on a machine with an Ascend card, and this one has none. Run the same "
            "command there, on the same run directory; or use task.format=mindir, which MindSpore Lite reads too."
        )
    missing = [name for name in ("onnx", "onnxruntime") if task.format == "onnx" and importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"task.format=onnx needs {' and '.join(missing)}, not installed here: {EXTRA}")


def _rows(results: dict[str, Any]) -> list[tuple[str, str]]:
    made = results["description"]
    taken, run, metrics, checked = (made[key] for key in ("input", "run", "metrics", "verification"))
    weights = f"{LABELS['val_ema']} (moving average)" if made["weights"] == "ema" else LABELS["val"]
    weights += f" of {shown(run['directory'])}, step {run['step']}" if run else ""
    weights += f", top-1 {metrics['top1']:.2f} % on its validation images" if metrics else ""
    size = ", ".join("any" if side is None else str(side) for side in taken["shape"])
    colours = "RGB" if made["model"]["in_chans"] == 3 else "grey"
    takes = f"pixels, {colours}; normalised in the graph" if made["preprocessing"]["in_graph"] else "normalised by the caller"
    rows = [
        ("file", f"{shown(results['folder'])}/{made['file']}"),
        ("", f"{made['bytes']:,} bytes, {made['precision']}; described in model.json next to it"),
        ("weights", weights),
        ("takes", f"{taken['name']}: {taken['dtype']} [{size}] {taken['layout']}, {takes}"),
        ("gives", f"{made['output']['name']}: {made['num_classes']} classes"),
    ]
    rows += [("resized", f"pos_embed {results['resized']}")] if results["resized"] else []
    if found := made["calibration"]:
        loss = f"loss {found['nll_before']:.4f} -> {found['nll_after']:.4f}"
        ece = f"ECE {found['ece_before']:.2f} -> {found['ece_after']:.2f} %"
        told = f"temperature {found['temperature']:.4f}, from {found['images']} validation images: {loss}, {ece}"
        rows.append(("calibrated", told))
    if checked:
        same = f"largest difference {checked['max_difference']:.1e} (allowed {checked['tolerance']:.1e})"
        agree = f"top-1 agrees on {100 * checked['top1_agreement']:.1f} %"
        rows.append(("verified", f"against the checkpoint on {checked['images']} validation images: {same}, {agree}"))
    else:
        rows.append(("verified", "no: AIR cannot be read back here; compare the output of ATC on the device"))
    return rows


TASK = Export()
