"""Batches of images for a prediction: decoded and cut out as in an evaluation; what cannot be read is named and left out."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from deit.data.decode import check_file_size, decode
from deit.data.transform import EvalTransform
from deit.errors import UserError
from deit.inference.images import Images, spelled

AHEAD = 3  # batches in the making while one is in use


@dataclass
class Batch:
    """``images`` uint8 [B, S, S, 3], of which the first ``len(rows)`` are images and the rest zero.

    ``rows`` are their numbers in the input; ``unreadable`` names the reason for each number that is missing.
    """

    images: np.ndarray
    rows: list[int] = field(default_factory=list)
    unreadable: dict[int, str] = field(default_factory=dict)


def batches(images: Images, transform: EvalTransform, batch: int, workers: int, max_pixels: int) -> Iterator[Batch]:
    """All images in their order, ``batch`` of them at a time, read by ``workers`` threads (0: by this one)."""
    size = transform.size

    def read(number: int) -> np.ndarray | str:
        try:
            return transform(image_of(images, number, max_pixels))
        except UserError as error:
            return spelled(str(error))

    def made(start: int, pixels: Iterator[np.ndarray | str]) -> Batch:
        result = Batch(np.zeros((batch, size, size, 3), np.uint8))
        for number, found in enumerate(pixels, start):
            if isinstance(found, str):
                result.unreadable[number] = found
            else:
                result.images[len(result.rows)] = found
                result.rows.append(number)
        return result

    numbers = range(len(images))
    starts = numbers[::batch]
    if workers == 0:
        for start in starts:
            yield made(start, map(read, numbers[start : start + batch]))
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="images")
    making: deque[tuple[int, list[Future[np.ndarray | str]]]] = deque()
    try:
        for start in starts:
            making.append((start, [pool.submit(read, number) for number in numbers[start : start + batch]]))
            if len(making) > AHEAD:
                start, futures = making.popleft()
                yield made(start, (future.result() for future in futures))
        while making:
            start, futures = making.popleft()
            yield made(start, (future.result() for future in futures))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def image_of(images: Images, number: int, max_pixels: int) -> np.ndarray:
    """uint8 [H, W, 3], one of ``images``. Raises UserError as ``read_image``."""
    if images.packed is None:
        return read_image(images.files[number], max_pixels)
    return decode(images.packed.read(number, max_pixels), "pil", images.files[number], max_pixels)


def read_image(file: str, max_pixels: int) -> np.ndarray:
    """uint8 [H, W, 3]. Raises UserError (exit code 1), naming the file, where it cannot be read or has too many pixels."""
    try:
        with open(file, "rb") as opened:
            check_file_size(os.fstat(opened.fileno()).st_size, file, max_pixels)
            data = opened.read()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}).", exit_code=1) from None
    return decode(data, "pil", file, max_pixels)
