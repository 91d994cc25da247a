"""``task=preprocess`` and ``task=postprocess``: the two ends of an inference whose middle is done by other tools.

Before the device: each image as a ``.bin`` of what goes into the network. After it: accuracy and predictions from the ``.bin``
results. Between them stand the tools of MindSpore Lite (``converter_lite``, ``benchmark``) or of ATC. No MindSpore is needed.

    OUTPUT/inputs/00000012_cat_7.bin   float32 [3, S, S], normalised (uint8 [S, S, 3] for a network that normalises itself)
    OUTPUT/labels.csv                  input, image, label, class: what each file was made of
    OUTPUT/preprocess.json             classes, shape and preprocessing

    RESULTS/00000012_cat_7_0.bin       float32 [K], logits
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from deit.config.schema import RunConfig
from deit.config.tasks import PostprocessTask, PreprocessTask
from deit.console import console
from deit.data.transform import EvalTransform
from deit.errors import UserError
from deit.exports import description
from deit.exports.predictor import normalize, preprocessing_of
from deit.files import free_below, whole_folder
from deit.inference.accuracy import csv_text
from deit.inference.images import Images, find_images
from deit.inference.model_source import class_names, shown_names
from deit.inference.prediction import Answers, write_predictions
from deit.inference.reading import batches
from deit.inference.writing import check_output
from deit.launching.display import results_table
from deit.machine import signals
from deit.preflight import networks
from deit.progress_bar import progress_bar
from deit.text import byte_size

DESCRIPTION, LABELS, INPUTS = "preprocess.json", "labels.csv", "inputs"
FORMAT = 1
AT_ONCE = 64  # images read, results judged
RESULT = "_0.bin"  # what the ModelZoo's and Lite's programs append to the name of an input


def preprocess(config: RunConfig) -> int:
    """Make the folder ``task.output`` and say what is in it; returns the exit code: 0, or 128 and the number of a signal.

    The folder is there whole or not at all. Images that cannot be read are named and left out. Raises UserError, before it is
    written, where there are none, the folder is there already, the disk has no room for it, or task.model is no network.
    """
    config, output = _prepared(config)
    task = config.task
    assert isinstance(task, PreprocessTask)
    known = None if config.data.num_classes is None else class_names(task, config.data.num_classes)
    images = _images(config, known)
    num_classes = config.data.num_classes or len(images.folders or ())
    classes = shown_names(known, images.folders, num_classes)
    preprocessing = preprocessing_of(config, in_graph=_normalizes_itself(task))
    side = preprocessing.img_size
    shape, dtype = ([side, side, 3], "uint8") if preprocessing.in_graph else ([3, side, side], "float32")
    _check_room(output, len(images) * math.prod(shape) * np.dtype(dtype).itemsize)
    described = {
        "format": FORMAT,
        "model": config.model.name,
        "classes": classes,
        "labelled": images.labels is not None,
        "preprocessing": dataclasses.asdict(preprocessing),
        "shape": shape,
        "dtype": dtype,
    }
    rows: list[list[object]] = [["input", "image", "label", "class"]]
    left_out = 0
    try:
        with signals.noted() as got, whole_folder(output) as folder, progress_bar("images") as bar:
            (folder / INPUTS).mkdir()
            for batch in batches(images, EvalTransform(config), AT_ONCE, config.data.workers, config.data.max_pixels):
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
                raise UserError(f"task.input={task.input}: not one of {len(images)} images could be read.", exit_code=1)
            (folder / LABELS).write_text(csv_text(rows), encoding="utf-8")
            (folder / DESCRIPTION).write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"task.output={task.output}: could not be written ({error.strerror}).", exit_code=1) from None
    except KeyboardInterrupt:
        print(f"stopped by {signal.Signals(got[0]).name}; nothing was written", file=sys.stderr)
        return 128 + got[0]
    kind = f"{dtype} {shape}"
    print(f"{output / INPUTS}: {len(rows) - 1:,} inputs, {kind} each" + (f"; {left_out} images left out" if left_out else ""))
    if images.remark is not None:
        print(images.remark)
    print(f"{output / LABELS}: which image and class each is of")
    return 0


def postprocess(config: RunConfig, overrides: list[str]) -> int:
    """Judge the results, write what a prediction writes into a run directory, and show it; returns the exit code, 0.

    Results that are missing are named and left out. Raises UserError where the folders are not those of a preprocessing and of
    its results; nothing is written then.
    """
    from deit.runs.create import create

    task = config.task
    assert isinstance(task, PostprocessTask)
    described, images, inputs = _read(task)
    results = _results(task, inputs, len(described["classes"]))
    if task.output is not None:
        task = dataclasses.replace(task, output=str(check_output(task.output, "task.output")))
    name = described["model"] if config.name == config.model.name else config.name
    run = create(dataclasses.replace(config, task=task, name=name), overrides)
    try:
        found = write_predictions(
            _answers(inputs, results, len(described["classes"])),
            images,
            described["classes"],
            config,
            output=Path(task.output) if task.output is not None else run.path / "predictions.jsonl",
            folder=run.path,
            topk=task.topk,
        )
    except UserError:
        shutil.rmtree(run.path)
        raise
    console().print(results_table(run, found, task.name))
    console().print(f"the run directory is {run}")
    return 0


def check(config: RunConfig) -> None:
    """Raise UserError as the tasks themselves would, before they write anything."""
    if isinstance(config.task, PostprocessTask):
        described, _, inputs = _read(config.task)
        _results(config.task, inputs, len(described["classes"]))
        if config.task.output is not None:
            check_output(config.task.output, "task.output")
    else:
        config, _ = _prepared(config)
        assert isinstance(config.task, PreprocessTask)
        known = None if config.data.num_classes is None else class_names(config.task, config.data.num_classes)
        _images(config, known)


def _prepared(config: RunConfig) -> tuple[RunConfig, Path]:
    config = networks.resolved(config)
    assert isinstance(config.task, PreprocessTask)
    output = Path(config.task.output)
    if output.exists():
        raise UserError(f"task.output is {config.task.output!r}, which exists already; remove it, or give another name.")
    if not output.absolute().parent.is_dir():
        raise UserError(f"task.output is {config.task.output!r}, but there is no folder {output.parent}; make it first.")
    return config, output


def _images(config: RunConfig, known: list[str] | None) -> Images:
    """The images; a number of classes that is not known is that of the class folders."""
    assert isinstance(config.task, PreprocessTask)
    classes = config.data.num_classes
    if classes is not None:
        return find_images(config.task.input, "task.input", known, classes)
    folders = sum(path.is_dir() and not path.name.startswith(".") for path in Path(config.task.input).glob("*"))
    found = find_images(config.task.input, "task.input", None, folders)
    if found.labels is None:
        raise UserError("data.num_classes is null, and task.input is no tree of class folders to count; give data.num_classes.")
    return found


def _check_room(output: Path, needed: int) -> None:
    """ImageNet's validation images at 224 pixels are 30 GB."""
    free = free_below(output.absolute())
    if free < needed:
        raise UserError(
            f"task.output is {str(output)!r}: {byte_size(free)} are free there, but the inputs need {byte_size(needed)}; "
            "make room, or give another folder."
        )


