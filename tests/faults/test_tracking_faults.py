"""MLflow may fail: the training continues, and in the end every point is there once.

With a real MLflow server, a proxy that breaks the way to it, real launches and SIGKILL. What a shipper does with a server
that starts late or crashes is in ``test_tracking_shipper.py``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import tracked_run
from command import ROOT, Outcome
from empty_store import add_empty_store
from launching import SHARED_CACHE, SMALL, Running, launch, signal_workers
from mlflow_faults import PATIENCE, Proxy, Server, client, lost_and_doubled, remote_runs
from tracked_run import set_status, write_metrics
from waiting import until

from deit.config import frozen
from deit.files import write_json
from deit.machine import companion
from deit.runs import run_processes, status
from deit.runs.directory import RunDirectory
from deit.runs.outcome import FAILED, FINISHED, GONE, INTERRUPTED, finished
from deit.runs.run_processes import RUN_VARIABLE
from deit.tracking import progress, sender, shipper_process, stale, uri


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server.start()
    server.kill()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


def make_run(folder: Path, uri: str, points: int = 100, **tracking: Any) -> RunDirectory:
    run = tracked_run.make_run(folder, {"host": socket.gethostname(), "working_directory": str(folder)}, uri=uri, **tracking)
    write_metrics(run, range(points))
    return run


@pytest.fixture(autouse=True)
def no_process_is_left(tmp_path: Path) -> Iterator[None]:
    """Processes that a failed test leaves: a shipper continues by itself."""
    yield
    for process in psutil.process_iter(["cmdline"]):
        if any(str(tmp_path) in word for word in process.info["cmdline"] or []):
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended by itself
                process.kill()


def start(run: RunDirectory, **environment: str) -> subprocess.Popen[bytes]:
    with open(run.logs / "shipper.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "deit.tracking.shipper", str(run.path)],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            stdout=log,
            stderr=log,
        )


@pytest.fixture
def here(tmp_path: Path, command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """``command`` as a process of its own starts: without the store that MLflow has noted in this one."""
    monkeypatch.setenv("DEIT_CACHE", str(SHARED_CACHE))

    def run(*arguments: str) -> Outcome:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        return command(*arguments)

    return run


def log(run: RunDirectory) -> str:
    return (run.logs / "shipper.log").read_text()


def shippers(run: RunDirectory) -> list[psutil.Process]:
    return working("deit.tracking.shipper", run.path)


def working(module: str, path: Path) -> list[psutil.Process]:
    """The processes ``python -m MODULE PATH``."""
    lines = ((process, process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    return [process for process, line in lines if module in line and str(path) in line]


def test_run_of_a_broken_server_is_sent_later_and_elsewhere(
    server: Server,
    proxy: Proxy,
    tmp_path: Path,
    background: Callable[..., Running],
    here: Callable[..., Outcome],
) -> None:
    proxy.fault = "hole"
    running = background(*SMALL, f"tracking.uri={proxy.uri}", "tracking.flush_timeout=2", "tracking.system_metrics_every=1")
    run = running.wait_for_step(1)
    signal_workers(run, signal.SIGSTOP)  # so that the shipper, which starts slowly, has asked before the end
    until(lambda: proxy.requests > 0)
    signal_workers(run, signal.SIGCONT)
    said = running.output
    assert running.end() == 0, said.read_text()
    assert "not everything was sent within tracking.flush_timeout=2 s" in said.read_text() and shippers(run) == []
    (later,) = re.findall(r"Send it later: python \S*launch\.py (.*)", said.read_text())

    proxy.fault = "500"
    failed = here(*shlex.split(later))
    assert failed.code == 1 and "too many 500 error responses" in failed.out, failed.out
    assert lost_and_doubled(server.uri, run)[0] > 0

    proxy.fault = None
    sent = here("task=sync")  # without run=: all that is not sent yet
    assert sent.code == 0 and "all is there" in sent.out, sent.out + sent.err
    assert lost_and_doubled(server.uri, run) == (0, 0)
    (there,) = remote_runs(server.uri, run)
    assert (there.info.status, there.data.tags["outcome"]) == ("FINISHED", "finished")

    other = add_empty_store(tmp_path, "other.db")
    for points in (100, 0):  # at least; and the second time there is nothing left
        again = here(*shlex.split(later), "tracking.uri=sqlite:///other.db")
        assert again.code == 0, again.out + again.err
        (count,) = re.findall(r"(\d+) │ +\d+ │ all is there", again.out)
        assert (int(count) >= points) if points else int(count) == 0
        assert lost_and_doubled(other, run) == (0, 0) and len(remote_runs(other, run)) == 1


def test_sync_selects_ended_runs_that_are_not_completely_sent(tmp_path: Path, command: Callable[..., Any]) -> None:
    """A dry run asks no server."""
    ended = make_run(tmp_path, "sqlite:///mlflow.db", points=7)
    write_json(ended.environment, {"host": "node01", "working_directory": "/elsewhere"})  # from where the path is seen
    set_status(ended, FAILED)
    untracked = make_run(tmp_path, "sqlite:///mlflow.db", backend="none")
    set_status(untracked, FINISHED)
    going, killed = make_run(tmp_path, "http://node01:5000"), make_run(tmp_path, "http://node01:5000", points=8)
    set_status(killed, status.RUNNING, launcher=_dead_pid())
    done = make_run(tmp_path, "http://node01:5000")
    set_status(done, FINISHED)
    progress.write(
        done,
        progress.Progress("http://node01:5000", offsets={"journal": done.journal.stat().st_size, "system": 0}, closed=FINISHED),
    )

    damaged = make_run(tmp_path, "http://node01:5000")
    set_status(damaged, FINISHED)
    with open(damaged.journal, "a") as file:
        file.write("no record\n")

    def planned(*arguments: str) -> list[list[str]]:
        outcome = command("task=sync", "dry_run=true", *arguments)
        assert outcome.code == 0, outcome.err
        return [re.split(r" *│ *", line)[1:-1] for line in outcome.out.splitlines() if line.startswith("│")]

    def row(run: RunDirectory, store: str, points: int) -> list[str]:
        return [str(run.path.relative_to(tmp_path)), store, str(points)]

    each = 2  # metrics of a step
    rows = [row(ended, "sqlite:////elsewhere/mlflow.db", 7 * each), row(killed, "http://node01:5000", 8 * each)]
    rows.append(row(damaged, "http://node01:5000", 0))
    assert sorted(planned()) == sorted(rows)
    assert status.read(killed).state == INTERRUPTED
    assert planned(f"run={going.path}") == [row(going, "http://node01:5000", 100 * each)]
    assert planned(f"run={done.path}", "tracking.uri=http://node02:5000") == [row(done, "http://node02:5000", 100 * each)]
    assert planned(f"run={untracked.path}", "tracking=mlflow", "tracking.uri=http://node02:5000")[0][2] == str(100 * each)
    for wrong, told in (
        ((f"run={untracked.path}",), "it was made with tracking=none; give tracking=mlflow tracking.uri=URI too."),
        (("resume=last",), "resume=last with task=sync: it sends runs to MLflow"),
        (("checkpoint=x",), "checkpoint=x with task=sync: it sends runs to MLflow"),
        ((f"run={done.path}", "tracking.uri=node02"), "tracking.uri is node02, which has no scheme"),
        (("seed=1",), "seed has no effect with task=sync"),
    ):
        outcome = command("task=sync", *wrong)
        assert outcome.code == 2 and told in outcome.err
    outcome = command("-m", "task=sync", f"run={done.path},{ended.path}")
    assert outcome.code == 2 and "task=sync cannot be a trial of a sweep" in outcome.err


def test_permanently_refused_artifact_is_one_warning(
    server: Server, proxy: Proxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An older server knows no logged models; one without room or boto3 answers 500 to each file. The metrics are the run."""
    run = make_run(tmp_path, proxy.uri, points=10)
    checkpoint = run.checkpoints / "step_00000009"
    checkpoint.mkdir(parents=True)
    write_json(run.best, {"val": {"checkpoint": "step_00000009", "step": 9, "top1": 50.0}})
    set_status(run, FINISHED)

    def send() -> sender.Sender:
        sending = sender.Sender(run, frozen.load(run.config), proxy.uri)
        sending.retry_refused()
        caplog.clear()
        assert sender.deliver(sending, finished()) is None
        assert progress.complete(run, uri.identity(proxy.uri)) and lost_and_doubled(server.uri, run) == (0, 0)
        return sending

    proxy.fault, proxy.only = "404", "logged-models"
    assert list(send().progress.refused) == ["model"]
    assert len([line for line in caplog.messages if "MLflow refused" in line]) == 1
    for rest in run.tracking.glob("*.json"):  # a second store, as it were: all is sent once more
        rest.unlink()
    proxy.fault, proxy.only = "500", "mlflow-artifacts"
    sending = sender.Sender(run, frozen.load(run.config), proxy.uri)
    # Five attempts are three of this call and two of the next, as a shipper and task=sync make them.
    assert sender.deliver(sending, finished()) is not None
    refused = send().progress.refused
    assert refused and all("500" in why for why in refused.values())
    assert len([line for line in caplog.messages if "MLflow refused" in line]) == 1
    assert progress.refusal(refused).startswith(f"MLflow has all metrics but refuses {len(refused)} artifacts")
    proxy.fault = None
    assert send().progress.refused == {}  # task=sync run= tries them again


