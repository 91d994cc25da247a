"""A prediction from its images to its files: the same for a MindSpore network, an exported file, and results of a device.

It writes the predictions, a contact sheet (``predictions.png``) and, if the images have labels, ``acc.log`` (the ModelZoo's two
lines), ``per_class.csv``, ``confusion.csv`` and ``confusion.png``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deit.config.schema import RunConfig
from deit.config.tasks import PredictTask, expect
from deit.errors import UserError
from deit.exports.predictor import Predictor
from deit.inference import confusion, contact_sheet
from deit.inference.accuracy import Tally
from deit.inference.images import Images
from deit.inference.model_source import input_of, open_predictor, source_of
from deit.inference.reading import batches
from deit.inference.writing import Writer, open_writer, output_of
from deit.runs.directory import RunDirectory
from deit.scores import has_top5

NAMED = 3  # maximum number of classes per image on the terminal


@dataclass
class Answers:
    """Logits float32 [N, K] of the images ``rows``; ``unreadable`` has the reason for others.

    ``seen`` uint8 [N, H, W, C] is the network's input, if known.
    """

    rows: list[int]
    logits: np.ndarray
    unreadable: dict[int, str] = field(default_factory=dict)
    seen: np.ndarray | None = None


class Clock:
    """The time of the network and in total, from the second batch on, because the first is compiled."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.seconds: list[float] = []  # of each batch, the network alone
        self.images: list[int] = []
        self.marks: list[float] = []  # when each batch was done

    def done(self, began: float, images: int) -> None:
        now = time.perf_counter()
        self.seconds.append(now - began)
        self.images.append(images)
        self.marks.append(now)

    def figures(self) -> dict[str, Any]:
        """``ms_per_image`` of the network, ``images_per_s`` including reading; ``warm`` unless there was only one batch."""
        first = 1 if sum(self.images[1:]) else 0
        images = sum(self.images[first:])
        if not images:
            return {}
        began = self.marks[0] if first else self.started
        return {
            "ms_per_image": 1000 * sum(self.seconds[first:]) / images,
            "images_per_s": images / max(self.marks[-1] - began, 1e-9),
            "warm": bool(first),
        }


def answers(config: RunConfig, images: Images, predictor: Predictor, batch: int, clock: Clock) -> Iterable[Answers]:
    """Read and crop the images as in an evaluation, and run the network on ``batch`` images at a time."""
    for read in batches(images, config, batch):
        logits = np.zeros((0, len(predictor.classes)), np.float32)
        began = time.perf_counter()
        if read.rows:
            logits = predictor(read.images[: len(read.rows)])
        clock.done(began, len(read.rows))
        yield Answers(read.rows, logits, read.unreadable, read.images)


def batch_size(config: RunConfig, images: Images) -> int:
    """data.eval_batch_size, or the number of images if that is smaller."""
    return min(config.data.eval_batch_size, len(images))


def write_predictions(
    found: Iterable[Answers],
    images: Images,
    classes: list[str],
    config: RunConfig,
    *,
    output: Path,
    folder: Path,
    topk: int,
    progress: Callable[[int], None] = lambda images: None,
) -> dict[str, Any]:
    """Write the predictions into ``output`` and, with labels, the accuracy into ``folder``; returns the results to show.

    ``progress`` gets the number of images done. Raises UserError (exit code 1) if all images are unreadable, or a file cannot
    be written; then ``output`` does not exist.
    """
    try:
        with open_writer(output, classes, topk, images.labels is not None) as writer:
            seen = _each(found, images, classes, writer, progress)
        results: dict[str, Any] = {
            "predictions": str(output),
            "images": seen.images,
            "unreadable": [*seen.unreadable.values()],
            "said": seen.said,
        }
        results |= _sheet(seen.shown, images, classes, folder, config)
        if images.remark is not None:
            results["remark"] = images.remark
        return results if images.labels is None else results | _accuracy(seen.tally, classes, folder)
    except OSError as error:  # those of images are UserErrors
        raise UserError(f"{output} or the files in {folder} could not be written ({error.strerror}).", exit_code=1) from None


