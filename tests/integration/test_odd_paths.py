"""A complete run in a folder whose name has blanks, ``#``, ``%``, ``?`` and non-ASCII letters."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from launching import SMALL, launch
from ports import reserved_port

ODD = "a#b g%20h 图 片? [x]"
PATIENCE = 600.0


def test_run_in_a_folder_with_an_odd_name_is_tracked_and_printed(tmp_path: Path) -> None:
    folder = tmp_path / ODD
    folder.mkdir()
    trained = launch(
        folder, *SMALL, "schedule.epochs=1", "schedule.warmup_epochs=0", "hardware=cpu", "tracking.flush_timeout=500"
    )
    assert trained.returncode == 0, trained.stderr
    # The database is here, not beside the folder, and what MLflow has is whole.
    assert sorted(path.name for path in tmp_path.iterdir()) == [ODD]
    with sqlite3.connect(f"{(folder / 'mlflow.db').as_uri()}?mode=ro", uri=True) as database:
        ((run_id, artifacts),) = database.execute("SELECT run_uuid, artifact_uri FROM runs").fetchall()
    assert artifacts.startswith((folder / "mlruns").as_uri())
    assert (folder / "mlruns" / "digits" / run_id / "artifacts" / "config.yaml").is_file()

    (line,) = re.findall(r"(MLFLOW_SERVER_\S+ mlflow ui .*)", trained.stdout)
    assert served(folder, line) == {"digits": [run_id]}


def served(folder: Path, line: str) -> dict[str, list[str]]:
    """The runs of each experiment that the server of the printed ``line`` has, when a shell runs it in ``folder``."""
    port = reserved_port()
    bin_first = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    server = subprocess.Popen(
        ["sh", "-c", f"{line} --port {port}"],
        cwd=folder,
        env=os.environ | bin_first,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                found = asked(port, "experiments/search", max_results=100)["experiments"]
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < end
                time.sleep(0.2)
        runs = {}
        for one in found:
            answer = asked(port, "runs/search", experiment_ids=[one["experiment_id"]])
            runs[one["name"]] = [run["info"]["run_id"] for run in answer.get("runs", [])]
        return {name: ids for name, ids in runs.items() if ids}
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def asked(port: int, what: str, **question: Any) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/{what}",
        json.dumps(question).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)
