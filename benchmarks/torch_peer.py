"""The peer of train_step.py and forward.py: timm's ViT in torch eager, with the same recipe on the same random pixels.

It runs in the environment of ``make fixtures`` and knows nothing of this project. It reads a JSON description from its
arguments. For each input line it does one step, or one forward pass, and prints its milliseconds of wall
clock and of CPU time.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from reference import shims

LIBRARY = shims.install()  # torchvision, which timm imports, has no CPU build

from timm.data import Mixup  # noqa: E402
from timm.models.vision_transformer import VisionTransformer  # noqa: E402
from timm.optim import param_groups_weight_decay  # noqa: E402
from timm.utils import ModelEmaV3  # noqa: E402


def main() -> None:
    said = json.loads(sys.argv[1])
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=said["img_size"],
        patch_size=said["patch_size"],
        embed_dim=said["embed_dim"],
        depth=said["depth"],
        num_heads=said["num_heads"],
        num_classes=said["num_classes"],
        drop_path_rate=said["drop_path_rate"],
    )
    batch, size = said["batch"], said["img_size"]
    images = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8)
    mean, std = (255 * torch.tensor(said[name]) for name in ("mean", "std"))
    run = step(said, model, images, mean, std) if said["train"] else forward(model, images, mean, std)
    for _ in sys.stdin:
        began, busy = time.perf_counter(), time.process_time()
        run()
        print(1000 * (time.perf_counter() - began), 1000 * (time.process_time() - busy), flush=True)


def normalized(images: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    return images.permute(0, 3, 1, 2).float().sub_(mean.view(3, 1, 1)).div_(std.view(3, 1, 1))


def step(said, model, images, mean, std):  # type: ignore[no-untyped-def]
    model.train()
    groups = param_groups_weight_decay(model, said["weight_decay"], no_weight_decay_list=model.no_weight_decay())
    optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.999), eps=1e-8)
    average = ModelEmaV3(model, decay=said["ema_decay"]) if said["ema_decay"] is not None else None
    mixup = None
    if said["mixup"] > 0 or said["cutmix"] > 0:
        mixup = Mixup(
            said["mixup"], said["cutmix"], prob=said["mixup_prob"], label_smoothing=0.1, num_classes=said["num_classes"]
        )
    labels = torch.randint(0, said["num_classes"], (len(images),))

    def run() -> None:
        x = normalized(images, mean, std)
        targets = labels
        if mixup is not None:
            x, targets = mixup(x, labels)
        loss = torch.nn.functional.cross_entropy(model(x), targets)
        optimizer.zero_grad()
        loss.backward()
        if said["clip"] is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), said["clip"])
        optimizer.step()
        if average is not None:
            average.update(model)
        loss.item()

    return run


def forward(model, images, mean, std):  # type: ignore[no-untyped-def]
    model.eval()
    x = normalized(images, mean, std)

    def run() -> None:
        with torch.inference_mode():
            model(x)

    return run


if __name__ == "__main__":
    main()
