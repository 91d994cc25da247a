"""The cost of MLflow faults for a training: step time, lost and duplicated points, seconds waited at the end.

    python benchmarks/tracking_faults.py                     # all faults, about ten minutes on two idle cores
    python benchmarks/tracking_faults.py killed hole         # some of them

A short training of a tiny model on the CPU runs once for each fault, and before, between and after them without a fault.
MLflow servers are real processes; a proxy on the loopback interface makes them slow, broken or unresponsive. The step times
are those the training itself records (``perf/step_ms`` of every step, without the first epoch) and are given as ratios to the
runs without a fault: everything shares one machine, so smaller differences than the spread of those runs mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

from mlflow_faults import Proxy, Server, lost_and_doubled, remote_runs  # noqa: E402

from deit.runs import journal, status  # noqa: E402
from deit.runs.directory import RunDirectory  # noqa: E402

EPOCHS, STEPS = 16, 32  # of an epoch
FLUSH = 15  # seconds
TRAINING = (
    "experiment=quickstart", "model.embed_dim=16", "model.depth=2", "model.num_heads=2", "data.train_limit=1024",
    "data.val_limit=100", "data.eval_batch_size=100", "data.batch_size=32", f"schedule.epochs={EPOCHS}",
    f"schedule.eval_every={EPOCHS}", f"checkpointing.every={EPOCHS}", "tracking.log_every=1", "tracking.system_metrics_every=1",
    f"tracking.flush_timeout={FLUSH}", "hardware=cpu",
)  # fmt: skip


@dataclass
class Result:
    fault: str
    median: float  # ms
    p99: float  # ms
    waited: float  # seconds from the end of the training to the end of the command
    left: tuple[int, int]  # points lost and duplicated when the command had ended
    after: tuple[int, int]  # and after task=sync to the repaired store
    runs: int  # MLflow runs of this one run


class Setting:
    """One run: its folder, its server behind a proxy, and what is done to them during the training."""

    def __init__(self, folder: Path, server: Server, proxy: Proxy) -> None:
        self.folder, self.server, self.proxy = folder, server, proxy
        self.uri = proxy.uri  # where the run is tracked
        self.read_uri = server.uri  # where its points are counted afterwards
        self.repair: Callable[[], object] = lambda: None  # before task=sync
        self.at: list[tuple[float, Callable[[], object]]] = []  # actions by progress of the training

    def break_with(self, fault: str, begin: float = 0.0) -> None:
        if begin:
            self.at.append((begin, lambda: setattr(self.proxy, "fault", fault)))
        else:
            self.proxy.fault = fault
        self.repair = lambda: setattr(self.proxy, "fault", None)


@contextlib.contextmanager
def nothing(setting: Setting) -> Iterator[None]:
    yield


@contextlib.contextmanager
def down_at_start(setting: Setting) -> Iterator[None]:
    setting.break_with("down")
    setting.at.append((0.5, setting.repair))
    yield


@contextlib.contextmanager
def killed(setting: Setting) -> Iterator[None]:
    """The server itself, by SIGKILL; it is restarted at half of the training, at a lower priority."""
    setting.at += [(0.2, setting.server.kill), (0.5, setting.server.start)]
    yield


@contextlib.contextmanager
def gone(setting: Setting) -> Iterator[None]:
    setting.at.append((0.2, setting.server.kill))
    setting.repair = setting.server.start
    yield


@contextlib.contextmanager
def slow(setting: Setting) -> Iterator[None]:
    setting.break_with("slow")
    yield


@contextlib.contextmanager
def errors(setting: Setting) -> Iterator[None]:
    setting.break_with("500", begin=0.2)
    yield


@contextlib.contextmanager
def hole(setting: Setting) -> Iterator[None]:
    setting.break_with("hole", begin=0.2)
    yield


@contextlib.contextmanager
def disk_full(setting: Setting) -> Iterator[None]:
    """A SQLite store on a full file system of 3 MB. Needs the permission to mount."""
    disk = setting.folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(disk)], check=True)
    setting.uri = setting.read_uri = f"sqlite:///{disk}/mlflow.db"
    filler = disk / "filler"

    def fill() -> None:
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def repair() -> None:
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)

    setting.at.append((0.2, fill))
    setting.repair = repair
    try:
        yield
    finally:
        # The shipper of an ended run may still have the database open for a moment.
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@contextlib.contextmanager
def locked(setting: Setting) -> Iterator[None]:
    """A SQLite store locked by another program."""
    setting.uri = setting.read_uri = f"sqlite:///{setting.folder}/mlflow.db"
    holders: list[sqlite3.Connection] = []

    def hold() -> None:
        holder = sqlite3.connect(setting.folder / "mlflow.db", isolation_level=None, check_same_thread=False, timeout=30)
        holder.execute("BEGIN EXCLUSIVE")
        holders.append(holder)

    setting.at.append((0.2, hold))

    def release() -> None:
        for holder in holders:
            holder.close()

    setting.repair = release
    yield


@contextlib.contextmanager
def shipper_killed(setting: Setting) -> Iterator[None]:
    """The shipper, not the server, by SIGKILL, three times."""

    def kill() -> None:
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                line = (folder / "cmdline").read_bytes().split(b"\0") if folder.name.isdigit() else []
                if b"deit.tracking.shipper" in line and any(str(setting.folder).encode() in word for word in line):
                    os.kill(int(folder.name), signal.SIGKILL)

    setting.at += [(0.2, kill), (0.5, kill), (0.8, kill)]
    yield


FAULTS = {
    "down_at_start": down_at_start, "killed": killed, "gone": gone, "slow": slow, "errors": errors, "hole": hole,
    "disk_full": disk_full, "locked": locked, "shipper_killed": shipper_killed,
}  # fmt: skip


def measure(name: str, fault: Callable[[Setting], contextlib.AbstractContextManager[None]], server: Server) -> Result:
    folder = Path(tempfile.mkdtemp(prefix=f"{name}_"))
    if server.process is None or server.process.poll() is not None:
        server.start()
    proxy = Proxy(server.port)
    setting = Setting(folder, server, proxy)
    try:
        with fault(setting):
            return _measure(name, setting)
    finally:
        proxy.close()
        shutil.rmtree(folder, ignore_errors=True)


def _measure(name: str, setting: Setting) -> Result:
    launch = [sys.executable, str(ROOT / "launch.py")]
    with open(setting.folder / "output.txt", "w") as output:
        process = subprocess.Popen(
            [*launch, *TRAINING, f"tracking.uri={setting.uri}"], cwd=setting.folder, stdout=output, stderr=output
        )
    to_do = sorted(setting.at, key=lambda pair: pair[0])
    run = None
    while process.poll() is None:
        run = run or next((RunDirectory(path.parent) for path in setting.folder.glob("runs/*/*/status.json")), None)
        step = status.read(run).progress.get("step", 0) if run else 0
        while to_do and step >= to_do[0][0] * EPOCHS * STEPS:
            to_do.pop(0)[1]()
        time.sleep(0.1)
    ended = time.time()
    assert run is not None and process.returncode == 0 and not to_do, (setting.folder / "output.txt").read_text()
    # A broken store cannot always be read; the points are counted after the repair, before anything is sent.
    setting.repair()
    left = lost_and_doubled(setting.read_uri, run)
    synced = subprocess.run([*launch, "task=sync", f"run={run.path}"], cwd=setting.folder, capture_output=True, text=True)
    assert synced.returncode == 0, synced.stdout + synced.stderr
    times = [
        record["metrics"]["perf/step_ms"]
        for _, record in journal.read(run.journal)
        if "perf/step_ms" in record.get("metrics", {}) and record["step"] > STEPS
    ]
    return Result(
        name,
        float(np.median(times)),
        float(np.percentile(times, 99)),
        ended - status.read(run).updated,
        left,
        lost_and_doubled(setting.read_uri, run),
        len(remote_runs(setting.read_uri, run)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    chosen = parser.parse_args().faults or list(FAULTS)
    if unknown := set(chosen) - set(FAULTS):
        parser.error(f"unknown: {', '.join(unknown)}; allowed: {', '.join(FAULTS)}")
    order = ["none"]
    for number, name in enumerate(chosen, 1):
        order += [name, "none"] if number % 3 == 0 or number == len(chosen) else [name]
    server = Server(Path(tempfile.mkdtemp(prefix="mlflow_")))
    results = []
    try:
        for name in order:
            results.append(measure(name, FAULTS.get(name, nothing), server))
            print(results[-1], file=sys.stderr, flush=True)
    finally:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)
    well = [result for result in results if result.fault == "none"]
    median, p99 = (float(np.median([getattr(result, key) for result in well])) for key in ("median", "p99"))
    of = f"median of {len(well)} runs of {EPOCHS * STEPS} steps"
    print(f"\nwithout a fault: median {median:.2f} ms per step, p99 {p99:.2f} ms ({of})\n")
    print("| fault | median | p99 | waited at the end | lost / duplicated at the end | after task=sync | MLflow runs |")
    print("|---|---|---|---|---|---|---|")
    for result in results:
        row = (
            result.fault, f"{result.median / median:.2f}", f"{result.p99 / p99:.2f}", f"{result.waited:.1f} s",
            f"{result.left[0]} / {result.left[1]}", f"{result.after[0]} / {result.after[1]}", str(result.runs),
        )  # fmt: skip
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