def test_unwritable_artifacts_do_not_delay_a_run(tmp_path: Path) -> None:
    """The folder of the artifacts is a file, boto3 is not there, a bucket wants keys."""
    store_uri = add_empty_store(tmp_path)
    there = client(store_uri)
    (tmp_path / "file").write_text("")
    for name, root in (("blocked", f"{tmp_path}/file/mlruns"), ("azure", "wasbs://b@a.blob.core.windows.net/runs")):
        there.create_experiment(name, artifact_location=root)
        run = make_run(tmp_path, store_uri, points=3, experiment=name)
        set_status(run, FINISHED)
        sending = sender.Sender(run, frozen.load(run.config), store_uri)
        assert sender.deliver(sending, finished()) is None
        assert {"config.yaml", "journal.jsonl"} <= set(sending.progress.refused)
        assert lost_and_doubled(store_uri, run) == (0, 0) and remote_runs(store_uri, run)[0].info.status == "FINISHED"


def _dead_pid() -> int:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


def test_runs_of_dead_processes_are_closed_and_others_not_touched(tmp_path: Path) -> None:
    dead = _dead_pid()
    runs = {
        name: make_run(tmp_path, "http://node01:5000", points=1)
        for name in ("killed", "reused", "alive", "other", "locked", "waiting")
    }
    status.write(runs["waiting"], status.Status())  # a trial of a sweep that will be started again
    before = psutil.Process().create_time() - 60
    set_status(runs["killed"], status.CREATED, launcher=dead)
    set_status(runs["reused"], status.RUNNING, updated=before)  # our number belonged to somebody else then
    for name in ("other", "locked"):
        set_status(runs[name], status.RUNNING, launcher=dead)
    write_json(runs["other"].environment, {"host": "another"})
    worker = make_run(tmp_path, "http://node01:5000", points=1)  # the launcher is gone, a process of the run is not
    set_status(worker, status.RUNNING, launcher=dead)
    lasting = subprocess.Popen(["sleep", "60"], env={RUN_VARIABLE: str(worker.path)})
    try:
        with open(runs["locked"].path / ".lock", "w") as held:  # by a launcher that this process cannot see
            fcntl.flock(held, fcntl.LOCK_EX)
            assert [name for name, run in runs.items() if stale.settle(run)] == ["killed", "reused"]
            assert not stale.settle(worker)
    finally:
        lasting.kill()
        lasting.wait()
    now = status.read(runs["reused"])
    assert (now.state, now.updated, now.message, now.exit_code) == (INTERRUPTED, before, GONE, 1)
    assert {status.read(runs[name]).state for name in ("alive", "other", "locked")} == {status.RUNNING}
    assert status.read(runs["waiting"]).state == status.CREATED
    assert stale.settle(worker) and stale.settle(runs["locked"])


