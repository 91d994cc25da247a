"""The output of every task in a real pty: two sizes, Ctrl-C, a resize, and without colours."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from terminal import Terminal

from deit.lookup import sweeps
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory
from deit.runs.outcome import INTERRUPTED

# Few images, and the network of SMALL, which is compiled once for all tests.
TINY = ("experiment=quickstart", "debug=fast", "hardware=cpu", "tracking=none", "model.embed_dim=16", "model.depth=2")
TINY += ("model.num_heads=2", "model.drop_path_rate=0.1", "data.batch_size=32", "data.eval_batch_size=64", "ema.decay=0.9")
TINY += ("data.workers=0",)
LONG = "schedule.epochs=20000"  # until somebody ends it
COLOUR = re.compile(rb"\x1b\[[0-9;]*(3[0-7]|9[0-7])m")
# The worker then writes its status at every call and notes what it writes: the launcher might read each of them.
WATCHED = """\
import sys
if "deit.worker" in sys.orig_argv:
    from deit.engine import recorder
    recorder.REFRESH = 0
    write = recorder.status.write
    def noting(run, now, **more):
        with open(run.path / "progress_keys", "a") as file:
            print(*sorted({"loss", "images_per_s", "data_wait"} & set(now.progress)), sep=",", file=file)
        write(run, now, **more)
    recorder.status.write = noting
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a blank, a ``#`` and what looks like markup in its name."""
    folder = tmp_path_factory.mktemp("term") / "a b#c [old]"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> RunDirectory:
    """A training in a small terminal that is enlarged while it runs, in a folder whose name looks like markup."""
    (folder / "sitecustomize.py").write_text(WATCHED)
    with Terminal(
        folder, *TINY, 'runs_dir="[old] runs[/y]"', "tracking.log_every=1", environment={"PYTHONPATH": str(folder)}
    ) as terminal:
        terminal.until("compiling")
        assert "ETA -" in terminal.screen  # compilation is no step
        terminal.resize(120, 40)
        terminal.until("best top-1")
        assert terminal.finish() == 0, terminal.everything
    seen = terminal.everything
    assert "Traceback" not in seen and "warning" not in seen
    # What a pipe shows is there to scroll back to; the panel is gone, and the cursor is there again.
    assert re.search(r"^epoch 2/2  loss \d\.\d{4}  lr .*top-1 .* raw, top-1 .* EMA  ETA 0:00$", seen, re.M), seen
    assert "step " not in seen and terminal.raw.rindex(b"\x1b[?25h") > terminal.raw.rindex(b"\x1b[?25l")
    assert re.search(r"finished in \d:\d\d; the run directory is \[old\] runs\[/y\]/debug/", seen), seen
    (path,) = (folder / "[old] runs[/y]" / "debug").iterdir()
    written = set((path / "progress_keys").read_text().split("\n")) - {""}
    assert written == {"data_wait,images_per_s,loss"}  # a step is one record, never half of one
    return RunDirectory(path)


def test_training_display_survives_a_resize(trained: RunDirectory) -> None:
    assert checkpoint.complete(trained)


def test_ctrl_c_ends_a_training_with_its_checkpoint(folder: Path) -> None:
    with Terminal(folder, *TINY, LONG, columns=120, lines=40) as terminal:
        terminal.until(lambda screen: re.search(r"ETA \d", screen) is not None)
        terminal.type("\x03")
        assert terminal.finish() == 130
    seen = terminal.everything
    assert "SIGINT: writing a checkpoint" in seen and "Traceback" not in seen
    assert re.search(r"resume with:  python \S*launch\.py\s+resume=runs/debug/\w+", seen)
    assert terminal.raw.rindex(b"\x1b[?25h") > terminal.raw.rindex(b"\x1b[?25l")


def test_evaluation_on_a_dumb_terminal(trained: RunDirectory, folder: Path) -> None:
    where = ("task=evaluate", f"run='{trained.path}'", "hardware=cpu", "tracking=none")
    with Terminal(folder, *where, environment={"TERM": "dumb"}) as terminal:
        assert terminal.finish() == 0
    assert b"\x1b" not in terminal.raw and "\nevaluating\n" in terminal.everything and "top-1 %" in terminal.everything


def test_predictions_without_colours(trained: RunDirectory, folder: Path) -> None:
    photos = folder / "photos [/y]"
    photos.mkdir(parents=True)
    for number in range(3):
        pixels = np.full((24, 24, 3), 40 * number, np.uint8)
        Image.fromarray(pixels).save(photos / f"photo {number}.png")
    where = ("task=predict", f"run='{trained.path}'", f"task.input='{photos}'", "hardware=cpu", "tracking=none")
    with Terminal(folder, *where, environment={"NO_COLOR": "1"}) as terminal:
        assert terminal.finish() == 0, terminal.everything
    assert COLOUR.search(terminal.raw) is None
    assert re.search(r"photo 2\.png  \d \d+\.\d %, \d \d+\.\d %", terminal.everything), terminal.everything
    assert "predictions.png" in terminal.everything


def test_export_and_data_tasks(trained: RunDirectory, folder: Path) -> None:
    data = folder / "data [/y]"
    for split, name in ((split, name) for split in ("train", "val") for name in ("cat", "dog")):
        (data / split / name).mkdir(parents=True)
        for number in range(2):
            pixels = np.random.default_rng(number + 2 * (name == "dog") + 4 * (split == "val")).integers(0, 256, (32, 32, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(data / split / name / f"{number}.png")
    own = ("data=imagefolder", f"data.root='{data}'", "data.num_classes=2")
    for arguments, shows in (
        (("task=check_data", *own), "images per class"),
        (("task=pack", *own, "task.output='packed [old]'"), "packed [old]/train: 4 images"),
        (("task=export", f"run='{trained.path}'", "task.format=onnx", "hardware=cpu"), "verified"),
    ):
        with Terminal(folder, *arguments, "tracking=none", columns=120, lines=40) as terminal:
            assert terminal.finish() == 0, terminal.everything
        assert shows in terminal.everything and "Traceback" not in terminal.everything, terminal.everything


def test_sweep_shows_its_trials_and_ctrl_c_is_not_a_failed_attempt(folder: Path) -> None:
    with Terminal(folder, "-m", *TINY, "seed=1,2", LONG, "sweep.cards=2") as terminal:
        both = terminal.until(lambda screen: len(re.findall(r"running +\d+/20000 +\d\.\d{4} ", screen)) == 2)
        assert re.search(r"trial +state +epoch +loss +top-1 % +ETA +cards +values", both)
        assert "2 running" in both
        terminal.type("\x03")
        assert terminal.finish() == 130, terminal.everything
    assert "The sweep was stopped. Resume it with:" in terminal.everything and "failed" not in terminal.everything
    sweep = sweeps.find("last", "sweep.dir", str(folder / "runs"))
    trials = sweep.read_trials()
    assert [trial.state for trial in trials] == [INTERRUPTED] * 2
    assert not any(attempt.failed for trial in trials for attempt in trial.attempts)


def test_a_sweep_ends_with_its_results(folder: Path) -> None:
    with Terminal(folder, "-m", *TINY, "seed=1,2", "sweep.cards=2", "sweep.retries=0", columns=120, lines=9) as terminal:
        terminal.until("2 running")  # below both rows, in nine lines
        assert terminal.finish() == 0, terminal.everything
    assert "Traceback" not in terminal.everything and "2 trials in" in terminal.everything
