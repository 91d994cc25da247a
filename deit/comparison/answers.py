"""The predictions of one model: ``answers.npz`` in its part of a comparison's run directory, written by its worker.

    <comparison>/models/1/    config.yaml, status.json, logs/ of the worker, and answers.npz

For each image it has only what the statistics need, so that ImageNet's validation images are a few megabytes.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deit.errors import UserError
from deit.files import whole_file
from deit.inference.accuracy import ranks

FILE = "answers.npz"
NONE = -1  # the prediction if logits are not all finite


@dataclass(frozen=True)
class Answers:
    """For N images: ``names`` text [N], ``labels`` int64 [N], ``predicted`` int64 [N] (NONE: none), ``rank`` int64 [N] of the
    true class, 0 for the most likely, and ``loss`` float64 [N], the cross entropy (nan: not finite).
    """

    names: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    rank: np.ndarray
    loss: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def right(self) -> np.ndarray:
        """bool [N]"""
        return self.rank == 0

    @property
    def right5(self) -> np.ndarray:
        return self.rank < 5


def judge(names: list[str], labels: np.ndarray, logits: np.ndarray) -> Answers:
    """Predictions from logits float32 [N, K], counted as in an evaluation."""
    labels = labels.astype(np.int64)
    finite = np.isfinite(logits).all(1)
    sane = np.where(finite[:, None], logits, 0).astype(np.float64)
    shifted = sane - sane.max(1, keepdims=True)
    own = np.take_along_axis(shifted, labels[:, None], 1)[:, 0]
    loss = np.log(np.exp(shifted).sum(1)) - own
    predicted = np.where(finite, sane.argmax(1), NONE)
    return Answers(np.array(names), labels, predicted, ranks(logits, labels), np.where(finite, loss, np.nan))


def join(parts: list[Answers]) -> Answers:
    """The predictions of several batches, in order."""
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in Answers.__dataclass_fields__)
    return Answers(*columns)


def write(path: Path, answers: Answers) -> None:
    """Write the file; it appears only when it is complete."""
    with whole_file(path) as file:
        np.savez_compressed(file, **{name: getattr(answers, name) for name in Answers.__dataclass_fields__})


def read(path: Path) -> Answers:
    """Raises UserError (exit code 1) if the file is missing or damaged; NumPy refuses pickles by default."""
    try:
        with np.load(path) as found:
            return Answers(*(found[name] for name in Answers.__dataclass_fields__))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not readable ({error}); compare again.", exit_code=1) from None
