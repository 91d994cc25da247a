"""Processes that read images: the same bytes as without them, and they always end with the training."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from composition import composed
from PIL import Image

from deit.config.schema import RunConfig
from deit.data.datasets import open_dataset
from deit.data.loader import EvalBatch, EvalLoader, TrainBatch, TrainLoader
from deit.data.prefetch import Here, Prefetcher, Threads
from deit.data.prefetcher_choice import pays_for_processes
from deit.data.process_prefetcher import Processes
from deit.data.rows import EvalRows, TrainRows
from deit.errors import BadImage, UserError

COUNT = 1008  # images of each split, just enough for processes
BAD = ("train/a/0003.png", "val/b/0004.png")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree with a blank #1")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in "ab":
            (root / split / name).mkdir(parents=True)
            for number in range(COUNT // 2):
                image = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
                image.save(root / split / name / f"{number:04}.{'png' if number < 9 else 'jpg'}")
    for name in BAD:
        (root / name).write_bytes(b"broken")
    return root


def configured(tree: Path, workers: int, *more: str) -> RunConfig:
    return composed(
        "data=imagefolder",
        f"data.root='{tree}'",
        "data.num_classes=2",
        f"data.workers={workers}",
        "data.batch_size=48",
        "data.eval_batch_size=100",
        "model=deit_micro",
        "model.img_size=32",
        "model.patch_size=8",
        "hardware=cpu",
        "tracking=none",
        "data.on_bad_image=skip",
        *more,
    )


def loader(tree: Path, workers: int, *more: str) -> TrainLoader:
    config = configured(tree, workers, *more)
    return TrainLoader(config, open_dataset(config.data, True), 0, 1)


def facts(batches: Iterator[TrainBatch] | list[TrainBatch]) -> list[dict[str, object]]:
    """All of each batch, copied: nothing here keeps its memory from being used again."""

    def plain(value: object) -> object:
        if isinstance(value, np.ndarray):
            return value.tobytes(), value.dtype, value.shape
        if isinstance(value, list):  # bad images, of an evaluation also by number
            return [each[0] if isinstance(each, tuple) else (each.file, each.kind, each.reason) for each in value]
        return value

    names = {
        *(field.name for field in dataclasses.fields(TrainBatch)),
        *(field.name for field in dataclasses.fields(EvalBatch)),
    }
    return [{name: plain(getattr(batch, name)) for name in sorted(names) if hasattr(batch, name)} for batch in batches]


def processes_of(prefetcher: Prefetcher | None) -> tuple[psutil.Process, list[psutil.Process]]:
    """The foreman and the image processes, once all of these are there."""
    assert isinstance(prefetcher, Processes)
    foreman = psutil.Process(prefetcher._foreman.pid)
    while len(found := foreman.children()) < prefetcher.workers:
        assert foreman.is_running() and foreman.status() != psutil.STATUS_ZOMBIE
        time.sleep(0.02)  # looking reads all of /proc
    return foreman, found


def test_image_processes_give_the_bytes_of_one_thread_from_any_step(tree: Path) -> None:
    alone = loader(tree, 0)
    wanted = facts(alone.epoch(1))
    assert isinstance(alone._prefetcher, Here) and len(wanted) == COUNT // 48
    assert [bad for batch in wanted for bad in batch["bad"]] != []  # type: ignore[attr-defined]
    for workers in (1, 3):
        several = loader(tree, workers)
        left = several.epoch(1)  # left while its next batches are made
        first = next(left)
        assert facts([first]) == wanted[:1]
        left.close()
        other = several.epoch(1, start=3)  # two at a time
        assert facts([next(other)]) == wanted[3:4]
        assert facts(several.epoch(1, start=5)) == wanted[5:]
        assert facts(other) == wanted[4:]
        assert facts([first]) == wanted[:1]  # still whole
        assert isinstance(several._prefetcher, Processes) and several._prefetcher._slots < 20
        kept = list(several.epoch(1))  # as many as are kept
        assert facts(kept) == wanted
    evaluations = []
    for workers in (0, 2):
        config = configured(tree, workers)
        evaluation = EvalLoader(config, open_dataset(config.data, False), 0, 1)
        evaluations.append(facts(iter(evaluation)))  # type: ignore[arg-type]
        assert facts(iter(evaluation)) == evaluations[-1]  # type: ignore[arg-type]
        assert isinstance(evaluation._prefetcher, Processes if workers else Here)
    assert evaluations[0] == evaluations[1]


def test_image_processes_import_no_mindspore_and_have_one_thread(tree: Path) -> None:
    several = loader(tree, 2)
    next(several.epoch(0))
    for process in processes_of(several._prefetcher)[1]:
        assert not [each.path for each in process.memory_maps() if "mindspore" in each.path]
        assert process.num_threads() == 1


def test_error_of_an_image_is_raised_in_the_training(tree: Path) -> None:
    strict = loader(tree, 2, "data.on_bad_image=error")
    with pytest.raises(BadImage, match=r"0003\.png: not readable as an image") as caught:
        list(strict.epoch(0))
    assert caught.value.exit_code == 1 and caught.value.kind == "no image"
    several = loader(tree, 2)
    several.rows.transform.size = -1  # an error of the program, behind the back of what has checked it
    with pytest.raises(Exception, match="resize") as fault:
        list(several.epoch(0))
    assert not isinstance(fault.value, UserError)


@pytest.mark.parametrize("victim", ["image process", "foreman"])
def test_killed_image_process_ends_the_run_with_one_message(victim: str, tree: Path) -> None:
    several = loader(tree, 2)
    batches = several.epoch(0)
    next(batches)
    foreman, workers = processes_of(several._prefetcher)
    (foreman if victim == "foreman" else workers[0]).kill()
    with pytest.raises(UserError, match=r"was killed by SIGKILL; if the machine .* lower data\.workers\.$") as caught:
        for _ in range(9):
            list(batches)
            batches = several.epoch(1)
    assert caught.value.exit_code == 1
    psutil.wait_procs([foreman, *workers], timeout=60)
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in workers)


PROGRAM = """
import json, sys
sys.path[:0] = json.loads(sys.argv[2])
from pathlib import Path
from test_image_processes import loader, processes_of
several = loader(Path(sys.argv[1]), 2)
batches = several.epoch(0)
next(batches)
foreman, workers = processes_of(several._prefetcher)
print(json.dumps([foreman.pid, *(process.pid for process in workers)]), flush=True)
sys.stdin.readline()
if sys.argv[3] == "error":
    raise ValueError("on purpose")
