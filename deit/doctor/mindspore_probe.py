"""Facts from MindSpore, queried in a separate process: the control side never imports it, and an import may crash.

    python -m deit.doctor.mindspore_probe CPU|Ascend|GPU

prints one line of JSON: version, supported CANN versions, and the result of an addition on the device.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from deit.machine.python import python_environment

PATIENCE = 180  # seconds; also detects a card that hangs at its first operator


def probe(target: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """The facts; only ``{"error": why}`` if MindSpore cannot be imported, with an ``error`` if the device fails."""
    command = [sys.executable, "-m", "deit.doctor.mindspore_probe", target]
    with tempfile.TemporaryDirectory() as folder:  # MindSpore writes into the working directory
        try:
            ended = subprocess.run(
                command,
                cwd=folder,
                env=python_environment() | {"GLOG_v": "3"} | (environment or {}),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"no answer within {PATIENCE} s"}
    facts: dict[str, Any] = {}
    for line in ended.stdout.splitlines():
        if line.startswith('{"mindspore"'):
            facts |= json.loads(line)
    if ended.returncode and "error" not in facts:
        said = [line for line in ended.stderr.splitlines() if line.strip()]
        facts["error"] = said[-1].strip() if said else f"ended by signal or exit code {ended.returncode}"
    return facts


def main(target: str) -> int:
    """Print the facts after each stage, so that a crash in the next one loses nothing."""
    import mindspore

    facts: dict[str, Any] = {"mindspore": mindspore.__version__, "cann": _supported_cann()}
    print(json.dumps(facts), flush=True)
    try:
        mindspore.set_device(target)
        # The launcher sets the environment, so this is the first of the given cards.
        total = float((mindspore.Tensor([1.0, 2.0]) + mindspore.Tensor([3.0, 4.0])).sum().asnumpy())
    except Exception as error:
        facts["error"] = f"{type(error).__name__}: {_cause(str(error))}"
    else:
        if total != 10.0:
            facts["error"] = f"1 + 2 + 3 + 4 is {total:g} on this device"
        elif target == "Ascend":
            from deit.engine import device

            facts |= {"soc": device.soc(), "generation": device.generation()}
    print(json.dumps(facts), flush=True)
    return 0


def _cause(message: str) -> str:
    """The line that says most: a library that cannot be loaded, in the middle of MindSpore's text, or the first one."""
    lines = [line.strip() for line in message.splitlines() if line.strip() and not line.startswith("-")]
    loading = [line for line in lines if line.startswith("Load dynamic library")]
    return next(iter(loading or lines), "")


def _supported_cann() -> list[str]:
    """From MindSpore's own check at its import; empty if that has changed."""
    try:
        from mindspore.run_check._check_version import AscendEnvChecker

        return [str(version) for version in AscendEnvChecker(None).version]
    except (ImportError, AttributeError, TypeError):
        return []


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stdout.flush()
    os._exit(code)  # errors of the device at process exit do not matter here
