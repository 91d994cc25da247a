"""Predict the classes of images from Python: of files, pixels, Pillow's images, or many of them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union, cast

import numpy as np

from deit.errors import UserError
from deit.inference.images import find_images, spelled
from deit.inference.likeliest import likeliest, probabilities
from deit.library.loaded_model import Model, load_model

if TYPE_CHECKING:
    from PIL import Image

    Picture: TypeAlias = Union[str, os.PathLike[str], np.ndarray, Image.Image]

ALLOWED = "allowed: a path, pixels as an array, an image of Pillow, or several of these"
FEW = 64  # up to so many files are read in this process; more have processes of their own


def predict(
    model: Model | str | os.PathLike[str], images: Picture | Iterable[Picture], *, topk: int = 5, full: bool = False
) -> Any:
    """The most likely classes of images.

    ``model`` comes from ``load_model``, or is what that accepts. ``images`` is one image or several: a path of an image; pixels
    from 0 to 255, in RGB [H, W, 3] or grey [H, W]; an image of Pillow; a sequence of such; a batch of pixels [N, H, W, 3]; or a
    folder or a list of paths (.txt), as ``task.input`` takes them. Each is resized and cropped as in an evaluation.

    Returns for one image a dict, for several a list of them in the same order (of a folder, by name):

        {"class": "cat", "label": 3, "probability": 0.98, "top": [{"class": "cat", "label": 3, "probability": 0.98}, ...]}

    ``top`` has the ``topk`` most likely classes. With ``full`` there are also the ``probabilities`` of all classes by label.
    Files have their name as ``file``. Values are plain numbers and text; a probability is nan if the network returns no finite
    logits. Raises UserError, naming the image, if one is not usable.
    """
    if topk < 1:
        raise UserError(f"topk is {topk}; allowed: at least 1.")
    model = model if isinstance(model, Model) else load_model(model)
    if isinstance(images, str | os.PathLike):
        return _of_path(model, Path(images).expanduser(), topk, full)
    single = hasattr(images, "getexif") or (isinstance(images, np.ndarray) and images.ndim < 4)
    if not single and not isinstance(images, Iterable):
        raise UserError(f"images is a {type(images).__name__}; {ALLOWED}.")
    given: list[Any] = [images] if single else list(cast("Iterable[Any]", images))
    found: list[dict[str, Any]] = []
    for start in range(0, len(given), 32):
        part = given[start : start + 32]
        pixels = np.stack([_pixels(model, one, start + number) for number, one in enumerate(part)])
        names = [spelled(os.fspath(one)) if isinstance(one, str | os.PathLike) else None for one in part]
        found += _answers(model, model.logits(pixels), names, topk, full)
    return found[0] if single else found


def _of_path(model: Model, path: Path, topk: int, full: bool) -> Any:
    """An image, or a folder or list of them, read as ``task=predict`` does."""
    from deit.inference.reading import batches

    found = find_images(str(path), "images", model.known_classes, len(model.classes))
    config = model.config
    if len(found) <= FEW:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, workers=0))
    answers: dict[int, dict[str, Any]] = {}
    for read in batches(found, config, min(32, len(found))):
        if read.unreadable:
            raise UserError(next(iter(read.unreadable.values())), exit_code=1)
        names: list[str | None] = [found.names[row] for row in read.rows]
        logits = model.logits(read.images[: len(read.rows)])
        answers.update(zip(read.rows, _answers(model, logits, names, topk, full), strict=True))
    in_order = [answers[row] for row in range(len(found))]
    return in_order[0] if path.is_file() and found.files == [str(path)] else in_order


def _pixels(model: Model, image: Picture, number: int) -> np.ndarray:
    """uint8 [S, S, 3]. Raises UserError, naming the image."""
    from deit.data.decode import decode, read_file
    from deit.data.given_image import from_array, from_pillow
    from deit.data.transform import EvalTransform

    name, data = f"images[{number}]", model.config.data
    if isinstance(image, str | os.PathLike):
        path = os.path.expanduser(os.fspath(image))  # noqa: PTH111  # a name may be no valid text
        if not Path(path).is_file():
            raise UserError(f"{name} is {path}: no such file.")
        pixels = decode(read_file(path, data.max_pixels), path, data.max_pixels, data.background)
    elif isinstance(image, np.ndarray):
        pixels = from_array(image, name, data.max_pixels)
    elif hasattr(image, "getexif"):  # an image of Pillow
        pixels = from_pillow(image, name, data.max_pixels, data.background)
    else:
        raise UserError(f"{name} is a {type(image).__name__}; {ALLOWED}.")
    return EvalTransform(model.config)(pixels)


def _answers(model: Model, logits: np.ndarray, names: Sequence[str | None], topk: int, full: bool) -> list[dict[str, Any]]:
    shares, answers = probabilities(logits), []
    for name, row, labels in zip(names, shares, likeliest(shares, topk), strict=True):
        top = [{"class": model.classes[label], "label": int(label), "probability": float(row[label])} for label in labels]
        answer: dict[str, Any] = {**top[0], "top": top}
        answer |= {"probabilities": row.tolist()} if full else {}
        answers.append(({"file": name} if name is not None else {}) | answer)
    return answers