"""


@pytest.mark.parametrize("how", ["end", "error", "SIGINT", "SIGTERM", "SIGKILL"])
def test_image_processes_end_with_their_training(how: str, tree: Path) -> None:
    before = set(Path("/dev/shm").iterdir())
    training = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tree), json.dumps([str(Path(__file__).parent), *sys.path]), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert training.stdout is not None and training.stdin is not None
    line = training.stdout.readline()
    found = [psutil.Process(pid) for pid in json.loads(line)]
    assert len(found) == 3
    if how.startswith("SIG"):
        number = getattr(signal, how)
        if how == "SIGINT":  # as a terminal does: to all of them
            os.killpg(training.pid, number)
        else:
            training.send_signal(number)
    _, said = training.communicate(None if how.startswith("SIG") else b"end\n", timeout=120)
    if how != "error":
        assert b"Traceback" not in said or how == "SIGINT"
    assert said.count(b"Traceback") <= 1  # none of the processes has one of its own
    gone, alive = psutil.wait_procs(found, timeout=60)
    assert not alive and len(gone) == 3
    assert set(Path("/dev/shm").iterdir()) <= before


def test_few_or_small_images_are_read_by_threads(tree: Path) -> None:
    def prefetcher(*overrides: str) -> Prefetcher | None:
        config = composed(*overrides)
        made = TrainLoader(config, open_dataset(config.data, True), 0, 1)
        made.epoch(0).close()
        return made._prefetcher

    quickstart = prefetcher("experiment=quickstart", "data.workers=4")
    assert isinstance(quickstart, Threads) and quickstart.workers == 1
    few = configured(tree, 4, "data.train_limit=100")
    rows = TrainRows(few, open_dataset(few.data, True))
    assert not pays_for_processes(rows)
    assert pays_for_processes(EvalRows(few, open_dataset(few.data, False), None))