def _normalizes_itself(task: PreprocessTask) -> bool:
    """Whether the network is an exported one that takes pixels."""
    if task.model is None or not Path(task.model).is_dir():
        return False
    return description.read(Path(task.model), f"task.model={task.model}").preprocessing.in_graph


def _input_name(number: int, image: str) -> str:
    """A name that sorts like the image, is no other's, and can be given to any shell."""
    stem = Path(image).with_suffix("")
    told = "_".join(re.sub(r"[^A-Za-z0-9._-]+", "-", part) for part in stem.parts[-2:])
    return f"{number:08d}_{told[-100:]}.bin"


def _read(task: PostprocessTask) -> tuple[dict[str, Any], Images, list[str]]:
    """What task=preprocess wrote: its description, the images, and the names of their inputs."""
    folder = Path(task.input)
    named = f"task.input={task.input}"
    try:
        described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        with open(folder / LABELS, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        if described["format"] != FORMAT:
            raise UserError(f"{named}: has format {described['format']}, this program reads format {FORMAT}.")
        labels = np.array([int(row["label"]) for row in rows], np.int64) if described["labelled"] else None
        names, inputs = [row["image"] for row in rows], [row["input"] for row in rows]
        classes = [str(name) for name in described["classes"]]
        if not rows or (labels is not None and not ((labels >= 0) & (labels < len(classes))).all()):
            raise ValueError("labels.csv has no rows, or labels beyond the classes")
    except FileNotFoundError as error:
        raise UserError(f"{named}: no folder of task=preprocess, it holds no {Path(error.filename).name}.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{named}: damaged ({error}).") from None
    return described | {"classes": classes}, Images(names, names, labels), inputs


def _results(task: PostprocessTask, inputs: list[str], classes: int) -> Path:
    """The folder of results. Raises UserError where it holds none of these inputs, or one of another size."""
    folder = Path(task.results)
    if not folder.is_dir():
        raise UserError(f"task.results={task.results}: there is no such folder.")
    sizes = {name: path.stat().st_size for name in inputs if (path := folder / _result_name(name)).is_file()}
    if not sizes:
        raise UserError(
            f"task.results={task.results}: holds no {_result_name(inputs[0])}, nor any other result of the {len(inputs)} "
            f"inputs in {task.input}; the result of NAME.bin is NAME{RESULT}."
        )
    wrong = next((name for name, size in sizes.items() if size != 4 * classes), None)
    if wrong is not None:
        raise UserError(
            f"task.results: {folder / _result_name(wrong)} has {sizes[wrong]} bytes, but {classes} logits in float32 are "
            f"{4 * classes}."
        )
    return folder


def _answers(inputs: list[str], folder: Path, classes: int) -> Iterator[Answers]:
    for start in range(0, len(inputs), AT_ONCE):
        rows, logits, missing = [], [], {}
        for row, name in enumerate(inputs[start : start + AT_ONCE], start):
            path = folder / _result_name(name)
            try:
                values = np.fromfile(path, np.float32)
            except OSError as error:
                missing[row] = f"{path}: no result ({error.strerror})."
                continue
            rows.append(row)
            logits.append(values)
        yield Answers(rows, np.stack(logits) if logits else np.zeros((0, classes), np.float32), missing)


def _result_name(name: str) -> str:
    return Path(name).stem + RESULT
