"""Which files of a run are sent to MLflow, when they are sent again, and refusals."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from trained_runs import trained

from deit.config import frozen
from deit.runs.directory import RunDirectory
from deit.tracking import artifacts, progress
from deit.tracking.mlflow_errors import Failing, Refused


class Recorder:
    """Accepts what a ``RemoteRun`` does, or raises ``error`` for names that contain ``bad``."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.bad, self.error = "", Refused("too large")

    def _take(self, name: str) -> None:
        if self.bad and self.bad in name:
            raise self.error
        self.sent.append(name)

    def put_text(self, text: str, name: str) -> None:
        self._take(name)

    def put_file(self, path: Path, folder: str | None = None) -> None:
        self._take(f"{folder}/{path.name}" if folder else path.name)

    def put_datasets(self, datasets: Any) -> None:
        pass

    def register(self, name: str, tags: dict[str, str], points: Any, signature: Any) -> None:
        self._take(f"model {tags['weights']} of step {tags['step']}")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = trained(tmp_path)
    made.overrides.write_text("[]")
    made.journal.write_text("")
    (made.logs / "worker_0.log").write_text("log")
    (made.logs / "shipper.log").write_text("still written")
    return made


def put(run: RunDirectory, to: Any, done: progress.Progress, final: bool = True, **tracking: Any) -> int:
    config = frozen.load(run.config)
    for key, value in tracking.items():
        setattr(config.tracking, key, value)
    return artifacts.put(run, config, to, done, final=final)


def test_artifacts_are_sent_once_and_again_after_a_change(run: RunDirectory) -> None:
    to, done = Recorder(), progress.Progress("x")
    assert put(run, to, done, final=False) == 2 and to.sent == ["config.yaml", "overrides.yaml"]
    put(run, to, done)
    late = ["logs/worker_0.log", "journal.jsonl", "model val of step 3"]
    assert to.sent[2:] == late and put(run, to, done) == 0  # the raw weights, 60 %, are better than the EMA, 50 %
    (run.logs / "worker_0.log").write_text("resumed")
    assert put(run, to, done) == 1 and to.sent[-1] == "logs/worker_0.log"
    assert progress.read(run, "x").artifacts == done.artifacts


def test_checkpoints_are_sent_only_on_request(run: RunDirectory) -> None:
    to = Recorder()
    put(run, to, progress.Progress("x"), upload_checkpoints=True)
    assert "checkpoints/step_00000003/step_00000003" in to.sent


def test_weights_no_better_than_chance_get_no_model_entry(tmp_path: Path) -> None:
    run, to = trained(tmp_path, top1={"val": 10.0, "val_ema": 9.0}), Recorder()  # 10 classes
    put(run, to, progress.Progress("x"))
    assert not [name for name in to.sent if name.startswith("model")]


def test_refused_artifact_is_kept_and_reported_once(run: RunDirectory, caplog: pytest.LogCaptureFixture) -> None:
    to, done = Recorder(), progress.Progress("x")
    to.bad = "."
    put(run, to, done)
    assert set(done.refused) == {"config.yaml", "overrides.yaml", "logs/worker_0.log", "journal.jsonl"}
    assert [record.levelname for record in caplog.records] == ["WARNING"] and "too large" in caplog.text
    to.bad = ""
    assert put(run, to, done) == 0  # only task=sync run= tries again
    os.utime(run.config, ns=(1, 1))
    assert put(run, to, done) == 1 and "config.yaml" not in done.refused


def test_server_that_cannot_write_counts_as_refusal_after_some_attempts(run: RunDirectory) -> None:
    to, done = Recorder(), progress.Progress("x")
    to.bad, to.error = "config", Failing("status 500")
    for attempt in range(1, artifacts.ATTEMPTS):
        with pytest.raises(Failing):
            put(run, to, done, final=False)
        assert progress.read(run, "x").failing == attempt
    assert put(run, to, done, final=False) == 1 and done.refused == {"config.yaml": "status 500"}


def test_damaged_best_json_is_rejected(run: RunDirectory) -> None:
    run.best.write_text("{")
    to, done = Recorder(), progress.Progress("x")
    put(run, to, done)
    assert list(done.refused) == ["the best checkpoints"] and "journal.jsonl" in to.sent
