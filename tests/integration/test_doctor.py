"""task=doctor on this machine, which has no card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from command import LAUNCH


def doctor(folder: Path, *typed: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ASCEND")}
    return subprocess.run(
        [sys.executable, str(LAUNCH), "task=doctor", *typed],
        cwd=folder,
        env=environment | {"NO_COLOR": "1", "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )


def test_doctor_page_of_this_machine(tmp_path: Path) -> None:
    folder = tmp_path / "a #b"
    folder.mkdir()
    ended = doctor(folder, "experiment=quickstart", "hardware=cpu2", "optim.base_lr=1e-3", "task.format=json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    page = json.loads(ended.stdout)
    checks = {check["name"]: check for check in page["checks"]}
    assert page["can_train"] and {check["level"] for check in checks.values()} <= {"ok", "warn"}
    assert checks["MindSpore"]["text"].endswith("computes on the CPU")
    assert checks["Ascend driver"]["text"] == "npu-smi not found, no /dev/davinci*; not needed with hardware.target=cpu"
    names = ["Python", "packages", "MindSpore", "Ascend driver", "CANN", "cards", "HCCL", "msrun", "GCC", "CPU cores"]
    assert list(checks) == [*names, "memory", "/dev/shm", "runs_dir", "MLflow", "terminal"]
    assert list(folder.iterdir()) == [], "it leaves nothing"


def test_unsupported_training_is_red(tmp_path: Path) -> None:
    ended = doctor(tmp_path, "hardware=ascend8")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "\x1b" not in ended.stdout
    for line in ("fail  Ascend driver  npu-smi not found", "fail  CANN ", "fail  cards ", "fail  MindSpore "):
        assert line in ended.stdout
    assert "libge_runner.so: cannot open shared object file" in " ".join(ended.stdout.split()), "the cause, of MindSpore's page"
    assert "-> install the Ascend driver and firmware, or give hardware=cpu" in ended.stdout
    assert ended.stdout.splitlines()[-1].startswith(
        "this machine cannot train what was composed (hardware.target ascend, cards 8"
    )
    refused = doctor(tmp_path, "resume=last")
    assert refused.returncode == 2 and refused.stderr.startswith("resume=last with task=doctor")
