"""Images per second from class folders, tar and MindRecord shards, through our own loader, in turns.

    python benchmarks/packed_reading.py [--images 2000] [--rounds 3] [--workers 4]

Photograph-like JPEGs of 500 x 375 are written as class folders and packed twice. Each round reads their bytes in the random
order of an epoch, after dropping them from the kernel's page cache; then again; then reads training batches (decoded,
augmented). Only the contents are dropped, not the names and inodes of files, and the disk of a virtual machine has its own
caches: on a cold network disk, where each file costs a lookup, the folder loses more than here.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

from composition import composed  # noqa: E402

from deit.config.schema import RunConfig  # noqa: E402
from deit.data.datasets import open_dataset  # noqa: E402
from deit.data.loader import TrainLoader  # noqa: E402
from deit.data.source import Dataset  # noqa: E402

FORMATS = ("folder", "tar", "mindrecord")
CLASSES, DECODED = 20, 512  # class folders; images of an epoch that are decoded and augmented, which takes long


def write_folder(root: Path, images: int) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", images), ("val", CLASSES)):
        for number in range(count):
            path = root / split / f"class_{number % CLASSES:02d}" / f"{number:06d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            coarse = cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (500, 375), interpolation=cv2.INTER_CUBIC)
            grain = rng.normal(0, 18, coarse.shape)
            cv2.imwrite(str(path), np.clip(coarse + grain, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])


def pack(top: Path, form: str) -> None:
    command = [sys.executable, str(ROOT / "launch.py"), "task=pack", "data=imagefolder", f"data.root={top}/folder"]
    subprocess.run([*command, f"task.format={form}", f"task.output={top}/{form}"], check=True)


def drop(root: Path) -> None:
    """Drop the files from the kernel's page cache."""
    for path in root.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def bytes_alone(dataset: Dataset, workers: int) -> float:
    order = np.random.default_rng(0).permutation(len(dataset))

    def read(rows: np.ndarray) -> int:
        return sum(len(dataset.content(int(row))) for row in rows)

    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        assert sum(pool.map(read, np.array_split(order, 16 * workers))) > 0
    return len(order) / (time.perf_counter() - began)


def batches(config: RunConfig, dataset: Dataset) -> float:
    loader = TrainLoader(config, dataset, 0, 1).epoch(0)
    began, images = time.perf_counter(), 0
    for batch in loader:
        images += len(batch.labels)
        if images >= DECODED:
            break
    taken = time.perf_counter() - began
    loader.close()
    return images / taken


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=2000, help="images in the data set (default 2000)")
    parser.add_argument("--rounds", type=int, default=3, help="times each is measured (default 3)")
    parser.add_argument("--workers", type=int, default=4, help="threads that read (default 4)")
    parser.add_argument("--folder", help="where to put the data; by default a temporary folder")
    arguments = parser.parse_args()
    measured: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        top = Path(name)
        write_folder(top / "folder", arguments.images)
        for form in FORMATS[1:]:
            pack(top, form)
        os.sync()  # pages that are not on the disk yet cannot be dropped
        size = sum(path.stat().st_size for path in (top / "folder/train").rglob("*.jpg")) / arguments.images
        print(f"{arguments.images:,} images of {size / 1000:.0f} kB on average, {arguments.workers} threads")
        for _ in range(arguments.rounds):
            for form in FORMATS:
                config = composed("data=imagefolder", f"data.root={top / form}", f"data.workers={arguments.workers}")
                dataset = open_dataset(config.data, train=True)
                cases: dict[str, Callable[[], float]] = {
                    "bytes, dropped from the cache": partial(bytes_alone, dataset, arguments.workers),
                    "bytes, cached": partial(bytes_alone, dataset, arguments.workers),
                    "training batches, cached": partial(batches, config, dataset),
                }
                for case, measure in cases.items():
                    if "dropped" in case:
                        drop(top / form)
                    measured.setdefault(case, {}).setdefault(form, []).append(measure())
    print(
        f"images/s, medians of {arguments.rounds} rounds; in brackets the minimum and maximum of a round's ratio to the folder"
    )
    for case, found in measured.items():
        cells = []
        for form, values in found.items():
            ratios = [value / folder for value, folder in zip(values, found["folder"], strict=True)]
            cells.append(f"{form} {statistics.median(values):6,.0f} ({min(ratios):.2f} - {max(ratios):.2f})")
        print(f"{case:30} {'   '.join(cells)}")


if __name__ == "__main__":
    main()
