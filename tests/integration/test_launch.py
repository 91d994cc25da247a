"""The real command end to end: training, evaluation, resume, signals, crashes, two processes, MLflow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from empty_store import add_empty_store
from launching import SMALL, Running, launch, metrics, only_run, same_weights, signal_workers
from waiting import until

from deit.files import read_json
from deit.runs import checkpoint, run_processes, status
from deit.runs.directory import RunDirectory
from deit.runs.outcome import FAILED, FINISHED, INTERRUPTED


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A finished training, tracked in MLflow's default database of its folder."""
    folder = tmp_path_factory.mktemp("trained")
    extra = ("tracking.system_metrics_every=1", "tracking.flush_timeout=900", "hardware.profile=2")
    return folder, launch(folder, *SMALL, *extra)


# ---------------------------------------------------------------------------------------- a whole training


@pytest.mark.versions
def test_training_succeeds_and_prints_where_its_results_are(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, ended = trained
    assert ended.returncode == 0, ended.stderr
    run = only_run(folder)
    final = status.read(run)
    assert (final.state, final.exit_code) == (FINISHED, 0)
    best = final.results["best"]
    for prefix in ("val", "val_ema"):
        assert f"{best[prefix]['top1']:.3f}" in ended.stdout and best[prefix]["images"] == 100
    assert str(run.path.relative_to(folder)) in ended.stdout
    assert (
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --workers 1 --backend-store-uri sqlite:///mlflow.db" in ended.stdout
    )
    assert run_processes.of_run(run) == []
    for name in (
        "config.yaml",
        "overrides.yaml",
        "environment.json",
        "journal.jsonl",
        "lr_curve.png",
        "report.html",
        "logs/worker_0.log",
    ):
        assert (run.path / name).stat().st_size > 0 or name.endswith(".log")
    environment = read_json(run.environment)
    profiled = [entry for entry in map(json.loads, run.journal.read_text().splitlines()) if entry.get("event") == "profiled"]
    assert [(entry["step"], entry["steps"]) for entry in profiled] == [(9, 2)]
    table = (run.profile / "operators.md").read_text()
    assert "| MatMul |" in table and list(run.profile.glob("*/FRAMEWORK/cpu_op_type_info_0.csv"))
    assert "git" in environment and environment["versions"]["mindspore"].startswith("2.")
    assert environment["device"] == {"target": "CPU"}  # noted by the worker


@pytest.mark.versions
def test_metrics_are_recorded_at_their_steps(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    run = only_run(trained[0])
    found = metrics(run)
    # Eight steps an epoch, every third step and the end of each epoch.
    assert [step for step, _ in found["train/loss"]] == [3, 6, 8, 9, 12, 15, 16, 18, 21, 24, 27, 30, 32]
    for name in ("val/top1", "val/top5", "val/loss", "val_ema/top1", "best/val_top1", "best/val_ema_top1"):
        assert [step for step, _ in found[name]] == [8, 16, 24, 32], name
    tops = [value for _, value in found["val/top1"]]
    assert [value for _, value in found["best/val_top1"]] == [max(tops[: i + 1]) for i in range(4)]
    assert all(0 <= value <= 1 for _, value in found["perf/data_wait"])
    names = {path.name for path in checkpoint.complete(run)}
    best = {entry["checkpoint"] for entry in read_json(run.best).values()}
    assert names == {"step_00000024", "step_00000032"} | best


def test_mlflow_contains_what_the_journal_contains(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    from mlflow.tracking import MlflowClient

    folder, _ = trained
    run = only_run(folder)
    (state,) = run.tracking.glob("*.json")
    sent = read_json(state)
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    there = client.get_run(sent["run_id"])
    assert there.info.status == "FINISHED"
    assert there.data.params["optim.base_lr"] and there.data.params["model.embed_dim"] == "16"
    for name, points in metrics(run).items():
        history = [(m.step, m.value) for m in client.get_metric_history(sent["run_id"], name)]
        assert sorted(history) == sorted(points), name
    assert any(name.startswith("system/") for name in there.data.metrics)
    artifacts = {item.path for item in client.list_artifacts(sent["run_id"])}
    assert {"config.yaml", "lr_curve.png", "report.html"} <= artifacts


@pytest.mark.versions
@pytest.mark.parametrize("which", ["run", "checkpoint"])
def test_evaluate_repeats_the_results_of_the_training(
    trained: tuple[Path, subprocess.CompletedProcess[str]], which: str
) -> None:
    folder, _ = trained
    run = only_run(folder)
    best = status.read(run).results["best"]
    if which == "run":
        # Other batches and threads than in the training: the numbers must not depend on them.
        arguments = (f"run={run.path}", "data.eval_batch_size=37", "data.workers=2", "name=evaluated")
        wanted = best
    else:
        file = run.checkpoints / best["val"]["checkpoint"] / "model.safetensors"
        model = tuple(text for text in SMALL if text.startswith(("experiment", "model", "data.val")) and "drop" not in text)
        arguments = (f"checkpoint={file}", *model, "name=evaluated_file")
        wanted = {"val": best["val"]}
    ended = launch(folder, "task=evaluate", *arguments, "tracking=none")
    assert ended.returncode == 0, ended.stderr
    name = "evaluated" if which == "run" else "evaluated_file"
    results = status.read(only_run(folder, name)).results
    assert results.keys() == wanted.keys()
    for prefix, entry in wanted.items():
        assert (results[prefix]["top1"], results[prefix]["top5"]) == (entry["top1"], entry["top5"])
        assert results[prefix]["loss"] == pytest.approx(entry["loss"], rel=1e-6)


def test_a_finished_run_teaches_a_distilled_student(
    trained: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    teacher = only_run(trained[0])
    student = (*SMALL, "model.distilled=true", "distill=hard", f"distill.teacher={teacher.path}", "schedule.epochs=2")
    ended = launch(tmp_path, *student, "tracking=none")
    assert ended.returncode == 0, ended.stderr
    last = checkpoint.complete(only_run(tmp_path))[-1]
    weights = checkpoint.read_part(last, "model")
    assert {"dist_token", "head_dist.weight"} <= weights.keys()
    assert not any(name.startswith("teacher") for name in weights)
    assert checkpoint.read_part(last, "optimizer")["exp_avg.head_dist.weight"].any()  # the teacher's head has learned


def test_missing_tracking_server_costs_only_the_final_wait(tmp_path: Path) -> None:
    ended = launch(tmp_path, *SMALL, "schedule.epochs=2", "tracking.uri=http://127.0.0.1:9", "tracking.flush_timeout=2")
    assert ended.returncode == 0, ended.stderr
    assert "tracking.flush_timeout=2 s (" in ended.stdout and "best results" in ended.stdout  # with the cause
    assert ended.stderr.count("tracking.uri=http://127.0.0.1:9 does not respond") == 1 and "Connection refused" in ended.stderr
    assert len(metrics(only_run(tmp_path))["val/top1"]) == 2


def test_resuming_a_finished_run_is_rejected(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    ended = launch(trained[0], "resume=last")
    assert ended.returncode == 2 and "step 32 of 32" in ended.stderr and "Traceback" not in ended.stderr


# ------------------------------------------------------------------------------------- ends and new begins


# Of a length that a signal comes in the middle of; what is not looked at is done rarely.
FAR = ("schedule.epochs=200", "schedule.max_steps=120", "schedule.eval_every=5", "checkpointing.every=5")
# All with the same batches, so that one of them compiles the steps of both ranks.
TWO = ("hardware=cpu2", "data.batch_size=16")


def _signalled(background: Callable[..., Running], number: int, *extra: str) -> RunDirectory:
    running = background(*SMALL, *FAR, "tracking=none", *extra)
    run = running.wait_for_step(11)
    signal_workers(run, signal.SIGSTOP)  # so that the signal comes before the end, however slow the launcher
    running.process.send_signal(number)
    until(lambda: "writing a checkpoint" in running.output.read_text(), "the signal was not handed on")
    signal_workers(run, signal.SIGCONT)
    assert running.end() == 128 + number, running.output.read_text()
    assert f"resume={run.path.relative_to(running.folder)}" in running.output.read_text()
    assert status.read(run).state == INTERRUPTED and run_processes.of_run(run) == []
    return run


@pytest.mark.versions
def test_interrupted_run_resumes_to_the_same_bits(
    background: Callable[..., Running], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """SIGINT in the middle of an epoch, then resume=last: weights, EMA, optimizer and metrics as without it."""
    whole_folder = tmp_path_factory.mktemp("whole")
    assert launch(whole_folder, *SMALL, *FAR, "tracking=none").returncode == 0
    run = _signalled(background, signal.SIGINT)
    stopped_at = checkpoint.read_state(checkpoint.complete(run)[-1])["step"]
    assert 11 <= stopped_at < 120
    ended = launch(tmp_path, "resume=last")
    assert ended.returncode == 0, ended.stderr
    whole = only_run(whole_folder)
    same_weights(checkpoint.complete(whole)[-1], checkpoint.complete(run)[-1])
    mine, theirs = metrics(run), metrics(whole)
    for name in theirs:
        if not name.startswith("perf/"):
            assert mine[name] == theirs[name], name
    assert only_run(tmp_path).path == run.path  # the same directory


# Each rank prints a digest of its whole state at the end of its process.
DIGESTS = """\
import importlib, sys
if "deit.worker" in sys.orig_argv:
    import_module = importlib.import_module
    def noting(name, *more):
        module = import_module(name, *more)
        if name == "deit.tasks.train":
            import atexit, hashlib
            original = module.TrainState
            def made(*given):
                state = original(*given)
                atexit.register(tell, state, hashlib)
                return state
            module.TrainState = made
        return module
    def tell(state, hashlib):
        parts = state.parts()
        digest = hashlib.sha256(b"".join(v.tobytes() for p in sorted(parts) for _, v in sorted(parts[p].items())))
        print("digest", digest.hexdigest(), flush=True)
    importlib.import_module = noting
"""


def test_sigterm_ends_two_processes_with_143_and_they_resume_to_the_same_weights(
    background: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(DIGESTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))))
    run = _signalled(background, signal.SIGTERM, *TWO)
    assert checkpoint.complete(run)
    # The resumed part has logs of its own.
    running = background(f"resume={run.path}")
    assert running.end() == 0, running.output.read_text()
    assert checkpoint.read_state(checkpoint.complete(run)[-1])["step"] == 120
    assert {path.name for path in run.logs.glob("worker_*.log")} == {
        f"worker_{rank}{part}.log" for rank in (0, 1) for part in ("", ".part1")
    }
    digests = [
        [line for line in (run.logs / f"worker_{rank}.log").read_text().splitlines() if line.startswith("digest")]
        for rank in (0, 1)
    ]
    assert len(digests[0]) == 1 and digests[0] == digests[1]


@pytest.mark.parametrize("cards", [1, 2])
def test_a_killed_worker_ends_the_run_at_once(background: Callable[..., Running], cards: int, tmp_path: Path) -> None:
    add_empty_store(tmp_path)
    extra = ("schedule.epochs=200", "tracking.flush_timeout=900")
    running = background(*SMALL, *extra, *(TWO if cards == 2 else ("hardware=cpu",)))
    run = running.wait_for_step(10)
    until(lambda: checkpoint.complete(run), "no checkpoint")
    victim = int((run.logs / f"worker_{cards - 1}.pid").read_text())
    os.kill(victim, signal.SIGKILL)
    until(lambda: not run_processes.of_run(run), "processes of the run are still alive")
    assert running.end() == 1
    said = running.output.read_text()
    assert "resume=" in said
    assert ("rank 1" if cards == 2 else "the worker") + " ended unexpectedly (killed by SIGKILL)" in said
    assert status.read(run).state == FAILED
    from mlflow.tracking import MlflowClient

    (state,) = run.tracking.glob("*.json")
    sent = read_json(state)
    assert MlflowClient(f"sqlite:///{running.folder}/mlflow.db").get_run(sent["run_id"]).info.status == "FAILED"


def test_a_killed_launcher_leaves_no_process(background: Callable[..., Running]) -> None:
    running = background(*SMALL, "schedule.epochs=200", *TWO, "tracking=none")
    run = running.wait_for_step(3)
    running.process.kill()
    running.end()
    until(lambda: not run_processes.of_run(run), "processes of the run are still alive")


def test_run_has_one_launch_at_a_time(background: Callable[..., Running], tmp_path: Path) -> None:
    running = background(*SMALL, "schedule.epochs=200", "tracking=none")
    run = running.wait_for_step(1)
    signal_workers(run, signal.SIGSTOP)
    second = launch(tmp_path, f"resume={run.path}")
    assert second.returncode == 2 and "still" in second.stderr


# ------------------------------------------------------------------------------------------ two processes


@pytest.mark.versions
def test_one_and_two_processes_have_the_same_losses(tmp_path: Path) -> None:
    """The same global batch: the same losses, the same weights, and evaluation counts that are equal."""
    # Images are mixed with those of their own rank. So rarely that none is, in steps that other tests have compiled.
    common = (*SMALL, "augment.mixup_prob=1e-9", "schedule.epochs=2", "tracking=none", "tracking.log_every=1")
    for name, extra in (("one", ("hardware=cpu",)), ("two", TWO)):
        ended = launch(tmp_path, *common, *extra, f"name={name}")
        assert ended.returncode == 0, ended.stderr
    one, two = only_run(tmp_path, "one"), only_run(tmp_path, "two")
    first, second = metrics(one), metrics(two)
    assert len(first["train/loss"]) == 16
    np.testing.assert_allclose(first["train/loss"], second["train/loss"], rtol=1e-5)
    for name in ("val/top1", "val/top5", "val_ema/top1"):
        assert first[name] == second[name]
    same_weights(checkpoint.complete(one)[-1], checkpoint.complete(two)[-1], atol=2e-5)


def test_a_worker_can_be_started_by_hand(trained: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """python -m deit.worker on a run directory, without a launcher: the same training to the same bits."""
    original = only_run(trained[0])
    copy = RunDirectory(tmp_path / "copy")
    for folder in (copy.checkpoints, copy.logs, copy.tracking):
        folder.mkdir(parents=True)
    copy.config.write_text(original.config.read_text())
    ended = subprocess.run([sys.executable, "-m", "deit.worker", str(copy.path)], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(copy.status.read_text())["state"] == "finished"
    same_weights(checkpoint.complete(original)[-1], checkpoint.complete(copy)[-1])
