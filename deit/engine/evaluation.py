"""Exact evaluation: every image counts once on any number of ranks; ties and NaN never count as correct.

With test-time augmentation an image has several views, and its probabilities are the mean of theirs. Not of their logits: a
view with large logits would outvote the others, and the mean of probabilities is the probability of a class if a view is
chosen at random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from deit.config.schema import RunConfig
from deit.data.loader import EvalBatch
from deit.engine import device
from deit.engine.compile_cache import Cached
from deit.engine.distributed import sum_over_ranks
from deit.engine.loss import mean_of_heads
from deit.engine.normalize import Normalize
from deit.engine.reliability import Reliability
from deit.engine.upload import Upload, build_upload
from deit.errors import UserError
from deit.scores import balanced_accuracy, has_top5, macro_f1


@dataclass
class Accuracy:
    """Top-1, top-5, balanced accuracy and macro F1 in percent, mean cross entropy, number of images, and the expected
    calibration error in percent."""

    top1: float
    top5: float
    balanced_accuracy: float
    macro_f1: float
    loss: float
    images: int
    ece: float

    def metrics(self, prefix: str, classes: int | None) -> dict[str, float]:
        """Named as in the journal; without top-5 if there are so few ``classes`` that it says nothing."""
        left_out = {"images"} if has_top5(classes) else {"images", "top5"}
        return {f"{prefix}/{name}": value for name, value in asdict(self).items() if name not in left_out}


class EvalStep(nn.Cell):
    """For each image of a batch: correct at 1, correct at 5, its loss, the most likely class and its probability."""

    def __init__(self, config: RunConfig, network: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.classes = config.data.num_classes
        self.normalize = Normalize(config.data.mean, config.data.std)

    def construct(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """``images`` uint8 [B, H, W, 3], ``labels`` int32 [B]; five tensors [B]."""
        return _scored(mean_of_heads(self.network(self.normalize(images))), labels)


def build_eval_step(config: RunConfig, network: nn.Cell) -> EvalStep:
    """The step as one graph, also after ``device.run_ahead``."""
    return device.compiled(EvalStep(config, network), config.hardware)


def _scored(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The results of ``EvalStep`` from logits [B, K] or from logarithms of probabilities."""
    classes = ops.arange(0, logits.shape[1], dtype=ms.int32).reshape((1, -1))
    column = labels.reshape((-1, 1))
    own = ops.gather_elements(logits, 1, column)
    # The rank of the true class. Equal logits go to the lower class, as in a stable sort; otherwise a network with the
    # same answer for all would be correct on every image. NaN is never correct.
    ahead = ops.logical_or(logits > own, ops.logical_and(logits == own, classes < column))
    rank = ops.cast(ahead, ms.int32).sum(1)
    sane = ops.isfinite(logits).all(1)
    # Not logsumexp: the last digit of MindSpore's log on the CPU depends on how it splits its input among threads, which it
    # tries out in the first calls of a process. A resumed run would report another loss.
    logs = ops.log_softmax(logits, 1)
    loss = -ops.gather_elements(logs, 1, column).reshape((-1,))
    predicted, confidence = ops.argmax(logits, 1), ops.exp(ops.amax(logs, 1))
    return ops.logical_and(rank < 1, sane), ops.logical_and(rank < 5, sane), loss, predicted, confidence