def test_killed_launcher_worker_and_shipper_then_the_next_launch_then_resume(
    server: Server,
    tmp_path: Path,
    background: Callable[..., Running],
    here: Callable[..., Outcome],
) -> None:
    running = background(*SMALL, "schedule.epochs=60", "tracking.log_every=1", f"tracking.uri={server.uri}")
    run = running.wait_for_step(1)
    until(lambda: any(run.checkpoints.glob("step_*/state.json")))
    # So that it neither ends before the launcher is killed, nor records its own end when the launcher dies.
    signal_workers(run, signal.SIGSTOP)
    until(lambda: any(run.tracking.glob("*.json")))
    until(lambda: not working("deit.tracking.stale", tmp_path / "runs"))  # its own search would find it killed as well
    running.process.kill()
    for process in shippers(run):
        process.kill()
    run_processes.kill_all(run)
    running.end()
    assert status.read(run).state == status.RUNNING
    (there,) = remote_runs(server.uri, run)
    assert there.info.status == "RUNNING"

    # Any next launch sets it right, whatever it does itself.
    assert here("task=preview", *SMALL[:1], "tracking=none").code == 0
    until(lambda: status.read(run).state == INTERRUPTED)
    (there,) = until(lambda: [r for r in remote_runs(server.uri, run) if r.info.status == "KILLED"])
    assert there.data.tags["outcome"] == GONE
    assert lost_and_doubled(server.uri, run) == (0, 0)

    resumed = launch(tmp_path, f"resume={run.path}", f"schedule.max_steps={status.read(run).progress['step'] + 12}")
    assert resumed.returncode == 0, resumed.stderr
    (after,) = remote_runs(server.uri, run)
    assert after.info.run_id == there.info.run_id
    assert (after.info.status, after.data.tags["outcome"]) == ("FINISHED", "finished")
    assert lost_and_doubled(server.uri, run) == (0, 0)


