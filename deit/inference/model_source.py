"""The network of a prediction: an exported folder or a weight file, its class names, and its predictor.

The launcher has found it: ``task.model`` of a frozen configuration is the path of a folder of ``task=export`` or of a weight
file, and model and data.background, crop_pct, interpolation, mean and std belong to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deit.config.class_names import difference, positions, same
from deit.config.schema import RunConfig
from deit.config.tasks import InferenceTask
from deit.errors import UserError
from deit.exports import description
from deit.inference.images import Images, find_images, spelled
from deit.runs.directory import RunDirectory
from deit.weights.read import names_of

if TYPE_CHECKING:
    from deit.exports.predictor import Predictor

EXPORTED = tuple(f".{name}" for name in description.EXPORT_FORMATS if name != "safetensors")


def export_folder(text: str) -> Path | None:
    """The folder of ``task=export`` that ``text`` names by itself or by its file; None for anything else.

    A file of an exported format (.mindir, .onnx, .air) always counts as part of an export.
    """
    path = Path(text)
    if (path / description.FILE).is_file():
        return path.resolve()
    beside = path.is_file() and (path.parent / description.FILE).is_file()
    return path.resolve().parent if path.suffix in EXPORTED or beside else None


def run_of_export(text: str) -> RunDirectory | None:
    """The run whose weights were exported; None if ``text`` is not an export, or the run is not here."""
    folder = export_folder(text)
    if folder is None or not (folder / description.FILE).is_file():
        return None
    return description.read(folder, text).run_here


def source_of(task: InferenceTask) -> Path:
    """The path of the network, once the launcher has found it."""
    assert task.model is not None
    return Path(task.model)


def class_names(task: InferenceTask, num_classes: int) -> list[str] | None:
    """The class names by label: those of ``task.classes``, else those of the model's training.

    None if both are unknown. Raises UserError if ``task.classes`` is not a list of ``num_classes`` names.
    """
    if task.classes is not None:
        return read_names(task.classes, num_classes)
    if task.model is None:
        return None
    known = known_names(source_of(task), f"task.model={task.model}")
    return known if known is None or len(known) == num_classes else None


def known_names(source: Path, named: str) -> list[str] | None:
    """The class names of a model's training; None if they are not stored with its weights.

    ``source`` is the folder of an export or a weight file, called ``named`` in messages.
    """
    folder = export_folder(str(source))
    if folder is not None:
        return description.read(folder, named).classes
    return names_of(source)


def teacher_order(path: Path, named: str, classes: Sequence[str]) -> list[int] | None:
    """Where a teacher, the weight file or MINDIR ``path``, has each of ``classes``; None if its order is the same or unknown.

    Raises UserError, naming ``named``, with the names that differ if it was trained on other classes.
    """
    alone = path.suffix in EXPORTED and not (path.parent / description.FILE).is_file()
    known = None if alone else known_names(path, named)
    if known is None or same(known, classes):
        return None
    order = positions(classes, known)
    if order is None:
        told = difference(known, classes, ("the teacher", "the data"))
        raise UserError(f"{named}: the teacher was trained on other classes: {told}.")
    return order


def shown_names(known: Sequence[str] | None, folders: Sequence[str] | None, num_classes: int) -> list[str]:
    """Names to show: the ``known`` ones, else those of the class folders of the labels, else the labels."""
    return [spelled(name) for name in known or folders or map(str, range(num_classes))]


def input_of(config: RunConfig, task: InferenceTask) -> tuple[Images, list[str]]:
    """The images of ``task.input``, and the class names to show. Raises UserError as ``find_images`` does."""
    assert config.data.num_classes is not None  # resolved by the launcher
    known = class_names(task, config.data.num_classes)
    images = find_images(task.input, "task.input", known, config.data.num_classes)
    return images, shown_names(known, images.folders, config.data.num_classes)


def open_predictor(config: RunConfig, source: Path, named: str, classes: Sequence[str], batch: int | None) -> Predictor:
    """The network of ``source`` (a folder of an export or a weight file, called ``named`` in messages), on the device of this
    process; ``batch`` is its batch size, unless it has a fixed one; with None it takes any number.
    """
    from deit.exports.predictor import open_export, open_network
    from deit.inference import lite
    from deit.weights.naming import to_mindspore
    from deit.weights.read import read_weights

    if not source.is_dir():
        weights = read_weights(source, config.task.weights if isinstance(config.task, InferenceTask) else "raw")
        return open_network(config, to_mindspore(weights), classes, batch, named)
    if config.hardware.target == "ascend" and lite.usable(source):
        predictor: Predictor = lite.LitePredictor(source, named, config.hardware)
    else:
        predictor = open_export(source, named, batch)
    predictor.classes = list(classes)
    return predictor


def read_names(text: str, num_classes: int) -> list[str]:
    """The names in the file ``text``, the value of ``task.classes``. Raises UserError if their number is wrong."""
    path = Path(text)
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"task.classes={text}: not readable as a list of names ({error}).") from None
    if len(names) != num_classes:
        raise UserError(f"task.classes={text}: contains {len(names)} names, but the model has {num_classes} classes.")
    return names
