"""timm's fine-tuning of a ViT on class folders, in the environment of ``make fixtures``; ``finetune_vs_timm.py`` starts it.

It knows nothing of this project, and reads a JSON description from its argument: the sizes of the network, the weights in
timm's naming, the folder, the recipe, the seeds, and whether only the head is trained. For each seed it prints the top-1 after
the last epoch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "reference")]

import shims  # noqa: E402

LIBRARY = shims.install()

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from timm.data import create_dataset, create_transform  # noqa: E402
from timm.loss import LabelSmoothingCrossEntropy  # noqa: E402
from timm.models.vision_transformer import VisionTransformer  # noqa: E402
from timm.optim import create_optimizer_v2  # noqa: E402
from timm.scheduler import CosineLRScheduler  # noqa: E402


def main() -> None:
    said = json.loads(sys.argv[1])
    torch.set_num_threads(said["threads"])
    for seed in said["seeds"]:
        print(finetune(said, seed), flush=True)


def finetune(said: dict, seed: int) -> float:
    torch.manual_seed(seed)
    sizes = {name: said[name] for name in ("img_size", "patch_size", "embed_dim", "depth", "num_heads", "num_classes")}
    model = VisionTransformer(**sizes)
    body = {name: tensor for name, tensor in load_file(said["weights"]).items() if not name.startswith("head.")}
    missing = model.load_state_dict(body, strict=False)
    assert missing.missing_keys == ["head.weight", "head.bias"] and not missing.unexpected_keys  # the classes are others
    if said["probe"]:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith("head."))
    shared = {"input_size": (3, said["img_size"], said["img_size"]), "mean": said["mean"], "std": said["std"]}
    shared |= {"interpolation": "bicubic"}
    augmented = create_transform(
        is_training=True, scale=said["scale"], hflip=said["hflip"], color_jitter=None, auto_augment=None, re_prob=0.0, **shared
    )
    plain = create_transform(is_training=False, crop_pct=said["crop_pct"], **shared)
    train = create_dataset("", root=said["root"], split="train", is_training=True, transform=augmented)
    val = create_dataset("", root=said["root"], split="val", transform=plain)
    batches = torch.utils.data.DataLoader(train, said["batch"], shuffle=True, drop_last=said["drop_last"])
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = create_optimizer_v2(model, opt="adamw", lr=said["lr"], weight_decay=said["weight_decay"])
    steps = len(batches)
    schedule = CosineLRScheduler(
        optimizer,
        t_initial=said["epochs"] * steps,
        lr_min=said["min_lr"],
        warmup_t=said["warmup_epochs"] * steps,
        warmup_lr_init=said["warmup_lr"],
        t_in_epochs=False,
    )
    loss_of = LabelSmoothingCrossEntropy(said["smoothing"])
    done = 0
    for _ in range(said["epochs"]):
        model.train()
        for images, labels in batches:
            schedule.step_update(done)
            optimizer.zero_grad()
            loss_of(model(images), labels).backward()
            torch.nn.utils.clip_grad_norm_(trained, said["clip_grad"])
            optimizer.step()
            done += 1
    return accuracy(model, val)


@torch.no_grad()
def accuracy(model: torch.nn.Module, data: torch.utils.data.Dataset) -> float:
    model.eval()
    right = 0
    for images, labels in torch.utils.data.DataLoader(data, 64):
        right += int((model(images).argmax(1) == labels).sum())
    return 100 * right / len(data)


if __name__ == "__main__":
    main()
