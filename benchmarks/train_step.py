"""How long a train step takes, compared with timm's ViT in torch eager with the same recipe: AdamW, clip, EMA, mixup, float32.

    make fixtures                                   # once: builds the environment of torch
    python benchmarks/train_step.py [--rounds 7] [NAME ...]
    python benchmarks/train_step.py --forward       # an evaluation batch of 64 instead, forward alone

Both run on the same cores, each in its own process, and take turns: a round is one step here and one there, so that
other load affects both equally. Ratios are medians of the rounds' ratios. The second ratio is that of the CPU time of all
cores, which is valid on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import steps  # next to this file; first, because it silences MindSpore

from deit.config.schema import AdamWOptim, RunConfig

FOLDER = Path(__file__).parent
PEER = FOLDER.parent / ".reference" / "venv" / "bin" / "python"
RECIPE = ("precision=fp32", "hardware=cpu", "ema=short", "optim.clip_grad=5.0")
# name: (overrides, the ratio that is the bar)
CASES: dict[str, tuple[tuple[str, ...], float]] = {
    "deit_micro 32/8, batch 64": (("experiment=quickstart", "optim.clip_grad=5.0"), 2.0),
    "deit_tiny 224/16, batch 16": (("model=deit_tiny", "data.batch_size=16", *RECIPE), 1.5),
    "deit_small 224/8, batch 4": (("model=deit_small", "model.patch_size=8", "data.batch_size=4", *RECIPE), 1.5),
}
FORWARD: dict[str, tuple[tuple[str, ...], float]] = {
    "deit_micro 32/8": (("experiment=quickstart",), 1.3),
    "deit_tiny 224/16": (("model=deit_tiny", *RECIPE), 1.3),
    "deit_small 224/16": (("model=deit_small", *RECIPE), 1.3),
}
EVALUATED = 64  # images of a forward pass


class Peer:
    """torch in a process of its own."""

    def __init__(self, described: dict[str, Any]) -> None:
        command = [str(PEER), str(FOLDER / "torch_peer.py"), json.dumps(described)]
        # Python's copy of the environment: MindSpore sets OMP_NUM_THREADS=1 in that of C, which would slow torch down.
        environment = dict(os.environ)
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self) -> tuple[float, float]:
        """Do one; milliseconds on the clock and on all cores together."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        clock, cores = map(float, self.process.stdout.readline().split())
        return clock, cores

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def described(config: RunConfig, batch: int, train: bool) -> dict[str, Any]:
    """What the peer has to know."""
    model, augment = config.model, config.augment
    assert isinstance(config.optim, AdamWOptim)
    return {
        **{
            name: getattr(model, name)
            for name in ("img_size", "patch_size", "embed_dim", "depth", "num_heads", "drop_path_rate")
        },
        **{"num_classes": config.data.num_classes, "mean": list(config.data.mean), "std": list(config.data.std)},
        **{"mixup": augment.mixup, "cutmix": augment.cutmix, "mixup_prob": augment.mixup_prob},
        **{"weight_decay": config.optim.weight_decay, "clip": config.optim.clip_grad},
        **{"ema_decay": config.ema.decay if config.ema.enabled else None, "batch": batch, "train": train},
    }


def timed(run: Any) -> tuple[float, float]:
    """Do one; milliseconds on the clock and on all cores together."""
    began, busy = time.perf_counter(), time.process_time()
    run()
    return 1000 * (time.perf_counter() - began), 1000 * (time.process_time() - busy)


def compare(typed: tuple[str, ...], train: bool, rounds: int) -> str:
    """Medians as columns of the table: clock here and there and their ratio, the same for all cores together."""
    config = steps.configuration(typed)
    batch = config.data.batch_size if train else EVALUATED
    peer = Peer(described(config, batch, train))
    run = steps.train_step(config) if train else steps.forward(config, batch)
    for _ in range(3):
        peer()
    for _ in range(9):  # MindSpore tries numbers of threads in the first calls of an operator
        run()
    here: list[tuple[float, float]] = []
    there: list[tuple[float, float]] = []
    for number in range(rounds):
        for side in (here, there) if number % 2 else (there, here):
            time.sleep(0.1)  # the threads of the other side still wait for work, which takes a core, for a few milliseconds
            side.append(timed(run) if side is here else peer())
    peer.close()
    columns = []
    for which in range(2):
        pairs = [(ours[which], theirs[which]) for ours, theirs in zip(here, there, strict=True)]
        ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        columns += [f"{ours:.0f}", f"{theirs:.0f}", f"{statistics.median(a / b for a, b in pairs):.2f}"]
    return " | ".join(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="cases whose name contains one of these; all without")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--forward", action="store_true", help="forward passes instead of train steps")
    chosen = parser.parse_args()
    if not PEER.exists():
        sys.exit(f"{PEER} is missing: run make fixtures, which builds the environment of torch and timm.")
    print("| model | ms | torch, ms | ratio | ms of cores | torch, ms of cores | ratio | bar |", flush=True)
    print("|---|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for name, (typed, bar) in (FORWARD if chosen.forward else CASES).items():
        if not chosen.names or any(part in name for part in chosen.names):
            print(f"| {name} | {compare(typed, not chosen.forward, chosen.rounds)} | {bar} |", flush=True)


if __name__ == "__main__":
    main()