@dataclass
class _Seen:
    tally: Tally
    images: int = 0
    unreadable: dict[int, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    shown: list[contact_sheet.Shown] = field(default_factory=list)


def _each(
    found: Iterable[Answers], images: Images, classes: list[str], writer: Writer, progress: Callable[[int], None]
) -> _Seen:
    """Write a line for each image; logits are counted as they come, and not kept."""
    seen, chosen = _Seen(Tally(len(classes))), {*contact_sheet.chosen(len(images))}
    for part in found:
        labels = None if images.labels is None else images.labels[part.rows]
        top = dict(zip(part.rows, writer.top(part.logits), strict=True))
        for row in sorted([*top, *part.unreadable]):
            label = None if images.labels is None else int(images.labels[row])
            if row in top:
                writer.line(images.names[row], label, top[row])
                if row in chosen:
                    seen.said[images.names[row]] = _said(top[row], label, classes)
                    if part.seen is not None:
                        seen.shown.append(contact_sheet.Shown(row, part.seen[part.rows.index(row)].copy(), top[row]))
            else:
                writer.unreadable(images.names[row], label, part.unreadable[row])
        seen.unreadable |= part.unreadable
        if labels is not None:
            seen.tally.add(part.logits, labels)
        seen.images += len(part.rows)
        progress(seen.images + len(seen.unreadable))
    if not seen.images:
        first = next(iter(seen.unreadable.values()), "there is none")
        raise UserError(f"none of the {len(images)} images could be read; the first: {first}", exit_code=1)
    return seen


def _said(top: list[tuple[int, float]], label: int | None, classes: list[str]) -> str:
    """The most likely classes with their shares, and the true one if it differs."""
    likeliest = ", ".join(f"{classes[i]} {100 * share:.1f} %" for i, share in top[:NAMED])
    return likeliest if label is None or top[0][0] == label else f"{likeliest}; labelled {classes[label]}"


def _sheet(
    shown: list[contact_sheet.Shown], images: Images, classes: list[str], folder: Path, config: RunConfig
) -> dict[str, Any]:
    """Draw the contact sheet, if there is anything to show; an error in it does not fail the prediction."""
    if not shown:
        return {}
    try:
        contact_sheet.draw_sheet(folder / contact_sheet.FILE, shown, images, classes, config)
    except Exception as error:
        return {"no_sheet": f"{type(error).__name__}: {error}"}
    return {"sheet": contact_sheet.FILE}


def _accuracy(tally: Tally, classes: list[str], folder: Path) -> dict[str, Any]:
    texts = {"acc.log": tally.log(), "per_class.csv": tally.per_class(classes), "confusion.csv": tally.matrix(classes)}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    title = f"top-1 {tally.top1:.2f} % of {tally.images:,} images"
    confusion.draw(folder / "confusion.png", tally.confusion[:, :-1], classes, title)
    top5 = {"top5": tally.top5} if has_top5(len(classes)) else {}
    by_class = {"balanced_accuracy": tally.balanced_accuracy, "macro_f1": tally.macro_f1}
    return {"top1": tally.top1, **top5, **by_class, "accuracy": [*texts, "confusion.png"]}


def predict(run: RunDirectory, config: RunConfig, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """``task=predict`` of a resolved configuration on the device of this process; returns the results to show.

    ``progress`` receives the images done and their total. Raises UserError as ``write_predictions`` does.
    """
    task = expect(config.task, PredictTask)
    images, classes = input_of(config, task)
    batch = batch_size(config, images)
    source = source_of(task)
    predictor = open_predictor(config, source, f"task.model={source}", classes, batch)
    clock = Clock()
    results = write_predictions(
        answers(config, images, predictor, batch, clock),
        images,
        classes,
        config,
        output=output_of(task.output, run),
        folder=run.path,
        topk=task.topk,
        progress=lambda done: progress(done, len(images)),
    )
    return results | clock.figures()
