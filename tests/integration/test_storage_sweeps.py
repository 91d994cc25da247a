"""Sweeps with a runs_dir in an object store, against a real S3 server of this machine and with real trainings."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
from command import Outcome
from composition import composed
from launching import BRIEF, own_cache, signal_workers
from object_store import Recorder, Server, server, store, tree
from running_sweep import LONG, Sweep
from sweeps_on_disk import make_sweep
from waiting import until

from deit.config import addresses, frozen
from deit.files import read_json
from deit.lookup.runs import find_run
from deit.machine import locks
from deit.runs import checkpoint, directory, journal, status
from deit.runs.directory import RunDirectory
from deit.runs.lock import held
from deit.runs.outcome import FINISHED, INTERRUPTED
from deit.runs.run_processes import kill_all
from deit.runs.sweep_directory import SweepDirectory
from deit.runs.trial_record import RUNNING, WAITING, Attempt, Trial, identity
from deit.storage.fetch_sweep import fetch_sweep
from deit.storage.mirror_base import LOCK
from deit.storage.sweep_mirror import SweepMirror
from deit.storage.uploader_process import SweepUploader
from deit.sweeps.search import STUDY

__all__ = ["server", "store"]  # fixtures

RUNS = "s3://results/runs"
QUICK = (*BRIEF, "data.train_limit=128", "tracking=none", f"runs_dir={RUNS}")


class RemoteSweep(Sweep):
    """The copy of its directory is in a cache; a test may have several, one for each machine."""

    cache: Path

    @property
    def directory(self) -> SweepDirectory:
        (path,) = self.cache.glob("runs/s3/results/runs/sweeps/*")
        return SweepDirectory(path)

    def trials(self) -> list[Trial]:
        found = list(self.cache.glob("runs/s3/results/runs/sweeps/*/trials.jsonl"))
        return self.directory.read_trials() if found else []


@pytest.fixture
def sweep(tmp_path: Path, store: Server) -> Iterator[RemoteSweep]:
    store.client.create_bucket(Bucket="results")
    made = RemoteSweep(tmp_path)
    made.cache = tmp_path / "cache"
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
    for path in tmp_path.glob("*/runs/s3/results/runs/*/*"):
        kill_all(RunDirectory(path))
    found = store.client.list_objects_v2(Bucket="results").get("Contents", [])
    for entry in found:
        store.client.delete_object(Bucket="results", Key=entry["Key"])
    store.client.delete_bucket(Bucket="results")


def kept(folder: Path) -> dict[str, bytes]:
    """What of the runs and sweeps below a folder belongs into a store."""
    passing = ("kernel_meta", "rank_", "uploader.log")
    return {
        name: content
        for name, content in tree(folder).items()
        if not any(part.startswith((".", *passing)) for part in name.split("/")) and not name.endswith(".lock")
    }


def test_search_is_copied_to_the_store_and_extended_on_another_machine(
    sweep: RemoteSweep, store: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = ("-m", "hydra/sweeper=optuna", "optim.base_lr=interval(1e-4,1e-2)", *QUICK, "schedule.epochs=2", "hardware=cpu")
    assert sweep.start(*typed, "hydra.sweeper.n_trials=1", "sweep.cards=1").end() == 0, sweep.output.read_text()
    trials, name = sweep.trials(), f"sweeps/{sweep.directory.id}"
    assert [trial.state for trial in trials] == [FINISHED]
    assert sweep.output.read_text().endswith(f"copied to {RUNS}/{name}\n")
    there, here = store.content("results", "runs/"), kept(sweep.cache / "runs/s3/results/runs")
    files = ("sweep.json", "trials.jsonl", "study.db", "summary.csv", "summary.md", "report.html")
    assert {path for path in there if path.startswith("sweeps/")} == {f"{name}/{file}" for file in files}
    assert there.keys() == here.keys() and {path for path in here if here[path] != there[path]} <= {f"{name}/study.db"}
    (tmp_path / "study.db").write_bytes(there[f"{name}/study.db"])
    study = optuna.load_study(study_name=STUDY, storage=f"sqlite:///{tmp_path}/study.db")
    assert [record.values for record in study.trials] == [trial.objectives for trial in trials]

    sweep.cache = own_cache(tmp_path, "second")
    monkeypatch.setenv("DEIT_CACHE", str(sweep.cache))
    assert sweep.start(*typed, "hydra.sweeper.n_trials=2", "sweep.resume=last").end() == 0, sweep.output.read_text()
    more = sweep.trials()
    assert [(trial.state, len(trial.attempts)) for trial in more] == [(FINISHED, 1)] * 2
    old, new = more
    assert [old.objectives] == [trial.objectives for trial in trials]
    now = store.content("results", "runs/")
    changed = {path for path in there if there[path] != now.get(path)}
    assert changed == {f"{name}/{file}" for file in files if file != "sweep.json"}
    assert f"quickstart/{new.directory.id}/status.json" in now
    # Of the finished one there is here what can be read.
    assert old.directory.partial.exists() and not checkpoint.complete(old.directory)
    assert old.directory.journal.read_bytes() == there[f"quickstart/{old.directory.id}/journal.jsonl"]
    assert not new.directory.partial.exists() and checkpoint.complete(new.directory)


def test_killed_sweep_resumes_on_another_machine(
    sweep: RemoteSweep, store: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 on the launcher while one trial runs, one is just finished, one waits; then the address, and an empty cache.

    The running trial would never end: it is paused, and made shorter before the kill.
    """
    long, quick, waits = range(3)
    sweep.start("-m", *QUICK, LONG, "sweep.cards=2", "schedule.max_steps=100000,8,4", "hardware=cpu")
    working = sweep.wait(lambda trials: trials and checkpoint.complete(trials[long].directory) and trials[long])
    signal_workers(working.directory, signal.SIGSTOP)
    launcher, first = sweep.process, sweep.directory
    assert launcher is not None
    launcher.send_signal(signal.SIGSTOP)
    before = sweep.trials()
    until(lambda: not held(before[quick].directory))
    last = 4 * (max(record["step"] for _, record in journal.read(working.directory.journal)) // 4 + 3)
    config = working.directory.config
    config.write_text(config.read_text().replace("max_steps: 100000", f"max_steps: {last}"))
    before[long].identity = identity(frozen.load(config))
    first.write_trials(before)
    name = f"sweeps/{first.id}"
    until(lambda: store.content("results", f"runs/{name}/trials.jsonl") == {"": first.trials.read_bytes()})
    launcher.kill()
    launcher.wait()
    signal_workers(working.directory, signal.SIGCONT)
    until(lambda: not any(held(trial.directory) for trial in before))
    until(lambda: "all is copied, and no process is left" in (first.logs / "uploader.log").read_text())
    assert status.read(working.directory).state == INTERRUPTED and checkpoint.complete(working.directory)
    assert before[waits].state == WAITING and status.read(before[quick].directory).state == FINISHED
    whole, here = store.content("results", "runs/"), kept(sweep.cache / "runs/s3/results/runs")
    # A trial says at its very end that all is copied.
    assert whole.keys() == here.keys() and all(path.endswith("/launch.log") for path in here if here[path] != whole[path])

    sweep.cache = own_cache(tmp_path, "second")
    monkeypatch.setenv("DEIT_CACHE", str(sweep.cache))
    assert sweep.start(f"sweep.resume={RUNS}/{name}").end() == 0, sweep.output.read_text()
    said, after = sweep.output.read_text(), sweep.trials()
    assert f"fetched {RUNS}/{name} to {sweep.directory.path}: 3 trials" in said and said.endswith(f"copied to {RUNS}/{name}\n")
    assert [(trial.state, len(trial.attempts)) for trial in after] == [(FINISHED, 2), (FINISHED, 1), (FINISHED, 1)]
    assert all(trial.directory.path.is_relative_to(sweep.cache) for trial in after)
    for trial, end in zip(after, (last, 8, 4), strict=True):
        records = [record for _, record in journal.read(trial.directory.journal)]
        evaluated = [record["step"] for record in records if "val/top1" in record.get("metrics", {})]
        assert evaluated == list(range(4, end + 1, 4))
        assert any(record.get("event") == "resumed" for record in records) == (trial.number == long)
    there, here = store.content("results", "runs/"), kept(sweep.cache / "runs/s3/results/runs")
    assert there == here
    of_it = f"quickstart/{after[quick].directory.id}/"
    assert {path for path in there if path.startswith(of_it) and there[path] != whole.get(path)} == set()

    # The first machine learns about it.
    monkeypatch.setenv("DEIT_CACHE", str(tmp_path / "cache"))
    assert sweep.start("task=report", "sweep.dir=last", f"runs_dir={RUNS}", "tracking=none").end() == 0, (
        sweep.output.read_text()
    )
    assert [trial.state for trial in first.read_trials()] == [FINISHED] * 3
    assert first.summary_csv.read_text().count(",finished,") == 3


# --- made in no time


def small_sweep(folder: Path, states: list[str], runs_dir: str = RUNS) -> SweepDirectory:
    """A sweep on the disk whose runs have their configuration, and more if they have ended."""
    config = composed("experiment=quickstart", f"runs_dir={runs_dir}", "tracking=none")
    trials = []
    for number, state in enumerate(states):
        run = directory.create(runs_dir, "quickstart")
        frozen.save(config, run.config)
        if state == FINISHED:
            status.write(run, status.Status(FINISHED, exit_code=0))
        attempts = [] if state == WAITING else [Attempt(1e9 + number, [0], 1e9 + number + 1 if state == FINISHED else None)]
        trials.append(Trial(number, [f"seed={number}"], {"seed": str(number)}, str(run.path), "", 1, state, attempts=attempts))
    sweep = make_sweep(folder, trials)
    path = Path(addresses.runs_copy(runs_dir)) / "sweeps" / sweep.id
    path.parent.mkdir(exist_ok=True)
    sweep.path.rename(path)
    sweep = SweepDirectory(path)
    sweep.write_info(sweep.read_info() | {"runs_dir": runs_dir, "upload_timeout": 1})
    with sweep.locked():  # a launch has worked on it
        return sweep


def test_sweep_in_the_store_can_be_resumed_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEIT_CACHE", str(tmp_path / "cache"))
    sweep = small_sweep(tmp_path, [FINISHED, RUNNING, WAITING])
    with sqlite3.connect(sweep.study) as study:
        study.execute("create table trials (number integer)")
        study.execute("insert into trials values (1)")
    recorder, address = Recorder(), sweep.address
    assert address is not None
    monkeypatch.setattr("deit.storage.mirror_base.open_store", lambda address, key: recorder)
    running = sweep.read_trials()[1].directory
    mirror = SweepMirror(sweep, address)
    with locks.alone(running.path / LOCK, lambda who: None), sqlite3.connect(sweep.study) as writer:
        writer.execute("insert into trials values (2)")  # and no commit yet
        mirror.send()
        # Its own uploader has not copied its configuration: a list that names the run would be of no use.
        assert not any(running.id in name or name.endswith("trials.jsonl") for name in recorder.there)
        assert mirror.missing()
        (tmp_path / "copy.db").write_bytes(recorder.there[f"{address}/study.db"])
        assert sqlite3.connect(tmp_path / "copy.db").execute("select * from trials").fetchall() == [(1,)]
    mirror.send()
    assert not mirror.missing() and mirror.send() == 0 and f"{address}/trials.jsonl" in recorder.there
    place = recorder.order.index
    configs = [place(f"{RUNS}/quickstart/{trial.directory.id}/config.yaml") for trial in sweep.read_trials()]
    studies = [number for number, name in enumerate(recorder.order) if name == f"{address}/study.db"]
    assert len(studies) == 2 and max(*configs, *studies) < place(f"{address}/trials.jsonl")

    sweep.write_trials(sweep.read_trials())
    assert mirror.send() == 1
    exported = sweep.read_trials()[0].directory.exports / "model.onnx"
    exported.parent.mkdir()
    exported.write_bytes(b"later")
    assert mirror.missing() and mirror.send() + mirror.send() == 1
    assert not mirror.missing(), "what comes to a run that is done would be waited for in vain"


def test_unreachable_store_at_the_end_is_synced_later(store: Server, tmp_path: Path, command: Callable[..., Outcome]) -> None:
    store.client.create_bucket(Bucket="later")
    sweep = small_sweep(tmp_path, [FINISHED, WAITING], "s3://later/runs")
    store.stop()
    try:
        assert "not everything was copied within checkpointing.upload_timeout=1 s" in finished(sweep)
        sweep.write_info(sweep.read_info() | {"upload_timeout": 600})
        said = finished(sweep, Interrupted)
        assert "not everything was copied before SIGTERM" in said
        assert "Copy it later: python launch.py task=sync runs_dir=s3://later/runs" in said
    finally:
        store.start()
    waits = sweep.read_trials()[1].directory
    with locks.alone(waits.path / LOCK, lambda who: None):
        said = command("task=sync", "runs_dir=s3://later/runs").out
    assert "1 files copied, 2 still missing, their uploaders are working on them" in said
    outcome = command("task=sync", "runs_dir=s3://later/runs")
    assert outcome.code == 0 and f"{sweep.address}: " in outcome.out and "still missing" not in outcome.out, outcome
    assert store.content("later", "runs/") == kept(sweep.path.parents[1])
    assert f"{sweep.address}: all is there" in command("task=sync", "runs_dir=s3://later/runs").out


class Interrupted(SweepUploader):
    """Is waited for by one that hears SIGTERM meanwhile, as a trial does that its sweep stops."""

    def watch(self) -> None:
        assert self._left() > 500, "its trials ended long ago, and none has waited in this launch"
        os.kill(os.getpid(), signal.SIGTERM)


def finished(sweep: SweepDirectory, kind: type[SweepUploader] = SweepUploader) -> str:
    """What is said where a sweep waits for its uploader."""
    uploader, shown = kind(sweep), io.StringIO()
    uploader.start()
    with contextlib.redirect_stdout(shown):
        uploader.finish()
    return shown.getvalue()


def test_report_fetches_no_checkpoints_and_resume_does(
    store: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Outcome]
) -> None:
    store.client.create_bucket(Bucket="seen")
    runs_dir = "s3://seen/runs"
    sweep = small_sweep(tmp_path, [RUNNING, FINISHED], runs_dir)
    address = sweep.address
    assert address is not None
    for trial in sweep.read_trials():
        checkpoint.write(trial.directory, 4, {"model": {"weight": np.zeros(1, np.float32)}}, {"best": {}})
    with sqlite3.connect(sweep.study) as study:
        study.execute("create table trials (state text)")
        study.executemany("insert into trials values (?)", [("found" * 1000,)] * 50)
    SweepMirror(sweep, address).send()

    monkeypatch.setenv("DEIT_CACHE", str(tmp_path / "second"))
    here = SweepDirectory(addresses.runs_copy(address))
    here.path.mkdir(parents=True)
    broken_off(here.study)
    assert fetch_sweep(address, "sweep.dir", to_go_on=False).path == here.path
    with sqlite3.connect(here.study) as study:
        assert study.execute("select count(*) from trials where state like 'found%'").fetchall() == [(50,)]
    working, done = here.read_trials()
    for trial in (working, done):
        assert trial.directory.partial.exists() and not checkpoint.complete(trial.directory)
    assert not SweepMirror(here, address).missing()

    here.summary_md.write_text("as it was then")
    said = command("task=sync", f"runs_dir={runs_dir}")
    assert done.directory.id in said.out and address not in said.out, "the sweep may be further on in the store"
    refused = command(f"sweep.resume={here.path}")
    assert refused.code == 2 and not here.was_worked_on()
    assert f"without the checkpoints of {working}; give its address, sweep.resume={address}." in refused.err
    for trial in (working, done):
        run = find_run(trial.run, "run", "runs", None)
        assert run.path == trial.directory.path and checkpoint.complete(run) and not run.partial.exists()


