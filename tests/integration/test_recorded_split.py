"""A training on unsplit class folders records its split, and resumes with it after files were added."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from composition import freeze
from launching import SMALL, launch, only_run
from PIL import Image

from deit.commands.train import TASK
from deit.config import frozen
from deit.data import listed
from deit.errors import UserError
from deit.files import read_json
from deit.launching.nodes import Machines
from deit.launching.run import Start
from deit.runs import status
from deit.runs.create import create

OF_FOLDERS = ("data=imagefolder", "data.root=my photos", "data.batch_size=8", "data.workers=0", "tracking=none")
# Its two classes need a step of their own, so the smallest.
PLAIN = ("model.depth=1", "augment=none", "ema=none", "model.drop_path_rate=0")
SHORT = (*(each for each in SMALL if not each.startswith(("data.", "schedule.", "ema."))), *PLAIN, "schedule.warmup_epochs=0")


def photos(folder: Path, numbers: range) -> None:
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            pixels = np.full((32, 32, 3), 100 * label + number, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_resumed_run_keeps_its_split(tmp_path: Path) -> None:
    photos(tmp_path / "my photos", range(20))
    ended = launch(tmp_path, *SHORT, *OF_FOLDERS, "schedule.epochs=1")
    assert ended.returncode == 0, ended.stderr
    run = only_run(tmp_path)
    before, split = read_json(run.data), run.split.read_text()
    assert [before[name]["images"] for name in ("train", "val")] == [32, 8] and split.count("\n") == 40
    photos(tmp_path / "my photos", range(20, 30))
    ended = launch(tmp_path, "resume=last", "schedule.epochs=2")
    assert ended.returncode == 0, ended.stderr
    assert read_json(run.data) == before and run.split.read_text() == split
    assert frozen.load(run.config).data.split_file is None  # so that the run can be moved


def test_unwritable_split_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "my photos", range(4))
    monkeypatch.chdir(tmp_path)
    config = freeze("experiment=quickstart", "data=imagefolder", "data.root=my photos", "runs_dir=runs")
    run = create(config, [])
    monkeypatch.setattr(listed, "write_text", full)
    start = Start(run, config, [], Machines(run, config.hardware))
    with pytest.raises(UserError, match=r"split.jsonl: cannot be written \(No space left on device\)"):
        TASK.work(start)
    assert status.read(run).state == "failed"


def full(path: Path, text: str) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
