"""The cost of resuming late in an epoch: from the resume to the first new step, compared with early in the same epoch.

    python benchmarks/resume_skip.py [--repeats 3]

An epoch of 1,281,167 synthetic images (ImageNet's number) is started, then resumed near its beginning and near its end: the
checkpoint of the first steps is rewritten with the number of a later step. Each is a separate launch, in turns. The
output also has the time that reading the skipped images would take on this machine.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from deit.config import frozen  # noqa: E402
from deit.data.datasets import open_dataset  # noqa: E402
from deit.data.loader import TrainLoader  # noqa: E402
from deit.runs import checkpoint  # noqa: E402
from deit.runs.directory import RunDirectory  # noqa: E402
from deit.runs.journal import read  # noqa: E402

IMAGES, BATCH, EARLY = 1_281_167, 64, 2
RECIPE = (
    "experiment=quickstart",
    "data=synthetic",
    f"data.train_size={IMAGES}",
    "data.val_size=64",
    f"data.batch_size={BATCH}",
    "data.eval_batch_size=64",
    "model.embed_dim=16",
    "model.depth=1",
    "model.num_heads=1",
    "schedule.epochs=3",
    "tracking=none",
    "tracking.log_every=1",
    f"schedule.max_steps={EARLY}",
    "hardware=cpu",
)


def launch(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, str(ROOT / "launch.py"), *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def at_step(begun: RunDirectory, folder: Path, step: int) -> RunDirectory:
    """A copy of the run with a checkpoint at ``step``."""
    run = RunDirectory(shutil.copytree(begun.path, folder))
    path = checkpoint.complete(run)[-1]
    state = checkpoint.read_state(path)
    parts = {name.partition(".")[0]: checkpoint.read_part(path, name.partition(".")[0]) for name in state.pop("files")}
    for key in ("format", "step"):
        state.pop(key)
    shutil.rmtree(run.checkpoints)
    run.checkpoints.mkdir()
    run.journal.unlink()
    checkpoint.write(run, step, parts, state | {"best": {}, "last": {}, "window": []})
    return run


def seconds_to_first_step(folder: Path, run: RunDirectory, step: int) -> tuple[float, float]:
    """(from the checkpoint loaded to the first new step, from the command to it), in seconds."""
    began = time.time()
    launch(folder, f"resume={run.path}", f"schedule.max_steps={step + 2}")
    records = [record for _, record in read(run.journal)]
    resumed = next(record["time"] for record in records if record.get("event") == "resumed")
    first = next(record["time"] for record in records if "train/loss" in record.get("metrics", {}))
    return (first - resumed) / 1000, first / 1000 - began


def images_per_second(run: RunDirectory) -> float:
    """How fast this machine reads the images of the run, without other load."""
    config = frozen.load(run.config)
    batches = TrainLoader(config, open_dataset(config.data, train=True), 0, 1).epoch(0)
    next(batches)
    began = time.perf_counter()
    for _ in range(50):
        next(batches)
    taken = time.perf_counter() - began
    batches.close()
    return 50 * BATCH / taken


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="launches at each place (default 3)")
    repeats = parser.parse_args().repeats
    late = IMAGES // BATCH - 5
    found: dict[int, list[tuple[float, float]]] = {EARLY: [], late: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        launch(folder, *RECIPE)
        (path,) = folder.glob("runs/*/*")
        begun = RunDirectory(path)
        speed = images_per_second(begun)
        for repeat in range(repeats):
            for step, times in found.items():
                run = at_step(begun, folder / f"{step}_{repeat}", step)
                times.append(seconds_to_first_step(folder, run, step))
    medians = {step: [statistics.median(column) for column in zip(*times, strict=True)] for step, times in found.items()}
    for step, (loaded, command) in medians.items():
        print(
            f"resume at step {step:6} of {IMAGES // BATCH}: first new step {loaded:.2f} s after loading, {command:.2f} s in all"
        )
    ratio = medians[late][0] / medians[EARLY][0]
    print(f"late / early: {ratio:.2f}  (medians of {repeats})")
    print(
        f"reading the {late * BATCH:,} images before it would take {late * BATCH / speed:,.0f} s here ({speed:,.0f} images/s)"
    )


if __name__ == "__main__":
    main()
