"""Sweeps and multi-node runs on a real Slurm (tests/helpers/slurm.py), and what a job reads from Slurm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command import LAUNCH, with_last
from launching import BRIEF, SMALL, metrics, signal_workers
from slurm import Slurm, running

from deit.errors import UserError
from deit.files import read_json
from deit.lookup.sweeps import find
from deit.runs import checkpoint, status
from deit.runs.directory import RunDirectory
from deit.runs.trial_record import Trial

pytest.importorskip("submitit", reason="the extra `slurm` is not installed")

SWEEP = (*BRIEF, "tracking=none", "hardware=cpu", "hydra/launcher=slurm", "hydra.launcher.poll_interval=1")
TWO = ("hardware.nodes=2", "data.batch_size=16")  # as other tests compile it for two processes on one machine
# Never at its end within a test.
LONG = ("schedule.epochs=20000", "schedule.eval_every=1000", "checkpointing.every=1000")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with running(tmp_path_factory.mktemp("slurm")) as started:
        yield started


class Sweep:
    """A launch in the background, and the sweep and the jobs that come of it."""

    def __init__(self, slurm: Slurm, folder: Path, *arguments: str) -> None:
        self.slurm, self.folder = slurm, folder
        self.output = folder / f"output{time.monotonic_ns()}.txt"
        with open(self.output, "w") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(LAUNCH), *with_last(*arguments)],
                cwd=folder,
                env=slurm.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def end(self, timeout: float = 600) -> int:
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running: {self.text}\n{self.slurm.jobs()}") from None

    def trials(self) -> list[Trial]:
        return find("last", "sweep.resume", str(self.folder / "runs")).read_trials()

    def job(self, trial: int) -> str:
        """The number of a trial's job."""
        jobs: dict[str, str] = read_json(find("last", "sweep.resume", str(self.folder / "runs")).path / "slurm" / "jobs.json")
        return jobs[str(trial)]

    def wait_for(self, what: Callable[[], Any], timeout: float = 600, alive: bool = True) -> Any:
        """Wait until ``what`` is true, and return it; with ``alive`` no longer than the launch lives."""
        end = time.monotonic() + timeout
        over = False
        while time.monotonic() < end and not over:
            over = alive and self.process.poll() is not None
            try:
                found = what()
            except (UserError, KeyError, TypeError, IndexError, json.JSONDecodeError):  # not there yet
                found = None
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"waited in vain: {self.text}\n{self.slurm.jobs()}")

    def at_work(self, trial: int, beyond: int = 0) -> int:
        """The step of a trial that is training and beyond a step; 0 else."""
        now = status.read(self.trials()[trial].directory)
        step = now.progress.get("step", 0)
        return step if now.state == status.RUNNING and step > beyond else 0

    @property
    def text(self) -> str:
        return self.output.read_text()


@pytest.fixture
def sweep(slurm: Slurm, tmp_path: Path) -> Iterator[Callable[..., Sweep]]:
    started: list[Sweep] = []

    def start(*arguments: str) -> Sweep:
        started.append(Sweep(slurm, tmp_path, *arguments))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
    end = time.monotonic() + 120
    while (jobs := slurm.jobs()) and time.monotonic() < end:  # of a test that failed
        for how in (["--signal=KILL"], []):
            subprocess.run(["scancel", *how, *jobs], env=slurm.environment)  # fails for those that end meanwhile
        time.sleep(0.5)


def test_trials_share_the_cards_of_a_node(sweep: Callable[..., Sweep], slurm: Slurm) -> None:
    """Of three trials of four cards two run at once on eight, the third after one of them."""
    done = sweep("-m", *SWEEP, "hydra.launcher.gres=npu:4", "schedule.epochs=2", "seed=1,2,3")
    assert done.end() == 0, done.text
    attempts = [trial.attempts[0] for trial in done.trials()]
    assert [trial.state for trial in done.trials()] == ["finished"] * 3
    assert all(len(attempt.cards) == 4 and set(attempt.cards) <= set(range(8)) for attempt in attempts)
    times = [slurm.times(done.job(trial)) for trial in range(3)]
    # Which trials are running when each of them begins; the third may begin before both others have ended.
    at_work = [{other for other in range(3) if times[other][0] <= times[one][0] < times[other][1]} for one in range(3)]
    assert max(map(len, at_work)) == 2, times
    for together in at_work:
        assert len(set.union(*(set(attempts[trial].cards) for trial in together))) == 4 * len(together)


