"""``task=convert``: weights of a run, a checkpoint or a file as one ``.safetensors`` file that describes itself, or as a
``.ckpt`` for other MindSpore programs.

Names change, numbers do not. It starts no worker, needs no MindSpore, evaluates nothing and creates no run directory.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from safetensors.numpy import save

from deit.commands.of_weights import OfWeights, unused_for_reading
from deit.compose import rules
from deit.compose.unused_keys import Unused
from deit.config.schema import RunConfig
from deit.config.tasks import ConvertTask
from deit.console import console
from deit.errors import UserError
from deit.files import whole_file
from deit.models.shapes import parameter_count, parameter_shapes
from deit.runs.directory import shown
from deit.runs.task_output import new_file, writing
from deit.weights.choice import Choice, choose
from deit.weights.find import files_to_load
from deit.weights.mindspore_ckpt import write_ckpt
from deit.weights.naming import to_mindspore, to_timm
from deit.weights.read import description, names_of, read_weights
from deit.weights.whole import check_classifier

CKPT = ".ckpt"  # MindSpore's format, which has no room for metadata


class Convert(OfWeights[ConvertTask]):
    is_trial = False
    obeys = (rules.model,)  # it uses neither data nor device

    def unused(self, found: Unused) -> None:
        unused_for_reading(found)
        found.with_task("name")
        found.add(found.config.run is None, "without run=", "runs_dir")

    def prepare(self, config: RunConfig, *, here: bool = True) -> RunConfig:
        _chosen(config, self.of(config))
        return config

    def outline(self, config: RunConfig, *, starts: bool) -> None:
        task = self.of(config)
        source = f"run={config.run}" if config.run is not None else f"checkpoint={config.checkpoint} as {config.model.name}"
        console().print(f"would write {task.output} with the names of {task.naming} from {source}")

    def run(self, config: RunConfig, typed: list[str]) -> int:
        """Write the file and print what it contains. Returns the exit code, 0.

        Raises UserError, before anything is written, if there is nothing to convert, if it does not fit the model, or if the
        file already exists.
        """
        task = self.of(config)
        output, choice, classes = _chosen(config, task)
        source = choice.file
        weights = to_mindspore(read_weights(source, choice.weights))
        # In the order of timm's state_dict.
        weights = {name: weights[name] for name in parameter_shapes(config.model, classes)}
        model = dataclasses.asdict(config.model.network())
        weights = weights if task.naming == "mindspore" else to_timm(weights)
        if output.suffix == CKPT:
            content = write_ckpt(weights)
        else:
            content = save(weights, description(model, classes, task.naming, names_of(source)))
        with writing(output), whole_file(output) as file:
            file.write(content)
        count = parameter_count(config.model, classes)
        console().print(
            f"{output}: {count:,} parameters of {config.model.name} for {classes} classes, names of {task.naming}, from "
            f"{shown(source)}"
        )
        return 0


def _chosen(config: RunConfig, task: ConvertTask) -> tuple[Path, Choice, int]:
    """The file to write, the weights to convert and their number of classes, after comparing these with the model.

    Raises UserError as ``Convert.run`` does.
    """
    output = new_file(task.output, [".safetensors", CKPT])
    if output.suffix == CKPT and task.naming != "mindspore":
        raise UserError(f"task.output={output}: a {CKPT} file needs task.naming=mindspore; or write a .safetensors file.")
    key, files = files_to_load(config, task.which)
    choice = choose(files, task.weights, f"{key}={getattr(config, key)}")
    return output, choice, check_classifier(choice.file, config.model, key, choice.weights)


TASK = Convert()
