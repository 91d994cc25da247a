"""The worker opens MindSpore's own Ascend backend on stand-ins for CANN; no card is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ascend import stand_ins
from composition import freeze

from deit.config import frozen
from deit.runs import status
from deit.runs.directory import RunDirectory

ROOT = Path(__file__).resolve().parents[2]
OVERFLOW = "MS_ASCEND_CHECK_OVERFLOW_MODE"
pytestmark = pytest.mark.process


def work(folder: Path, *overrides: str, **environment: str) -> tuple[int, str, RunDirectory]:
    """python -m deit.worker on a run directory of its own: exit code, stderr, the directory."""
    run = RunDirectory(folder)
    run.logs.mkdir(parents=True)
    frozen.save(freeze("experiment=quickstart", "hardware=ascend1", "data.workers=0", *overrides), run.config)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MS_", "ASCEND_"))}
    path = os.pathsep.join(filter(None, (str(ROOT), environment.pop("PYTHONPATH", ""))))
    ended = subprocess.run(
        [sys.executable, "-m", "deit.worker", str(folder)],
        env=inherited | environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    return ended.returncode, ended.stderr, run


def test_saturation_is_refused_before_mindspore_is_imported(tmp_path: Path) -> None:
    (tmp_path / "stand_in").mkdir()
    (tmp_path / "stand_in" / "mindspore.py").write_text("raise SystemExit('MindSpore was imported')\n")
    beside = {"PYTHONPATH": str(tmp_path / "stand_in")}
    code, said, run = work(tmp_path / "run", **beside, **{OVERFLOW: "SATURATION_MODE"})
    assert code == 2 and said.count("\n") == 1 and f"{OVERFLOW}=SATURATION_MODE" in said and "INFNAN_MODE" in said
    assert status.read(run).outcome is not None and status.read(run).message == said.strip()
    code, said, _ = work(tmp_path / "other", **beside, **{OVERFLOW: "INFNAN_MODE"})
    assert said == "MindSpore was imported\n"


@pytest.mark.skipif(stand_ins.missing() is not None, reason=str(stand_ins.missing()))
def test_float16_on_a_910a_is_refused_by_the_worker(tmp_path: Path) -> None:
    environment = stand_ins.build(tmp_path / "stand_ins") | {"FAKE_SOC": "ascend910"}
    code, said, run = work(tmp_path / "run", "precision=o1", **environment)
    assert code == 2 and "Traceback" not in said
    message = status.read(run).message or ""
    assert message.startswith("precision.level is O1") and "910A" in message and message.endswith("give precision=fp32.")
