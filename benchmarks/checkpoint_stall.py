"""The cost of a checkpoint for the training: written in the background, or while the training waits.

    python benchmarks/checkpoint_stall.py [--rounds 6]

One training of the size of DeiT-small (weights, moving average and two moments: 345 MB) on tiny images. Windows of ten
steps take turns: one without a checkpoint, one with a checkpoint in the background, one with a blocking
checkpoint. ``stall`` is how long the step waits, ``cost`` how much longer the whole window took than one without.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

WINDOW = 10  # steps
MODES = ("none", "background", "blocking")
RECIPE = (
    "model=deit_small",
    "model.img_size=32",
    "data=synthetic",
    "data.train_size=100000",
    "data.val_size=16",
    "data.batch_size=16",
    "data.eval_batch_size=16",
    "augment=none",
    "ema=paper",
    "precision=fp32",
    "hardware=cpu",
    "tracking=none",
    f"checkpointing.every_steps={WINDOW}",
    "checkpointing.keep_last=1",
)


def child(run: str) -> None:
    """The worker, whose saver alternates the modes and records the start of each window and how long the step waited."""
    from deit import worker
    from deit.engine.saver import Saver

    original = Saver.save
    begins: list[float] = []
    stalls: list[float] = []

    def save(self: Saver, step: int, parts: Callable[[], Any], facts: Any) -> None:
        began = time.perf_counter()
        begins.append(began)
        mode = MODES[len(stalls) % 3]
        if mode == "none":
            self.at(step)
        else:
            original(self, step, parts, facts)
        if mode == "blocking":
            self.wait()
        stalls.append(time.perf_counter() - began)

    Saver.save = save  # type: ignore[method-assign]
    assert worker.main([run]) == 0
    windows = [after - before for before, after in itertools.pairwise(begins)]
    # The first round warms up.
    of = {mode: [(windows[i], stalls[i]) for i in range(i0, len(windows), 3) if i >= 3] for i0, mode in enumerate(MODES)}
    medians = {mode: [statistics.median(column) for column in zip(*pairs, strict=True)] for mode, pairs in of.items()}
    plain = medians["none"][0]
    print(f"{WINDOW} steps without a checkpoint: {1000 * plain:.0f} ms  (medians of {len(of['none'])})")
    for mode in MODES[1:]:
        window, stall = medians[mode]
        print(f"{mode:10}  stall {1000 * stall:6.0f} ms   cost {1000 * (window - plain):6.0f} ms")
    stall_ratio = medians["background"][1] / medians["blocking"][1]
    cost_ratio = (medians["background"][0] - plain) / (medians["blocking"][0] - plain)
    print(f"background / blocking: stall {stall_ratio:.3f}, cost {cost_ratio:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6, help="rounds of the three modes that count (default 6)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        steps = f"schedule.max_steps={WINDOW * (3 * (given.rounds + 1) + 1)}"
        run = prepare(folder, *RECIPE, steps)
        subprocess.run([sys.executable, __file__, "--child", str(run)], cwd=folder, check=True)


def prepare(folder: Path, *typed: str) -> Path:
    """The run directory of a configuration, as the launcher prepares it for the worker."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import open_dict

    from deit.commands.table import configured
    from deit.compose import freeze, groups, overrides
    from deit.config import frozen
    from deit.runs import directory

    freeze.register()
    given = overrides.check(typed, sweeping=False)
    with initialize_config_dir(str(groups.CONF), version_base="1.3"):
        composed = hydra_compose("config", list(typed))
    with open_dict(composed):
        composed.pop("hydra", None)
    config = configured(composed, given)
    run = directory.create(folder, "stall")
    frozen.save(config, run.config)
    return run.path


if __name__ == "__main__":
    main()