def broken_off(study: Path) -> None:
    """Leave a database as a machine does that goes down in the middle of a change: with the journal of what was there."""
    writer = sqlite3.connect(study.with_name("writer.db"))
    writer.execute("create table trials (state text)")
    writer.executemany("insert into trials values (?)", [("older" * 1000,)] * 50)
    writer.commit()
    writer.execute("pragma cache_size = 1")
    writer.execute("update trials set state = upper(state)")
    for end in ("", "-journal"):
        study.with_name(study.name + end).write_bytes(study.with_name(f"writer.db{end}").read_bytes())
    writer.close()


def test_unusable_sweep_addresses_are_rejected(store: Server, tmp_path: Path, command: Callable[..., Outcome]) -> None:
    def refused(*typed: str) -> str:
        outcome = command(*typed)
        assert outcome.code == 2 and outcome.err.count("\n") == 1, outcome
        return outcome.err

    swept = ("-m", "experiment=quickstart", "seed=1,2", f"runs_dir={RUNS}")
    for launcher in ("slurm", "ray"):
        if importlib.util.find_spec({"slurm": "submitit"}.get(launcher, launcher)) is None:
            continue
        said = refused(*swept, f"hydra/launcher={launcher}", "hardware=cpu", "dry_run=true")
        assert f"trials of hydra/launcher={launcher} run on other machines" in said and "hydra/launcher=cards" in said
    assert "hardware.nodes is 2" in refused(*swept, "hardware.nodes=2")
    both = ("-m", "experiment=quickstart", "runs_dir=s3://one/a,s3://two/b", "seed=1", "dry_run=true")
    assert "a sweep in a store belongs in one place" in refused(*both)

    store.fill("copies", {"runs/sweeps/some/trials.jsonl": b"", "empty/x": b""})
    assert "sweep.resume=last: no sweep found in s3://copies/empty/sweeps" in refused(
        "sweep.resume=last", "runs_dir=s3://copies/empty"
    )
    assert "sweep.json is missing" in refused("sweep.resume=s3://copies/runs/sweeps/some")
    assert "no objects found" in refused("task=report", "sweep.dir=s3://copies/runs/sweeps/other")
    sweep = small_sweep(tmp_path, [WAITING])
    store.fill("moved", {f"runs/sweeps/{sweep.id}/{name}": file.read_bytes() for name, file in named(sweep).items()})
    said = refused(f"sweep.resume=s3://moved/runs/sweeps/{sweep.id}")
    assert f"was started with runs_dir={RUNS}, where" in said
    store.fill("lost", {f"runs/sweeps/{sweep.id}/sweep.json": sweep.info.read_bytes()})
    assert "has no trials" in refused(f"sweep.resume=s3://lost/runs/sweeps/{sweep.id}")
    assert read_json(sweep.info)["runs_dir"] == RUNS


def named(sweep: SweepDirectory) -> dict[str, Path]:
    return {file.name: file for file in sweep.files if file.is_file()}
