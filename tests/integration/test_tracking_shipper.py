"""Tracking against a real MLflow: real shipper processes, SQLite files, a real server that comes late.

Every test starts processes that import MLflow, some seconds each; the whole file takes about a minute
on two cores.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import ROOT
from empty_store import add_empty_store
from ports import reserved_port
from tracked_run import make_run, set_status, write_metrics
from waiting import until

from deit.config import frozen
from deit.config.tasks import EvaluateTask, TaskConfig, TrainTask
from deit.errors import UserError
from deit.files import read_json, write_json
from deit.lookup.mlflow import find_run_directory
from deit.runs import journal, status
from deit.runs.directory import RunDirectory
from deit.runs.journal import Journal
from deit.runs.outcome import FAILED, FINISHED, INTERRUPTED
from deit.tracking import describe
from deit.tracking.mlflow_errors import Refused

PATIENCE = 300.0  # seconds; for processes that import MLflow and make a database, beside whatever else the machine does


def _make_run(folder: Path, **tracking: Any) -> RunDirectory:
    environment = {
        "git": {"commit": "c0ffee", "dirty": False},
        "host": "node01",
        "cards": 1,
        "sweep": {"id": "s1", "overrides": ["a=1"], "swept": {"optim.base_lr": "1e-3", "seed": "2"}},
    }
    return make_run(folder, environment, **tracking)


def _start(run: RunDirectory, folder: Path) -> subprocess.Popen[bytes]:
    with open(run.logs / "shipper.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "deit.tracking.shipper", str(run.path)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _ship(run: RunDirectory, folder: Path) -> None:
    assert _start(run, folder).wait(PATIENCE) == 0, _log(run)


def _log(run: RunDirectory) -> str:
    return (run.logs / "shipper.log").read_text()


def _state(run: RunDirectory) -> dict[str, Any]:
    (state,) = [*run.tracking.glob("[!.]*.json")] or [run.tracking / "none"]
    return read_json(state) or {}


# --- what MLflow then holds ---


def _client(uri: str) -> Any:
    from deit.tracking.remote import connect

    return connect(uri)


def _sqlite(folder: Path) -> Any:
    return _client(f"sqlite:///{folder}/mlflow.db")


def _written(path: Path) -> dict[str, list[tuple[int, int, str]]]:
    """What a journal holds: name -> [(step, time, value as text)], so that nan equals nan."""
    found: dict[str, list[tuple[int, int, str]]] = {}
    for _, record in journal.read(path):
        for name, value in record.get("metrics", {}).items():
            found.setdefault(name, []).append((record["step"], record["time"], str(value)))
    return found


def _arrived(client: Any, run_id: str) -> dict[str, list[tuple[int, int, str]]]:
    names = client.get_run(run_id).data.metrics
    return {
        name: sorted((m.step, m.timestamp, str(m.value)) for m in client.get_metric_history(run_id, name)) for name in names
    }


def _artifacts(client: Any, run_id: str, folder: str | None = None) -> set[str]:
    found = set()
    for item in client.list_artifacts(run_id, folder):
        found |= _artifacts(client, run_id, item.path) if item.is_dir else {item.path}
    return found


# --- SQLite ---


def _checkpoint(run: RunDirectory, writer: Journal, step: int, best: dict[str, float]) -> None:
    folder = run.checkpoints / f"step_{step:08d}"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    writer.metrics(step, {f"{weights}/top1": top1 for weights, top1 in best.items()})
    writer.checkpoint(step, f"checkpoints/{folder.name}", list(best))
    entries = {weights: {"checkpoint": folder.name, "step": step, "top1": top1} for weights, top1 in best.items()}
    write_json(run.best, (read_json(run.best) or {}) | entries)


def test_run_outside_a_sweep_is_named_by_its_recipe(tmp_path: Path) -> None:
    run = _make_run(tmp_path)
    write_json(run.environment, {"host": "node01"})
    end = run.id[-6:]
    assert describe.run_name(run, "quickstart", TrainTask("train")) == f"quickstart-{end}"
    assert describe.run_name(run, "quickstart", EvaluateTask("evaluate", "best", False)) == f"evaluate quickstart-{end}"
    assert describe.run_name(run, "compare", TaskConfig("compare")) == f"compare-{end}"


def test_run_is_sent_completely_and_continued_when_resumed(tmp_path: Path) -> None:
    add_empty_store(tmp_path)
    run = _make_run(tmp_path, upload_checkpoints=True, experiment="digits/odd name")
    writer = Journal(run.journal)
    for step in range(1200):
        writer.metrics(step, {"train/loss": 3.0 / (step + 1), "train/lr": 1e-3 * step})
    writer.metrics(1200, {"train/loss": math.nan, "train/bad@name": 1.0})
    _checkpoint(run, writer, 1201, {"val": 90.0, "val_ema": 91.0})
    writer.event("overflow", 1202)
    writer.close()
    run.lr_curve.write_bytes(b"png")
    (run.logs / "worker_0.log").write_text("epoch 1\n")
    set_status(run, FINISHED)
    _ship(run, tmp_path)

    client = _sqlite(tmp_path)
    assert [e.name for e in client.search_experiments() if e.name != "Default"] == ["digits/odd name"]
    run_id = _state(run)["run_id"]
    found = client.get_run(run_id)
    assert found.info.status == "FINISHED"
    assert found.info.end_time == int(status.read(run).updated * 1000)
    assert found.info.start_time == next(journal.read(run.journal))[1]["time"]
    assert found.info.run_name == f"base_lr=1e-3 seed=2 {run.id[-6:]}"

    params = found.data.params
    assert params["optim.base_lr"] == "0.002"
    assert params["data.mean"] == "[0.305, 0.305, 0.305]"
    assert params["ema.enabled"] == "true"
    assert params["model.name"] == "deit_micro"
    assert not {"run", "resume", "dry_run", "data.root", "runs_dir", "tracking.uri"} & set(params)
    tags = found.data.tags
    expected_tags = {
        "git.commit": "c0ffee",
        "git.dirty": "false",
        "host": "node01",
        "cards": "1",
        "recipe": "quickstart",
        "task": "train",
        "sweep.id": "s1",
        "sweep.swept.optim.base_lr": "1e-3",
        "run.directory": str(run.path),
    }
    assert {name: tags[name] for name in expected_tags} == expected_tags
    assert tags["overrides"] == "experiment=quickstart tracking.uri=sqlite:///mlflow.db"

    expected = _written(run.journal)
    del expected["train/bad@name"]  # MLflow refuses the name: only this one is missing
    assert _arrived(client, run_id) == expected
    assert "MLflow refused train/bad@name" in _log(run)

    assert _artifacts(client, run_id) == {
        "config.yaml", "overrides.yaml", "environment.json", "lr_curve.png", "journal.jsonl", "logs/worker_0.log",
        "checkpoints/step_00001201/model.safetensors",
    }  # fmt: skip
    assert found.info.artifact_uri.startswith(f"{tmp_path}/mlruns/digits_odd_name/")
    models = client.search_logged_models([found.info.experiment_id], filter_string="metrics.`val_ema/top1` > 90.5")
    assert [(m.name, m.tags["step"], m.tags["path"]) for m in models] == [
        (f"quickstart-{run.id[-6:]}-val_ema", "1201", str(run.checkpoints / "step_00001201"))
    ]
    assert find_run_directory(f"sqlite:///{tmp_path}/mlflow.db", run_id) == run.path

    # Resumed: the same MLflow run, running again, then interrupted with a better checkpoint of the raw weights.
    set_status(run, status.RUNNING)
    values = yaml.safe_load(run.config.read_text())
    values["hardware"]["cards"] = 2
    frozen.save(frozen.from_dict(values), run.config)
    process = _start(run, tmp_path)
    until(lambda: client.get_run(run_id).info.status == "RUNNING")
    writer = Journal(run.journal)
    writer.metrics(1300, {"train/loss": math.inf})
    _checkpoint(run, writer, 1301, {"val": 95.0})
    writer.close()
    set_status(run, INTERRUPTED)
    assert process.wait(PATIENCE) == 0
    found = client.get_run(run_id)
    assert found.info.status == "KILLED"
    assert found.data.params["hardware.cards"] == "1"
    assert found.data.tags["resumed.changed"] == "hardware.cards: 1 -> 2"
    expected = _written(run.journal)
    del expected["train/bad@name"]
    arrived = _arrived(client, run_id)
    assert arrived["train/loss"].pop()[2] == "1.7976931348623157e+308"  # MLflow's infinity
    assert expected["train/loss"].pop()[2] == "inf"
    assert arrived == expected
    models = client.search_logged_models([found.info.experiment_id])
    assert sorted((m.tags["weights"], m.tags["step"]) for m in models) == [("val", "1301")]
    assert len(client.search_runs([found.info.experiment_id])) == 1

    # Everything once more, as after a loss of the shipper's memory: nothing is doubled.
    next(run.tracking.glob("*.json")).unlink()
    _ship(run, tmp_path)
    assert _state(run)["run_id"] == run_id
    again = _arrived(client, run_id)
    assert again["train/loss"].pop()[2] == "1.7976931348623157e+308"
    assert again == expected
    assert len(client.search_logged_models([found.info.experiment_id])) == 1


def test_four_shippers_open_a_fresh_database_at_once(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    ends = {FINISHED: "FINISHED", FAILED: "FAILED", INTERRUPTED: "KILLED", status.RUNNING: "KILLED"}
    runs = {}
    for state in ends:
        runs[state] = _make_run(tmp_path)
        write_metrics(runs[state], range(20))
        set_status(runs[state], state, launcher=gone.pid)
    processes = [_start(run, tmp_path) for run in runs.values()]
    assert [process.wait(PATIENCE) for process in processes] == [0, 0, 0, 0], [_log(run) for run in runs.values()]
    client = _sqlite(tmp_path)
    assert len([e for e in client.search_experiments() if e.name == "digits"]) == 1
    for state, run in runs.items():
        run_id = _state(run)["run_id"]
        assert client.get_run(run_id).info.status == ends[state]
        assert _arrived(client, run_id) == _written(run.journal)
        assert "Traceback" not in _log(run) and "will try again" not in _log(run)


def test_killed_shipper_causes_neither_gaps_nor_duplicates(tmp_path: Path) -> None:
    add_empty_store(tmp_path)
    run = _make_run(tmp_path, system_metrics_every=1)
    write_metrics(run, range(6000))
    size = run.journal.stat().st_size
    kills = 0
    while kills < 2:
        before = _state(run).get("offsets", {}).get("journal", 0)
        process = _start(run, tmp_path)
        # From the second time on in the middle of a batch: between MLflow's answer and the note of it, or before.
        moved = until(lambda now=before: (offset := _state(run).get("offsets", {}).get("journal", 0)) > now and offset)
        assert moved < size, "the shipper was done before it could be killed"
        time.sleep(0.05 * kills)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    # A second shipper waits for the first.
    first, second = _start(run, tmp_path), _start(run, tmp_path)
    until(lambda: "another shipper is working" in _log(run))
    until(lambda: _state(run)["offsets"]["journal"] == size and _state(run)["offsets"]["system"])
    set_status(run, FINISHED)
    assert [first.wait(PATIENCE), second.wait(PATIENCE)] == [0, 0]
    client, run_id = _sqlite(tmp_path), _state(run)["run_id"]
    assert len(client.search_runs([_state(run)["experiment_id"]])) == 1
    assert client.get_run(run_id).info.status == "FINISHED"
    arrived, system = _arrived(client, run_id), _written(run.system_journal)
    assert arrived == _written(run.journal) | system
    assert [step for step, _, _ in system["system/cpu_utilization_percentage"]] == list(
        range(len(system["system/cpu_utilization_percentage"]))
    )


def test_deleted_run_is_replaced_and_deleted_experiment_is_not_restored(tmp_path: Path) -> None:
    add_empty_store(tmp_path)
    run = _make_run(tmp_path)
    write_metrics(run, range(30))
    process = _start(run, tmp_path)
    until(lambda: _state(run).get("offsets", {}).get("journal") == run.journal.stat().st_size)
    client, first = _sqlite(tmp_path), _state(run)["run_id"]
    client.delete_run(first)
    write_metrics(run, range(30, 40))
    second = until(lambda: (now := _state(run).get("run_id")) != first and now)
    assert f"run {first} was deleted in MLflow" in _log(run)
    # To delete an experiment deletes its runs; to restore it would bring all of them back.
    deleted = _state(run)["experiment_id"]
    client.delete_experiment(deleted)
    from deit.tracking.remote import find_experiment  # imports MLflow

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert find_experiment(client, uri, "id:0") == "0"
    for number, reason in ((deleted, "was deleted"), ("99", "there is no experiment")):
        with pytest.raises(Refused, match=reason):
            find_experiment(client, uri, f"id:{number}")
    write_metrics(run, range(40, 50))
    third = until(lambda: (now := _state(run).get("run_id")) != second and now)
    assert "experiment digits was deleted in MLflow; this run goes to digits-2" in _log(run)
    set_status(run, FINISHED)
    assert process.wait(PATIENCE) == 0
    assert client.get_experiment(deleted).lifecycle_stage == "deleted"
    assert client.get_experiment(_state(run)["experiment_id"]).name == "digits-2"
    assert client.get_run(third).info.status == "FINISHED"
    assert _arrived(client, third) == _written(run.journal)


# --- a server ---


class _Server:
    """An ``mlflow server`` that is not started yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = reserved_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if not (self.folder / "server.db").exists():
            add_empty_store(self.folder, "server.db")
        command = ["server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        with open(self.folder / "server.log", "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", *command, "--backend-store-uri", f"sqlite:///{self.folder}/server.db"],
                cwd=self.folder,
                env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._healthy)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[_Server]:
    server = _Server(tmp_path)
    yield server
    server.stop()