def test_dead_shipper_is_restarted_a_limited_number_of_times(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(companion, "FIRST_PAUSE", 0.01)
    run = make_run(tmp_path, server.uri, flush_timeout=600)
    shipper = shipper_process.Shipper(run, frozen.load(run.config))
    shipper.start()

    def killed_and_watched(patience: float = PATIENCE) -> bool:
        """Whether it is started again."""
        assert shipper.process is not None
        pid = shipper.process.pid
        os.kill(pid, signal.SIGKILL)
        shipper.process.wait()
        end = time.monotonic() + patience
        while shipper.process.pid == pid and time.monotonic() < end:
            shipper.watch()
            time.sleep(0.01)
        return shipper.process.pid != pid

    assert killed_and_watched()
    until(lambda: lost_and_doubled(server.uri, run) == (0, 0))
    write_metrics(run, range(100, 150))
    set_status(run, INTERRUPTED)
    shipper.finish(hurry=lambda: False)
    assert "this run: http" in capsys.readouterr().out
    assert lost_and_doubled(server.uri, run) == (0, 0) and len(remote_runs(server.uri, run)) == 1

    # The launcher has the last word on how the run ended, and it arrives too.
    now = status.read(run)
    now.message = "pruned at step 150"
    status.write(run, now)
    shipper.finish(hurry=lambda: False)
    (there,) = remote_runs(server.uri, run)
    assert (there.info.status, there.data.tags["outcome"]) == ("KILLED", "pruned at step 150")

    set_status(run, status.RUNNING)
    for _ in range(companion.RESTARTS - log(run).count("restarting it (")):
        assert killed_and_watched()
    assert not killed_and_watched(patience=1)


def test_slow_server_creates_no_second_run(server: Server, proxy: Proxy, tmp_path: Path) -> None:
    """The run is made after the shipper has given up waiting for it, and has asked for another one."""
    run = make_run(tmp_path, proxy.uri)
    proxy.fault, proxy.only = "held", "runs/create"
    process = start(run, MLFLOW_HTTP_REQUEST_TIMEOUT="5")
    until(lambda: len(proxy.held) > 1)
    proxy.fault = None
    until(lambda: not proxy.held)
    assert len(remote_runs(server.uri, run)) > 1
    until(lambda: lost_and_doubled(server.uri, run) == (0, 0))
    set_status(run, FINISHED)
    assert process.wait(PATIENCE) == 0, log(run)
    assert len(remote_runs(server.uri, run)) == 1 and "is an empty duplicate" in log(run)
    assert lost_and_doubled(server.uri, run) == (0, 0)


def test_locked_database_does_not_delay_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = add_empty_store(tmp_path)
    run = make_run(tmp_path, uri, flush_timeout=1)
    shipper = shipper_process.Shipper(run, frozen.load(run.config))
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        shipper.start()
        set_status(run, FINISHED)
        time.sleep(6)  # it hangs in a call to SQLite now, where it hears no signal
        shipper.finish(hurry=lambda: False)
        assert "not everything was sent within tracking.flush_timeout=1 s" in capsys.readouterr().out
        assert shippers(run) == []
    sent = launch(tmp_path, "task=sync", f"run={run.path}")
    assert sent.returncode == 0, sent.stdout
    assert lost_and_doubled(uri, run) == (0, 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a full disk needs the right to mount one")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_shipper_survives_a_full_disk_during_and_after_database_creation(small_disk: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{small_disk}/mlflow.db"
    run = make_run(tmp_path, uri)
    process = start(run)
    until(lambda: "will try again" in log(run))
    assert not (small_disk / "mlflow.db").exists()
    subprocess.run(["mount", "-o", "remount,size=3m", str(small_disk)], check=True)
    until(lambda: "all is sent again" in log(run))
    assert lost_and_doubled(uri, run) == (0, 0)
    with contextlib.suppress(OSError), open(small_disk / "filler", "wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass
    write_metrics(run, range(100, 3000))
    until(lambda: log(run).count("will try again") == 2)
    set_status(run, FINISHED)
    (small_disk / "filler").unlink()
    assert process.wait(PATIENCE) == 0, log(run)
    assert lost_and_doubled(uri, run) == (0, 0) and len(remote_runs(uri, run)) == 1


def test_shipper_killed_during_database_creation_leaves_no_torn_database(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run = make_run(tmp_path, uri)
    process = start(run)

    def half_made() -> bool:
        """Asked while it is paused."""
        process.send_signal(signal.SIGSTOP)
        until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        if any(path.stat().st_size > 100_000 for path in tmp_path.glob(".mlflow.db.*.new")):
            return True
        process.send_signal(signal.SIGCONT)
        return False

    until(half_made)
    process.kill()
    process.wait()
    assert not (tmp_path / "mlflow.db").exists()
    set_status(run, FINISHED)
    assert start(run).wait(PATIENCE) == 0, log(run)
    assert lost_and_doubled(uri, run) == (0, 0)
    assert not list(tmp_path.glob(".mlflow.db.*"))
