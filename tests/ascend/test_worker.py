"""The worker opens MindSpore's own Ascend backend on stand-ins for CANN; no card is there."""

from __future__ import annotations

import json
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
OPEN = """
import json, os, sys
from pathlib import Path
from deit.config import frozen
from deit.worker import prepare_environment, set_device
config = frozen.load(Path(sys.argv[1]))
prepare_environment(config)
import mindspore as ms
from deit.engine import device
set_device(ms, config)
set_of = [ms.get_context("jit_level"), os.environ.get("HCCL_DETERMINISTIC")]  # set_deterministic sets the variable for HCCL
print(json.dumps([set_of, device.describe(config.hardware)]), flush=True)
os._exit(0)
"""
OVERFLOW = "MS_ASCEND_CHECK_OVERFLOW_MODE"
pytestmark = pytest.mark.process


def work(folder: Path, *overrides: str, **environment: str) -> tuple[int, str, RunDirectory]:
    """python -m deit.worker on a run directory of its own: exit code, stderr, the directory."""
    run = RunDirectory(folder)
    run.logs.mkdir(parents=True)
    frozen.save(freeze("experiment=quickstart", "hardware=ascend1", "data.workers=0", *overrides), run.config)
    ended = python("-m", "deit.worker", str(folder), folder=folder, **environment)  # where MindSpore leaves files
    return ended.returncode, ended.stderr, run


def python(*arguments: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MS_", "ASCEND_", "HCCL_"))}
    path = os.pathsep.join(filter(None, (str(ROOT), environment.pop("PYTHONPATH", ""))))
    command = [sys.executable, *arguments]
    environment = inherited | environment | {"PYTHONPATH": path}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


def test_saturation_is_rejected_before_mindspore_is_imported(tmp_path: Path) -> None:
    (tmp_path / "stand_in").mkdir()
    (tmp_path / "stand_in" / "mindspore.py").write_text("raise SystemExit('MindSpore was imported')\n")
    beside = {"PYTHONPATH": str(tmp_path / "stand_in")}
    code, said, run = work(tmp_path / "run", **beside, **{OVERFLOW: "SATURATION_MODE"})
    assert code == 2 and said.count("\n") == 1 and f"{OVERFLOW}=SATURATION_MODE" in said and "INFNAN_MODE" in said
    assert status.read(run).outcome is not None and status.read(run).message == said.strip()
    code, said, _ = work(tmp_path / "other", **beside, **{OVERFLOW: "INFNAN_MODE"})
    assert said == "MindSpore was imported\n"


@pytest.fixture(scope="module")
def cann(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    if (reason := stand_ins.missing()) is not None:
        pytest.skip(reason)
    return stand_ins.build(tmp_path_factory.mktemp("cann") / "stand_ins")


def test_float16_on_a_910a_is_rejected_by_the_worker(cann: dict[str, str], tmp_path: Path) -> None:
    code, said, run = work(tmp_path / "run", "precision=o1", FAKE_SOC="ascend910", **cann)
    assert code == 2 and "Traceback" not in said
    message = status.read(run).message or ""
    assert message.startswith("precision.level is O1") and "910A" in message and message.endswith("give precision=fp32.")


@pytest.mark.parametrize(
    ("overrides", "soc", "set_of", "described"),
    [
        (["hardware=cpu"], None, ["", None], {"target": "CPU"}),
        (["hardware=cpu", "hardware.jit_level=O1"], None, ["O1", None], {"target": "CPU", "jit_level": "O1"}),
        (
            ["hardware=ascend1"],
            "ascend910b",
            ["O1", "true"],
            {"generation": "910B", "overflow_mode": "INFNAN_MODE", "jit_level": "O1", "deterministic": True},
        ),
        (
            ["hardware=ascend1", "hardware.deterministic=false", "precision=fp32"],
            "ascend910",
            ["O0", None],
            {"generation": "910A", "overflow_mode": "INFNAN_MODE", "jit_level": "O0", "deterministic": False},
        ),
    ],
)
def test_device_computes_as_configured(
    overrides: list[str],
    soc: str | None,
    set_of: list[str | None],
    described: dict[str, object],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    frozen.save(freeze(*overrides), tmp_path / "config.yaml")
    environment = {} if soc is None else request.getfixturevalue("cann") | {"FAKE_SOC": soc}
    ended = python("-c", OPEN, str(tmp_path / "config.yaml"), folder=tmp_path, **environment)  # where MindSpore leaves files
    assert ended.returncode == 0, ended.stderr
    found_set, found = json.loads(ended.stdout.splitlines()[-1])
    expected = described if soc is None else {"target": "Ascend", "soc": soc, **described}
    assert (found_set, found) == (set_of, expected)


def test_training_runs_to_its_end(cann: dict[str, str], tmp_path: Path) -> None:
    """Steps, checkpoints and both evaluations are there; all numbers of the stand-ins are 0, so that no step counts.

    No step copies its images itself, for which the host would wait.
    """
    small = ("model.depth=1", "schedule.max_steps=4", "tracking.log_every=2", "checkpointing.every_steps=2", "ema=paper")
    skipping = ("optim.on_nonfinite=skip", "optim.max_nonfinite=100")
    small += ("data.batch_size=62", "data.eval_batch_size=67")  # no weights have as many bytes as these images
    code, said, run = work(tmp_path / "run", "precision=o1", *small, *skipping, TRACE_WAITS="1", **cann)
    config = frozen.load(run.config)
    pixels = config.model.img_size**2 * config.model.in_chans
    assert "bytes to the card" in said  # the weights
    for images in (config.data.batch_size, config.data.eval_batch_size):
        assert f"copied {images * pixels} bytes to the card" not in said
    assert code == 1 and "in each of the 4 steps the loss or its gradient was not finite" in said
    names = sorted(path.name for path in run.checkpoints.glob("step_*"))
    assert names == ["step_00000002", "step_00000004"]
    records = [json.loads(line) for line in run.journal.read_text().splitlines()]
    metrics = {name for record in records if record["kind"] == "metrics" for name in record["metrics"]}
    assert {"train/loss", "val/top1", "val_ema/top1"} <= metrics
