"""``task=preprocess``: each image as a ``.bin`` input of the network, for tools that run it on a device.

The tools of MindSpore Lite (``converter_lite``, ``benchmark``) or ATC come between this and ``task=postprocess``. It needs no
MindSpore.

    OUTPUT/inputs/00000012_cat_7.bin   float32 [C, H, W], normalised (uint8 [H, W, C] for a network that normalises itself)
    OUTPUT/labels.csv                  input, image, label, class: the source of each file
    OUTPUT/preprocess.json             classes, shape and preprocessing
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deit.commands.inference import Inference
from deit.compose import rules
from deit.config.schema import RunConfig
from deit.config.tasks import PreprocessTask
from deit.console import console
from deit.errors import UserError
from deit.exports import description
from deit.exports.description import Preprocessing
from deit.exports.predictor import normalize, preprocessing_of
from deit.files import whole_folder
from deit.inference.accuracy import csv_text
from deit.inference.images import Images, find_images
from deit.inference.model_source import class_names, shown_names
from deit.inference.reading import batches
from deit.machine import signals
from deit.preflight import networks
from deit.progress_bar import progress_bar
from deit.runs.outcome import interrupted
from deit.runs.task_output import check_room, new_folder, writing

DESCRIPTION, LABELS, INPUTS = "preprocess.json", "labels.csv", "inputs"
FORMAT = 1
AT_ONCE = 64  # images read at a time


class Preprocess(Inference[PreprocessTask]):
    does = "write the inputs of"
    is_trial = False
    needs_network = False
    in_batches = False

    def rules(self, config: RunConfig) -> list[str]:
        return rules.model(config)

    def prepare(self, config: RunConfig, *, here: bool = True) -> RunConfig:
        _planned(config, self.of(config))
        return config

    def run(self, config: RunConfig, typed: list[str]) -> int:
        """Create the folder ``task.output`` and print its content; returns the exit code: 0, or 128 + the number of a signal.

        The folder is complete or does not exist. Unreadable images are named and left out. Raises UserError, before it is
        written, if there are no images, the folder exists, the disk is too small, or task.model is not a network.
        """
        plan = _planned(config, self.of(config))
        config, task, images, classes, preprocessing = plan
        output = Path(task.output)
        described = {
            "format": FORMAT,
            "model": config.model.name,
            "classes": classes,
            "labelled": images.labels is not None,
            "preprocessing": dataclasses.asdict(preprocessing),
            "shape": plan.shape,
            "dtype": plan.dtype,
        }
        rows: list[list[object]] = [["input", "image", "label", "class"]]
        left_out = 0
        try:
            with signals.noted() as got, writing(output), whole_folder(output) as folder, progress_bar("images") as bar:
                (folder / INPUTS).mkdir()
                for batch in batches(images, config, AT_ONCE):
                    inputs = batch.images if preprocessing.in_graph else normalize(batch.images, preprocessing)
                    for row, array in zip(batch.rows, inputs, strict=False):
                        name = _input_name(row, images.names[row])
                        array.tofile(folder / INPUTS / name)
                        label = None if images.labels is None else int(images.labels[row])
                        rows.append([name, images.names[row], *(("", "") if label is None else (label, classes[label]))])
                    for reason in batch.unreadable.values():
                        console(stderr=True).print(f"left out: {reason}")
                    left_out += len(batch.unreadable)
                    bar.set(len(rows) - 1 + left_out, len(images))
                    if got:
                        raise KeyboardInterrupt
                if len(rows) == 1:
                    raise UserError(f"task.input={task.input}: none of the {len(images)} images could be read.", exit_code=1)
                (folder / LABELS).write_text(csv_text(rows), encoding="utf-8")
                text = json.dumps(described, indent=1, ensure_ascii=False) + "\n"
                (folder / DESCRIPTION).write_text(text, encoding="utf-8")
        except KeyboardInterrupt:
            outcome = interrupted(got[0])
            console(stderr=True).print(f"{outcome.message}; nothing was written")
            return outcome.exit_code
        without = f"; {left_out} images left out" if left_out else ""
        console().print(f"{output / INPUTS}: {len(rows) - 1:,} inputs, {plan.dtype} {plan.shape} each{without}")
        if images.remark is not None:
            console().print(images.remark)
        console().print(f"{output / LABELS}: the image and class of each")
        return 0


class _Planned(NamedTuple):
    config: RunConfig
    task: PreprocessTask
    images: Images
    classes: list[str]
    preprocessing: Preprocessing

    @property
    def shape(self) -> list[int]:
        size, channels = self.preprocessing.size, self.preprocessing.channels
        return [*size, channels] if self.preprocessing.in_graph else [channels, *size]

    @property
    def dtype(self) -> str:
        return "uint8" if self.preprocessing.in_graph else "float32"


def _planned(config: RunConfig, task: PreprocessTask) -> _Planned:
    """What is to be written, after all that can be wrong with it was looked at. Raises UserError as ``Preprocess.run`` does."""
    config, task = networks.with_network(config, task)
    config = networks.with_images(config, task)
    task = dataclasses.replace(task, output=str(new_folder(task.output)))
    known = None if config.data.num_classes is None else class_names(task, config.data.num_classes)
    images = _images(config, task, known)
    classes = shown_names(known, images.folders, config.data.num_classes or len(images.folders or ()))
    found = _Planned(config, task, images, classes, preprocessing_of(config, in_graph=_normalizes_itself(task)))
    check_room(Path(task.output), len(images) * math.prod(found.shape) * np.dtype(found.dtype).itemsize, "the inputs")
    return found


def _images(config: RunConfig, task: PreprocessTask, known: list[str] | None) -> Images:
    """The images; an unknown number of classes is that of the class folders."""
    classes = config.data.num_classes
    if classes is not None:
        return find_images(task.input, "task.input", known, classes)
    folders = sum(path.is_dir() and not path.name.startswith(".") for path in Path(task.input).glob("*"))
    found = find_images(task.input, "task.input", None, folders)
    if found.labels is None:
        raise UserError("data.num_classes is null, and task.input has no class folders to count; give data.num_classes.")
    return found


def _normalizes_itself(task: PreprocessTask) -> bool:
    """Whether the network is an export that takes pixels."""
    if task.model is None or not Path(task.model).is_dir():
        return False
    return description.read(Path(task.model), f"task.model={task.model}").preprocessing.in_graph


def _input_name(number: int, image: str) -> str:
    """A unique name that sorts like the image and needs no quotes in a shell."""
    stem = Path(image).with_suffix("")
    told = "_".join(re.sub(r"[^A-Za-z0-9._-]+", "-", part) for part in stem.parts[-2:])
    return f"{number:08d}_{told[-100:]}.bin"


TASK = Preprocess()