def test_stop_resume_cancel_and_requeue(sweep: Callable[..., Sweep], slurm: Slurm) -> None:
    """Ctrl-C stops jobs with a checkpoint; a killed sweep finds its jobs again; a cancelled job is interrupted; and one whose
    machine Slurm gives to a more urgent job is one trial that goes on."""
    first = sweep("-m", *SWEEP, *LONG, "seed=1,2")
    first.wait_for(lambda: first.at_work(0) and first.at_work(1))
    first.process.send_signal(signal.SIGINT)
    assert first.end() == 130
    assert [trial.state for trial in first.trials()] == ["interrupted"] * 2
    assert all("stopped by SIGINT" in str(trial.message) for trial in first.trials())
    steps = [checkpoint.read_state(checkpoint.complete(trial.directory)[-1])["step"] for trial in first.trials()]
    assert min(steps) > 0
    assert slurm.jobs() == {}

    second = sweep("sweep.resume=last")
    second.wait_for(lambda: second.at_work(0, steps[0]) and second.at_work(1, steps[1]))
    second.process.kill()
    jobs = [second.job(0), second.job(1)]
    assert set(slurm.jobs()) == set(jobs)

    third = sweep("sweep.resume=last")
    third.wait_for(lambda: third.text.count("is taken up again") == 2)
    assert [third.job(0), third.job(1)] == jobs
    slurm.run("scancel", jobs[0])
    third.wait_for(lambda: third.trials()[0].state == "interrupted")
    slurm.run("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=true")
    third.wait_for(lambda: slurm.jobs()[jobs[1]] == "PENDING")
    trial = third.trials()[1]
    before = checkpoint.read_state(checkpoint.complete(trial.directory)[-1])["step"]
    assert before > steps[1], "no checkpoint was written"
    # A job that was queued again waits for a while; a person with the right may shorten that.
    again = ["scontrol", "update", f"JobId={jobs[1]}", "StartTime=now"]
    third.wait_for(lambda: subprocess.run(again, env=slurm.environment).returncode == 0)
    third.wait_for(lambda: third.at_work(1, before))
    trial = third.trials()[1]
    assert trial.state == "running" and len(trial.attempts) == 2
    third.process.terminate()
    assert third.end() == 143
    recorded = [step for step, _ in metrics(trial.directory)["train/loss"]]
    assert recorded == sorted(set(recorded)), "a step was computed twice, so it did not go on from a checkpoint"


def test_two_nodes_share_a_run(sweep: Callable[..., Sweep], slurm: Slurm) -> None:
    """A rank that dies on the second node ends the trial on both; tried again it is left to Slurm by a sweep that ends."""
    if slurm.nodes < 2:
        pytest.skip("no network namespace can be made for a second node")
    two = ("hydra.launcher.partition=two", "hydra.launcher.cancel_jobs=false", "sweep.retries=1")
    # Long enough that it is not over before it is signalled, short enough to be waited for.
    one = sweep("-m", *SWEEP, *two, *TWO, "schedule.epochs=60", "schedule.eval_every=20", "seed=1")
    one.wait_for(lambda: one.at_work(0, 4))
    run = one.trials()[0].directory
    os.kill(int((run.logs / "worker_1.pid").read_text()), signal.SIGKILL)
    one.wait_for(lambda: len(one.trials()[0].attempts) == 2)
    # That the machines have heard of each other: alone, machine 0 would not know what happened.
    assert "failed, and will be retried" in one.text and "machine 1: rank 1 ended unexpectedly" in one.text
    one.wait_for(lambda: one.at_work(0, 8))
    signal_workers(run, signal.SIGSTOP)  # so that it does not end before the sweep
    one.process.send_signal(signal.SIGINT)
    assert one.end() == 130
    assert "1 trials continue without the sweep" in one.text
    signal_workers(run, signal.SIGCONT)
    one.wait_for(lambda: slurm.jobs() == {}, alive=False)
    assert status.read(run).state == "finished"
    assert [read_json(run.logs / f"node_{node}.json")["state"] for node in (0, 1)] == ["finished"] * 2
    assert (run.logs / "msrun_node1.log").exists() and not (run.logs / "worker_2.log").exists()
    recorded = [step for step, _ in metrics(run)["train/loss"]]
    assert recorded == sorted(set(recorded))


