"""Batch waiting requests: one session call for many images.

There is no extra thread and no delay. The first request is computed at once, alone; requests that arrive meanwhile wait, and
the first of them computes all. A single client is as fast as without batching; more clients give larger batches.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np


class _Request:
    """Waiting images, and their result."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images
        self.answer: np.ndarray | None = None
        self.error: Exception | None = None
        self.done = False


class Batches:
    """Call it with uint8 [N, H, W, C] from any thread; returns logits float32 [N, K] of exactly these images.

    ``predict`` is called by one thread at a time, with as many images as one of ``sizes``, padded with black ones.
    """

    def __init__(self, predict: Callable[[np.ndarray], np.ndarray], sizes: Sequence[int]) -> None:
        self._predict, self._sizes = predict, sorted(sizes)
        self._waiting: deque[_Request] = deque()
        self._turn = threading.Lock()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        mine = _Request(images)
        self._waiting.append(mine)
        while not mine.done:
            with self._turn:
                if not mine.done:
                    self._answer(self._next())
        if mine.error is not None:
            raise mine.error
        assert mine.answer is not None
        return mine.answer

    def _next(self) -> list[_Request]:
        """The next batch: the longest-waiting request, and those after it that fit into the largest size."""
        taken = [self._waiting.popleft()]
        room = self._sizes[-1] - len(taken[0].images)
        while self._waiting and len(self._waiting[0].images) <= room:
            taken.append(self._waiting.popleft())
            room -= len(taken[-1].images)
        return taken

    def _answer(self, requests: list[_Request]) -> None:
        try:
            answers = self._logits(np.concatenate([request.images for request in requests]))
            for request in requests:
                request.answer, answers = answers[: len(request.images)], answers[len(request.images) :]
        except Exception as error:
            for request in requests:
                request.error = error
        finally:
            for request in requests:
                request.done = True

    def _logits(self, images: np.ndarray) -> np.ndarray:
        found = []
        while len(images):
            size = self._size(len(images))
            part, images = images[:size], images[size:]
            black = np.zeros((size - len(part), *part.shape[1:]), np.uint8)
            found.append(self._predict(np.concatenate([part, black]) if len(black) else part)[: len(part)])
        return np.concatenate(found)

    def _size(self, images: int) -> int:
        """The largest full size, or the next larger one if more than half of it is used."""
        full = max((size for size in self._sizes if size <= images), default=self._sizes[0])
        larger = min((size for size in self._sizes if size > images), default=full)
        return larger if full != images and images > larger / 2 else full
