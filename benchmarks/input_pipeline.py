"""The cost of a training image: images per CPU second of all processes, in turns with timm's loader on the same files.

    python benchmarks/input_pipeline.py [--rounds 5] [--workers 2] [--peer .reference/venv/bin/python]

JPEGs of ImageNet's sizes are written into a temporary folder. Each round runs every case once, each in processes of its own, in
turns; shown are medians, and medians of the ratios of a round. "native calls" are decoding, resizing, flipping and the
operations of the policy of the same images in one thread, alone. Start-up times are excluded.
The last table has the time of the training process itself per image.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers"), str(ROOT / "benchmarks")]

from composition import composed  # noqa: E402
from tree_cpu import cpu_seconds  # noqa: E402

from deit.config.schema import RunConfig  # noqa: E402
from deit.data.datasets import open_dataset  # noqa: E402
from deit.data.decode import _plain_jpeg, _upper_rows, decode_no_more_than_needed  # noqa: E402
from deit.data.loader import TrainLoader  # noqa: E402
from deit.randomness import generator  # noqa: E402

SIZES = ((500, 375), (500, 375), (375, 500), (500, 333), (640, 480), (400, 300), (500, 500))  # width, height
DISTINCT, IMAGES, BATCH, WARM, MEASURED = 140, 1120, 64, 3, 8  # the rest are hard links
PEER = ROOT / ".reference/venv/bin/python"
BARS = {("opencv", "timm uint8"): 1.8, ("opencv", "timm default"): 2.2, ("pil", "timm uint8"): 1.15, ("opencv", "native"): 0.8}


def write_images(root: Path) -> float:
    """Returns the mean size of a file in kB."""
    rng = np.random.default_rng(0)
    total = 0
    for number in range(DISTINCT):
        width, height = SIZES[number % len(SIZES)]
        coarse = cv2.resize(rng.integers(0, 256, (9, 12, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
        image = np.clip(coarse + rng.normal(0, 17, coarse.shape), 0, 255).astype(np.uint8)
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        total += len(encoded)
        for split in ("train", "val"):
            first = root / split / f"class_{number % 4}" / f"{number:05}_0.jpg"
            first.parent.mkdir(parents=True, exist_ok=True)
            first.write_bytes(encoded)
            for copy in range(1, IMAGES // DISTINCT if split == "train" else 1):
                os.link(first, first.with_name(f"{number:05}_{copy}.jpg"))
    return total / DISTINCT / 1000


def configured(folder: str, backend: str, workers: int) -> RunConfig:
    return composed(
        *("experiment=deit_small_modelzoo", "data=imagefolder", f"data.root={folder}", "data.num_classes=4"),
        *(f"augment.backend={backend}", f"data.workers={workers}", f"data.batch_size={BATCH}", "hardware=cpu"),
    )


def ours(folder: str, backend: str, workers: int) -> tuple[float, float]:
    """Seconds per image: of all processes, and of this one alone."""
    config = configured(folder, backend, workers)
    batches = TrainLoader(config, open_dataset(config.data, True), 0, 1).epoch(0)
    for _ in itertools.islice(batches, WARM):
        pass
    began, alone = cpu_seconds(), time.process_time()
    for batch in itertools.islice(batches, MEASURED):
        assert batch.images.shape == (BATCH, 224, 224, 3)
    images = BATCH * MEASURED
    return (cpu_seconds() - began) / images, (time.process_time() - alone) / images


def native(folder: str) -> float:
    """Seconds per image in native calls, which no Python code can avoid."""
    config = configured(folder, "opencv", 0)
    loader = TrainLoader(config, open_dataset(config.data, True), 0, 1)
    transform, data, augment, spent = loader.rows.transform, loader.rows.dataset, config.augment, 0.0
    indices = loader.order.epoch(0)[0].ravel()[: BATCH * MEASURED // 2]
    decode_no_more_than_needed()
    for index in indices:
        content, rng = data.content(int(index)), generator(config.seed, "augment", 0, int(index), 0)
        jpeg = _plain_jpeg(content)
        assert jpeg is not None
        box = transform.box(rng, jpeg.height, jpeg.width)
        flipped, operations = rng.random() < augment.hflip, transform._operations(rng)
        began = time.process_time()
        image = transform.ops.crop(_upper_rows(content, jpeg, box.top + box.height), box, (224, 224))
        if flipped:
            image = transform.ops.flip(image)
        for operation in operations:
            image = transform.ops.apply(image, operation)
        spent += time.process_time() - began
    return spent / len(indices)


def child(*arguments: str) -> list[float]:
    command = [sys.executable, __file__, "--case", *arguments]
    return [float(value) for value in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()]


def peer(python: str, folder: str, mode: str, workers: int) -> float:
    command = [python, str(ROOT / "benchmarks/timm_loader_peer.py"), folder, mode]
    command += [str(number) for number in (workers, BATCH, WARM, MEASURED)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="times each case is measured (default 5)")
    parser.add_argument("--workers", type=int, default=2, help="processes of both loaders (default 2)")
    parser.add_argument("--peer", default=str(PEER), help="the Python of make fixtures")
    parser.add_argument("--case", nargs="+", help=argparse.SUPPRESS)  # one case in this process
    arguments = parser.parse_args()
    if arguments.case:
        case, folder, *more = arguments.case
        print(*([native(folder)] if case == "native" else ours(folder, case, int(*more))))
        return
    with tempfile.TemporaryDirectory() as name:
        size = write_images(Path(name))
        print(f"{IMAGES} JPEGs of {size:.0f} kB on average, {arguments.workers} processes, {arguments.rounds} rounds")
        found: dict[str, list[float]] = {}
        for _ in range(arguments.rounds):
            for case in ("timm uint8", "opencv", "timm default", "pil", "native"):
                if case.startswith("timm"):
                    seconds = peer(arguments.peer, name, case.removeprefix("timm "), arguments.workers)
                else:
                    seconds = child(case, name, *([] if case == "native" else [str(arguments.workers)]))[0]
                found.setdefault(case, []).append(seconds)
                print(f"  {case}: {1000 * seconds:.2f} ms per image", file=sys.stderr, flush=True)
        for case, times in found.items():
            middle = statistics.median(times)
            print(f"{case:14} {1 / middle:6.0f} images per CPU second   {1000 * middle:5.2f} ms per image")
        for (case, other), bar in BARS.items():
            ratios = [theirs / mine for mine, theirs in zip(found[case], found[other], strict=True)]
            print(f"{case} / {other}: {statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f}), wanted {bar}")
        for workers in (1, 2, 4, 8):
            alone = statistics.median(child("opencv", name, str(workers))[1] for _ in range(3))
            print(f"training process, {workers} workers: {1000 * alone:.4f} ms per image")


if __name__ == "__main__":
    main()