def test_srun_without_a_sweep(slurm: Slurm, tmp_path: Path) -> None:
    """Without a sweep: srun starts the command on each node, and they meet in one run directory."""
    if slurm.nodes < 2:
        pytest.skip("no network namespace can be made for a second node")
    recipe = with_last(*BRIEF, *TWO, "schedule.epochs=2", "tracking=none", "hardware=cpu")
    command = [sys.executable, str(LAUNCH), *recipe]
    srun = ["srun", "--partition=two", "--nodes=2"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*arguments, *command], cwd=tmp_path, env=slurm.environment, capture_output=True, text=True, timeout=600
        )

    crowd = run(*srun, "--ntasks-per-node=2")
    assert crowd.returncode == 2 and "Slurm starts 4 processes" in crowd.stderr and "--ntasks-per-node=1" in crowd.stderr
    done = run(*srun)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "runs" / "quickstart").iterdir()
    assert status.read(RunDirectory(path)).state == "finished"
    assert list((tmp_path / "runs").iterdir()) == [tmp_path / "runs" / "quickstart"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), ["hardware.target is auto", "ascend, gpu, cpu"]),
        (("hardware=cpu", "hydra.launcher.partition=nowhere"), ["sbatch rejects such a job", "invalid partition"]),
        (("hardware=ascend8", "hardware.cards=9", "data.batch_size=8"), ["sbatch rejects such a job (1 node, gres npu:9)"]),
        (
            ("hardware=ascend2x8", "hardware.node_rank=0", "data.batch_size=8"),
            ["hardware.node_rank=0", "Slurm chooses the machines"],
        ),
        (("hardware=ascend1", "hardware.card_ids=[1]"), ["hardware.card_ids=[1]", "Slurm chooses the cards"]),
        (("hardware=cpu", "hydra.launcher.tasks_per_node=8"), ["hydra.launcher.tasks_per_node=8", "no effect"]),
        (("hardware=cpu", "hydra.launcher.partitoin=x"), ["hydra.launcher.partitoin"]),
        (("hardware=cpu", "+hydra.launcher.partitoin=x"), ["hydra.launcher.partitoin"]),
        (("hardware=cpu", "sweep.cards=2"), ["sweep.cards=2", "hydra.launcher.max_jobs"]),
    ],
)
def test_mistakes_are_rejected_before_a_job_is_submitted(
    slurm: Slurm,
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    said: list[str],
) -> None:
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    outcome = command("-m", *with_last(*SMALL, "hydra/launcher=slurm", "seed=1,2", *arguments))
    assert outcome.code == 2
    for words in said:
        assert words in outcome.err
    assert "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_missing_slurm_is_reported(command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    outcome = command("-m", *SMALL, "hydra/launcher=slurm", "hardware=cpu", "seed=1,2")
    assert outcome.code == 2
    assert "there is no `sbatch` here" in outcome.err and "login node" in outcome.err


def test_cards_in_a_job(slurm: Slurm) -> None:
    """Inside a job the cards of this node are those of the job, though Slurm sets no variable for NPUs."""
    program = (
        "from deit.machine import cards as hardware, slurm; inside = slurm.allocation(); print(slurm.cards(inside, 'ascend'), "
        "slurm.cards(inside, 'gpu'), slurm.address(slurm.hosts(inside.node_list)[0]))"
    )
    said = slurm.run("srun", "--gres=npu:2", f"--chdir={LAUNCH.parent}", sys.executable, "-c", program)
    address = slurm.run("scontrol", "show", "node", "n1").split("NodeAddr=")[1].split()[0]
    assert said.strip() == f"[0, 1] None {address}"