class _View(nn.Cell):
    """The logarithms of the probabilities of one view of a batch, float32 [B, K]."""

    def __init__(self, config: RunConfig, network: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.normalize = Normalize(config.data.mean, config.data.std)

    def construct(self, images: Tensor) -> Tensor:
        return ops.log_softmax(mean_of_heads(self.network(self.normalize(images))), 1)


class _Score(nn.Cell):
    def construct(self, logs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return _scored(logs, labels)


class AugmentedStep:
    """``EvalStep`` with test-time augmentation: one view of a batch at a time, so that it needs no more memory."""

    def __init__(self, config: RunConfig, network: nn.Cell) -> None:
        self.classes = config.data.num_classes
        self._view = device.compiled(_View(config, network), config.hardware)
        self._score = device.compiled(_Score(), config.hardware)

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """``images`` uint8 [B, H, W, 3], of which the mirror image is the other view, or [B, V, H, W, 3] with V views."""
        pixels = images.asnumpy()
        views = [pixels, pixels[:, :, ::-1]] if pixels.ndim == 4 else [pixels[:, view] for view in range(pixels.shape[1])]
        logs = np.stack([self._view(Tensor(np.ascontiguousarray(view))).asnumpy() for view in views]).astype(np.float64)
        # On the host, where the last digit is always the same; as logarithms, in which no small probability becomes 0.
        most = logs.max(0)
        mean = np.log(np.exp(logs - most).mean(0)) + most
        return self._score(Tensor(mean.astype(np.float32)), labels)


class Head(nn.Cell):
    """One head of a distilled network: 0 the class head, 1 the distillation head."""

    def __init__(self, network: nn.Cell, number: int) -> None:
        super().__init__(auto_prefix=False)
        self.network, self.number = network, number

    def construct(self, images: Tensor) -> Tensor:
        return self.network(images)[self.number]


class Answers:
    """The results of an evaluation for each image of this rank, for pictures.

    ``reliability`` is of the images of all ranks, at the end of the evaluation.
    """

    reliability: Reliability

    def __init__(self) -> None:
        self._batches: list[tuple[np.ndarray, ...]] = []

    def add(self, batch: EvalBatch, losses: np.ndarray, predicted: np.ndarray, confidence: np.ndarray) -> None:
        arrays = (batch.indices, batch.labels, predicted, losses, confidence)
        self._batches.append(tuple(array[batch.valid] for array in arrays))

    def _columns(self) -> list[np.ndarray]:
        return [np.concatenate(column) for column in zip(*self._batches, strict=True)]

    def confusion(self, classes: int) -> np.ndarray:
        """Counts int64 [classes, classes]: rows are true classes, columns predicted ones."""
        _, labels, predicted, _, _ = self._columns()
        matrix = np.zeros((classes, classes), np.int64)
        np.add.at(matrix, (labels, predicted), 1)
        return matrix

    def worst(self, count: int) -> list[dict[str, Any]]:
        """The misclassified images with the highest loss: index, label, predicted class with its probability, ``own`` that of
        the true class."""
        return self._misclassified(count, key=lambda losses, confidence: losses)

    def confident(self, count: int) -> list[dict[str, Any]]:
        """The misclassified images with the highest probability of their wrong class, as ``worst``."""
        return self._misclassified(count, key=lambda losses, confidence: confidence)

    def _misclassified(self, count: int, key: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> list[dict[str, Any]]:
        indices, labels, predicted, losses, confidence = self._columns()
        order = [row for row in np.argsort(-key(losses, confidence), kind="stable") if predicted[row] != labels[row]][:count]
        return [
            {
                "index": int(indices[row]),
                "label": int(labels[row]),
                "predicted": int(predicted[row]),
                "confidence": float(confidence[row]),
                "own": float(np.exp(-losses[row])),
            }
            for row in order
        ]


def evaluate(
    step: EvalStep | AugmentedStep | Cached,
    batches: Iterable[EvalBatch],
    world: int,
    progress: Callable[[int], None] = lambda images: None,
    answers: Answers | None = None,
) -> Accuracy:
    """Evaluate over all ranks; ``progress`` is called with the images done by this rank, ``answers`` gets those of each image.

    Unusable images are not counted. Raises UserError (exit code 1) if all are unusable.
    """
    assert step.classes is not None  # the launcher has counted the classes
    counts = np.zeros((3, step.classes), np.int64)  # of each class the right predictions, the predictions, the images
    right5 = images = 0
    loss, reliability = 0.0, Reliability()
    for batch, found in _launched(step, batches):
        one, five, losses, predicted, confidence = (values.asnumpy() for values in found)  # each is copied from the device once
        counts += _of_classes(batch, one, predicted, step.classes)
        right5 += int((five & batch.valid).sum())
        reliability.add(confidence[batch.valid], one[batch.valid])
        loss += float(losses.astype(np.float64)[batch.valid].sum())
        if answers is not None:
            answers.add(batch, losses, predicted, confidence)
        images += int(batch.valid.sum())
        progress(images)
    bins = reliability.sums.ravel().tolist()
    sums = sum_over_ranks([right5, images, loss, *bins, *counts.ravel().tolist()], world)
    (five_sum, image_sum, loss_sum), flat = sums[:3], sums[3 + len(bins) :]
    reliability = Reliability(np.array(sums[3 : 3 + len(bins)]))
    if answers is not None:
        answers.reliability = reliability
    images = int(image_sum)
    if images == 0:
        raise UserError("none of the images to evaluate can be used; task=check_data says why.", exit_code=1)
    right, answered, of = np.array(flat).astype(np.int64).reshape(counts.shape).tolist()
    return Accuracy(
        top1=100 * sum(right) / images,
        top5=100 * five_sum / images,
        balanced_accuracy=balanced_accuracy(right, of),
        macro_f1=macro_f1(right, answered, of),
        loss=loss_sum / images,
        images=images,
        ece=reliability.ece,
    )


def _launched(
    step: EvalStep | AugmentedStep | Cached, batches: Iterable[EvalBatch]
) -> Iterator[tuple[EvalBatch, tuple[Tensor, ...]]]:
    """Each batch with its results, one batch later: a card computes a batch while the host prepares the next."""
    upload: Upload = tuple if isinstance(step, AugmentedStep) else build_upload()  # views are made on the host
    before = None
    for batch in batches:
        inputs = (Tensor.from_numpy(batch.images), Tensor.from_numpy(batch.labels))
        on_device = upload(inputs)
        now = batch, step(*on_device), inputs, on_device  # the last two are kept until the results are there
        if before is not None:
            yield before[:2]
        before = now
    if before is not None:
        yield before[:2]


def _of_classes(batch: EvalBatch, right: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Int64 [3, classes]: right predictions, predictions and images. Logits that are not finite predict no class if their
    largest is the true one's."""
    labels = batch.labels
    answered = batch.valid & (right | (predicted != labels))
    chosen = (labels[batch.valid & right], predicted[answered], labels[batch.valid])
    return np.stack([np.bincount(numbers, minlength=classes) for numbers in chosen])
