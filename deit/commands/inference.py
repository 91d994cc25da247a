"""Common parts of the tasks that apply a trained network to given images: predict, explain, preprocess."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from rich.cells import cell_len
from rich.console import RenderableType

from deit import scores
from deit.commands.task import Task
from deit.compose import rules
from deit.compose.unused_keys import Unused
from deit.config.schema import PREPROCESSING_KEYS, RunConfig
from deit.config.tasks import InferenceTask
from deit.console import console
from deit.inference.model_source import export_folder
from deit.launching.display import lines_of
from deit.lookup.base_run import References
from deit.preflight import networks
from deit.preflight.placement import on_one_card
from deit.runs.directory import RunDirectory, shown

NAMED = 10  # maximum number of unreadable images that are printed
Keys = TypeVar("Keys", bound=InferenceTask)


class Inference(Task[Keys]):
    does = ""  # the verb of the dry run, with task.input as object
    needs_network = True
    in_batches = True  # of data.eval_batch_size

    def refuses(self, named: References) -> list[str]:
        given = {"task.model": named.model} if named.model is not None else {}
        given |= named.given
        typed = ", ".join(f"{key}={value}" for key, value in given.items())
        if named.resume is not None:
            return [f"{typed} with task={self.name}: resume continues a training; give task.model= instead."]
        if len(given) > 1 or (not given and self.needs_network):
            found = f"several are given ({typed})" if given else "it is null"
            return [
                f"task={self.name} needs task.model (a folder of task=export, a run directory, `last`, an MLflow run id, a "
                f"checkpoint folder, a file of weights), or run or checkpoint in its place, but {found}."
            ]
        return []

    def rules(self, config: RunConfig) -> list[str]:
        # With task.model the channels are those of its network, which is not known yet.
        known = rules.channels(config) if self.of(config).model is None else []
        return rules.model(config) + known + rules.hardware(config) + rules.precision(config)

    def unused(self, found: Unused) -> None:
        config, task = found.config, self.of(found.config)
        taken = ("num_classes", "workers", "max_pixels", *PREPROCESSING_KEYS)
        found.all_but("data", *taken, *(["eval_batch_size"] if self.in_batches else []))
        found.tracked_metrics()
        found.several_cards()
        found.trained_model()
        found.loss_scale()
        if not self.needs_network:
            found.with_task("model.attention", "task.weights", "task.which", "runs_dir")
        found.add(config.run is None, "unless task.model or run is a run", "task.which")
        if task.model is None:
            return
        told = "while task.model says it"
        found.add(True, told, *(f"model.{key}" for key in vars(config.model)), "data.num_classes")
        folder = export_folder(task.model)
        if folder is not None:
            found.add(True, told, "task.weights", *(f"precision.{key}" for key in vars(config.precision)))
            found.add(True, told, *(f"data.{key}" for key in PREPROCESSING_KEYS))
        if folder is not None and (Path(task.model).suffix == ".onnx" or (folder / "model.onnx").is_file()):
            onnx = "with an ONNX file, which onnxruntime runs on the CPU"
            found.add(True, onnx, *(f"hardware.{key}" for key in vars(config.hardware)))

    def placed(self, config: RunConfig) -> RunConfig:
        model = self.of(config).model
        return on_one_card(config, [] if model is None else [model])

    def check(self, config: RunConfig) -> RunConfig:
        return networks.resolved(config, self.of(config))

    def outline(self, config: RunConfig, *, starts: bool) -> None:
        task = self.of(config)
        given = {"task.model": task.model, "run": config.run, "checkpoint": config.checkpoint}
        of = "".join(f" with {key}={value}" for key, value in given.items() if value is not None)
        console().print(f"would {self.does} {task.input}{of}")

    def show(self, run: RunDirectory, results: dict[str, Any]) -> RenderableType:
        return shown_results(run, results)


def shown_results(run: RunDirectory, results: dict[str, Any]) -> RenderableType:
    """The results on given images: predictions and their accuracy, or pictures."""
    rows = [("attention", f"{run}/{name}") for name in results.get("pictures", ())]
    if "images" in results:
        rows.append(("images", f"{results['images']:,}"))
    said = results.get("said", {})
    width = max((cell_len(shown(name)) for name in said), default=0)
    rows += [("", f"{shown(name)}{' ' * (width - cell_len(shown(name)))}  {what}") for name, what in said.items()]
    if said and len(said) < results["images"]:
        rows.append(("", f"... and {results['images'] - len(said):,} more in the file below"))
    unreadable = results["unreadable"]
    rows += [("left out", reason) for reason in unreadable[:NAMED]]
    if len(unreadable) > NAMED:
        rows.append(("left out", f"and {len(unreadable) - NAMED:,} more"))
    rows += [(scores.label(name), f"{results[name]:.3f} %") for name in scores.PERCENT if name in results]
    if "remark" in results:
        rows.append(("accuracy", results["remark"]))
    if results.get("warm"):
        speed = f"{results['ms_per_image']:.2f} ms per image, {results['images_per_s']:,.0f} images/s including reading"
        rows.append(("speed", speed))
    elif "ms_per_image" in results:
        seconds = results["ms_per_image"] * results["images"] / 1000
        rows.append(("speed", f"not measured: one batch, {seconds:.1f} s including compilation"))
    if "predictions" in results:
        rows.append(("predictions", shown(results["predictions"])))
    if "sheet" in results:
        rows.append(("picture", f"{run}/{results['sheet']}"))
    elif "no_sheet" in results:
        rows.append(("picture", f"could not be drawn ({results['no_sheet']})"))
    rows += [("accuracy" if number == 0 else "", f"{run}/{name}") for number, name in enumerate(results.get("accuracy", ()))]
    return lines_of(rows)
