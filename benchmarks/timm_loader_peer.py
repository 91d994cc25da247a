"""timm's training loader on a folder of images, in the environment of ``make fixtures``; ``input_pipeline.py`` starts it.

    .reference/venv/bin/python benchmarks/timm_loader_peer.py FOLDER MODE WORKERS BATCH WARM MEASURED

MODE ``uint8`` is timm's prefetcher without its device part: batches of uint8, as ours. ``default`` is timm without a
prefetcher: normalised float32, erased on the host, then mixed there. Prints the CPU seconds of all processes per image.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "reference"), str(ROOT / "benchmarks")]

import shims  # noqa: E402

LIBRARY = shims.install()

import torch  # noqa: E402
from timm.data import Mixup, create_dataset, create_loader  # noqa: E402
from tree_cpu import cpu_seconds  # noqa: E402


def main() -> None:
    folder, mode = sys.argv[1:3]
    workers, batch, warm, measured = map(int, sys.argv[3:])
    fast = mode == "uint8"
    loader = create_loader(
        create_dataset("", root=folder, split="train", is_training=True),
        input_size=(3, 224, 224),
        batch_size=batch,
        is_training=True,
        use_prefetcher=fast,
        re_prob=0.25,
        re_mode="pixel",
        auto_augment="rand-m9-mstd0.5-inc1",
        color_jitter=0.3,
        interpolation="bicubic",
        num_workers=workers,
        device=torch.device("cpu"),
        persistent_workers=False,
    )
    mixup = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=1000)
    began = 0.0
    for number, (images, targets) in enumerate(loader.loader if fast else loader, 1):
        if not fast:
            images, targets = mixup(images, targets)
        assert images.dtype == (torch.uint8 if fast else torch.float32) and len(images) == len(targets) == batch
        if number == warm:
            began = cpu_seconds()
        if number == warm + measured:
            print((cpu_seconds() - began) / (batch * measured))
            break


if __name__ == "__main__":
    main()
