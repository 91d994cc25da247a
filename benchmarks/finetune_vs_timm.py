"""The same fine-tuning here and in timm, from the same weights, over several seeds: top-1 after the last epoch.

    python benchmarks/finetune_vs_timm.py FOLDER WEIGHTS [--seeds 5] [--epochs 20] [--probe]

FOLDER has train/ and val/ with class folders, WEIGHTS are what ``model.pretrained`` takes for DeiT-micro, such as a run. Both
sides crop and mirror the images, nothing else, and have the same optimizer, schedule, clipping and label smoothing. ``--probe``
trains the head alone. Random choices differ, so the means should agree within their intervals. Needs ``make fixtures``.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / ".reference/venv/bin/python"
NETWORK = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 4}  # model=deit_micro
RECIPE = {"lr": 5e-4, "weight_decay": 0.05, "warmup_epochs": 2, "warmup_lr": 1e-6, "min_lr": 1e-6, "clip_grad": 1.0}
IMAGES = {"scale": [0.4, 1.0], "hflip": 0.5, "smoothing": 0.1, "crop_pct": 0.9}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("weights")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--probe", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        ours = [_ours(chosen, seed, Path(scratch)) for seed in range(chosen.seeds)]
        _say("this project", ours)
        _say("timm", theirs := _theirs(chosen, Path(scratch)))
    difference = statistics.mean(ours) - statistics.mean(theirs)
    spread = math.sqrt((statistics.variance(ours) + statistics.variance(theirs)) / chosen.seeds)
    # With equal numbers of seeds; Welch's degrees of freedom are at least those of one side.
    interval = stats.t.ppf(0.975, chosen.seeds - 1) * spread
    print(f"difference {difference:+.2f} +- {interval:.2f} (95 %)")


def _say(who: str, found: list[float]) -> None:
    every = ", ".join(f"{value:.2f}" for value in found)
    print(f"{who:14} {statistics.mean(found):.2f} +- {statistics.stdev(found):.2f} % top-1 ({every})", flush=True)


def _launch(*arguments: str) -> None:
    subprocess.run([sys.executable, str(ROOT / "launch.py"), *arguments], check=True, stdout=subprocess.DEVNULL)


def _ours(chosen: argparse.Namespace, seed: int, scratch: Path) -> float:
    recipe = {
        "schedule.warmup_epochs": RECIPE["warmup_epochs"],
        "schedule.warmup_lr": RECIPE["warmup_lr"],
        "schedule.min_lr": RECIPE["min_lr"],
        "optim.base_lr": RECIPE["lr"],
        "optim.weight_decay": RECIPE["weight_decay"],
        "optim.clip_grad": RECIPE["clip_grad"],
        "augment.scale": IMAGES["scale"],
        "augment.hflip": IMAGES["hflip"],
        "augment.smoothing": IMAGES["smoothing"],
        "data.crop_pct": IMAGES["crop_pct"],
        "data.mean": MEAN,
        "data.std": STD,
        "data.batch_size": chosen.batch,
        "data.last_batch": "drop",
        "schedule.epochs": chosen.epochs,
        "schedule.eval_every": chosen.epochs,
        "checkpointing.every": chosen.epochs,
    }
    values = [f"{key}={str(value).replace(' ', '')}" for key, value in recipe.items()]
    probe = ["model.freeze=all_but_head"] if chosen.probe else []
    folder = [f"data.root='{chosen.folder.resolve()}'", f"runs_dir='{scratch}'", f"name=seed{seed}", f"seed={seed}"]
    start = ["experiment=finetune", "model=deit_micro", f"model.pretrained='{chosen.weights}'", "augment=light", "ema=none"]
    _launch(*start, *folder, *values, *probe, "model.drop_path_rate=0", "hardware=cpu", "tracking=none")
    (status,) = scratch.glob(f"seed{seed}/*/status.json")
    return float(json.loads(status.read_text())["results"]["last"]["val"]["top1"])


def _theirs(chosen: argparse.Namespace, scratch: Path) -> list[float]:
    weights = scratch / "timm.safetensors"
    given = Path(chosen.weights)
    key = "run" if (given / "config.yaml").is_file() or chosen.weights == "last" else "checkpoint"
    model = [] if key == "run" else ["model=deit_micro"]
    _launch("task=convert", f"{key}='{chosen.weights}'", f"task.output='{weights}'", "task.naming=timm", *model)
    said = NETWORK | RECIPE | IMAGES | {"mean": MEAN, "std": STD, "weights": str(weights), "root": str(chosen.folder.resolve())}
    said |= {"num_classes": len([path for path in (chosen.folder / "train").iterdir() if path.is_dir()])}
    said |= {"batch": chosen.batch, "epochs": chosen.epochs, "seeds": list(range(chosen.seeds)), "probe": chosen.probe}
    said |= {"threads": chosen.threads, "drop_last": True}
    peer = subprocess.run([PEER, ROOT / "benchmarks/timm_finetune_peer.py", json.dumps(said)], check=True, capture_output=True)
    return [float(line) for line in peer.stdout.split()]


if __name__ == "__main__":
    main()