def test_everything_is_sent_to_a_server_that_starts_late_and_crashes(tmp_path: Path, server: _Server) -> None:
    run = _make_run(tmp_path, uri=f"http://me:secret@127.0.0.1:{server.port}", system_metrics_every=1)
    write_metrics(run, range(500))
    process = _start(run, tmp_path)
    until(lambda: "will try again: Unavailable" in _log(run))
    # Told to stop while the server is away, it ends without having reached it, and well.
    process.terminate()
    assert process.wait(PATIENCE) == 0

    # The run continues without a server, and ends before there is one.
    process = _start(run, tmp_path)
    write_metrics(run, range(500, 900))
    server.start()
    run_id = until(lambda: _state(run).get("run_id"))
    until(lambda: _state(run)["offsets"]["journal"] == run.journal.stat().st_size)
    server.stop()
    writer = Journal(run.journal)
    for step in range(900, 1000):
        writer.metrics(step, {"train/loss": 3.0 / (step + 1)})
    _checkpoint(run, writer, 1000, {"val": 97.0})
    writer.close()
    set_status(run, FINISHED)
    ended = int(status.read(run).updated * 1000)
    time.sleep(1)
    assert process.poll() is None
    server.start()
    assert process.wait(PATIENCE) == 0

    client = _client(f"http://127.0.0.1:{server.port}")
    found = client.get_run(run_id)
    assert (found.info.status, found.info.end_time) == ("FINISHED", ended)
    assert _arrived(client, run_id) == _written(run.journal) | _written(run.system_journal)
    assert {"config.yaml", "journal.jsonl", "environment.json"} <= _artifacts(client, run_id)
    models = client.search_logged_models([found.info.experiment_id], filter_string="metrics.`val/top1` > 96")
    assert [m.tags["step"] for m in models] == ["1000"]
    assert find_run_directory(f"http://127.0.0.1:{server.port}", run_id) == run.path

    # The password went to the server, and nowhere else.
    client.download_artifacts(run_id, "", str(tmp_path))
    shown = [
        str(found.data.params),
        str(found.data.tags),
        _log(run),
        *((tmp_path / n).read_text() for n in ("config.yaml", "overrides.yaml")),
    ]
    assert not any("secret" in text for text in shown)
    assert "secret" in run.config.read_text()
    assert "Traceback" not in _log(run)


def test_unreachable_server_is_reported_with_the_run(server: _Server) -> None:
    with pytest.raises(
        UserError, match=rf"MLflow run {'a' * 32}: tracking.uri=http://127.0.0.1:{server.port} does not respond"
    ):
        find_run_directory(f"http://127.0.0.1:{server.port}", "a" * 32)


def test_run_without_mlflow_is_not_sent(tmp_path: Path) -> None:
    run = _make_run(tmp_path, backend="none", uri=None)
    assert _start(run, tmp_path).wait(PATIENCE) == 2
    assert _log(run) == f"{run.config}: tracking.backend is none; only mlflow can be sent to.\n"
