"""Batches made ahead of their use: by processes, by threads, or on demand; the bytes are the same.

Decoding and OpenCV release the GIL. The rest of the work on an image holds it for a third of a millisecond, and the training
thread waits for it. So processes make the batches (``deit.data.image_processes``), at nearly no cost to the training. They take
half a second to start, so threads are used for a pass over few or small images (``deit.data.prefetcher_choice``).
"""

from __future__ import annotations

import abc
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from deit.data.rows import Arrays, Bad, Places, Rows

AHEAD = 3  # batches in preparation while one is in use
CHUNK = 4  # images per thread and turn
Made = tuple[Arrays, list[Bad]]  # a batch, and its unusable images


class Prefetcher(abc.ABC):
    """Makes batches of ``batch`` rows in their order."""

    def __init__(self, rows: Rows, batch: int) -> None:
        self.rows, self.batch = rows, batch

    @abc.abstractmethod
    def batches(self, wanted: Iterable[Places]) -> Generator[Made, None, None]:
        """Yield a batch for each of ``wanted``, or raise what a row raises. Closing the generator stops the work."""

    def _empty(self) -> Arrays:
        return {name: np.empty(shape, kind) for name, (shape, kind) in self.rows.layout(self.batch).items()}


class Here(Prefetcher):
    """Makes each batch on demand, in the same thread: for debugging."""

    def batches(self, wanted: Iterable[Places]) -> Generator[Made, None, None]:
        for places in wanted:
            arrays = self._empty()
            yield arrays, _write(self.rows, arrays, places, range(self.batch))


class Threads(Prefetcher):
    """Threads that end with each pass."""

    def __init__(self, rows: Rows, batch: int, workers: int) -> None:
        super().__init__(rows, batch)
        self.workers = workers

    def batches(self, wanted: Iterable[Places]) -> Generator[Made, None, None]:
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="images")
        making: deque[tuple[Arrays, list[Future[list[Bad]]]]] = deque()

        def oldest() -> Made:
            arrays, chunks = making.popleft()
            return arrays, [bad for chunk in chunks for bad in chunk.result()]

        try:
            for places in wanted:
                arrays, rows = self._empty(), range(self.batch)
                chunks = [rows[start : start + CHUNK] for start in rows[::CHUNK]]
                making.append((arrays, [pool.submit(_write, self.rows, arrays, places, chunk) for chunk in chunks]))
                if len(making) > AHEAD:
                    yield oldest()
            while making:
                yield oldest()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _write(rows: Rows, arrays: Arrays, places: Places, chunk: range) -> list[Bad]:
    return [bad for row in chunk for bad in rows.write(arrays, places, row)]
