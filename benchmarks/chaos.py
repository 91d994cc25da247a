"""Random faults in trainings and a sweep, until all have ended: which were survived, what was lost, how long recovery took.

    python benchmarks/chaos.py                       # 100 faults, about 25 minutes on two idle cores
    python benchmarks/chaos.py --faults 12 --seed 7 --kinds "kill worker" "bit flip"

For each kind of fault a small training on the digits (one process; two for msrun) runs with a real MLflow server and is hit
at random moments, is resumed if the fault ends it, and runs to its end. It must then have the same bits as an undisturbed
training with the same seed (weights, EMA, optimizer, every metric except times), every point of its journal once in MLflow,
and no process left. A full disk must have prevented a checkpoint. The sweep's trials are compared with those of an
undisturbed sweep. The exit code is 0 only if all of this is true.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from deit.runs.run_processes import kill_all, of_run

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

import numpy as np
from mlflow_faults import Server, lost_and_doubled
from rich.console import Console
from rich.table import Table

from deit.machine import processes
from deit.runs import checkpoint, journal, status
from deit.runs.directory import RunDirectory
from deit.runs.lock import held
from deit.runs.outcome import FINISHED
from deit.runs.sweep_directory import SweepDirectory

LAUNCH = Path(__file__).resolve().parents[1] / "launch.py"
SMALL = (
    *("experiment=quickstart", "model.embed_dim=16", "model.depth=2", "model.num_heads=2", "model.drop_path_rate=0.1"),
    *("data.train_limit=256", "data.val_limit=100", "data.eval_batch_size=64", "data.batch_size=32", "schedule.epochs=200"),
    *("schedule.eval_every=5", "checkpointing.every_steps=20", "ema.decay=0.9", "tracking.log_every=3"),
)
TRACKED = ("tracking.system_metrics_every=0", "tracking.flush_timeout=300")
PATIENCE = 600.0  # seconds until a fault counts as not survived
OUTAGE = 4.0  # seconds for which the MLflow server is down, or a process stopped


class NotSurvived(Exception):
    """A fault has broken something."""


class Missed(Exception):
    """No process to hit: the training was between two starts, or at its end."""


class Training:
    """A training that is hit and resumed; without a server its metrics are in its journal alone."""

    def __init__(self, folder: Path, server: Server | None, steps: int, *more: str) -> None:
        self.folder, self._server = folder, server
        self.disk_was_full = 0  # times
        folder.mkdir(parents=True, exist_ok=True)
        tracked = (*TRACKED, f"tracking.uri={server.uri}") if server else ("tracking=none",)
        self._arguments = (*SMALL, *tracked, f"schedule.max_steps={steps}", *more)
        self.launcher: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def server(self) -> Server:
        assert self._server is not None
        return self._server

    @property
    def run(self) -> RunDirectory:
        return RunDirectory(next(self.folder.glob("runs/quickstart/*")))

    @property
    def _status(self) -> status.Status:
        return status.read(self.run) if any(self.folder.glob("runs/quickstart/*")) else status.Status()

    @property
    def step(self) -> int:
        return int(self._status.progress.get("step", -1))

    @property
    def finished(self) -> bool:
        """Whether its launch has ended and nothing is left to do; it may have been killed while it waited for the shipper."""
        return self._ended and self._status.state == FINISHED

    @property
    def _ended(self) -> bool:
        return self.launcher is not None and self.launcher.poll() is not None

    @property
    def _died(self) -> bool:
        return self._ended and not self.finished

    def start(self) -> None:
        """Start or resume it."""
        known = any(self.folder.glob("runs/quickstart/*/config.yaml"))
        typed = (f"resume={self.run.path}",) if known else self._arguments
        with open(self.folder / "output.txt", "ab") as output:
            self.launcher = subprocess.Popen(
                [sys.executable, str(LAUNCH), *typed], cwd=self.folder, stdout=output, stderr=subprocess.STDOUT
            )

    def wait_beyond(self, step: int) -> None:
        """Wait until the training is beyond ``step``, or has finished."""
        self._wait(lambda: self.step > step or self.finished, f"no step after {step}")

    def wait_for_end(self) -> None:
        """Wait until the launch has ended and no process of it is left."""
        self._wait(lambda: self._ended, "the launch does not end")
        self._wait(lambda: not held(self.run), "processes or locks are left")

    def wait_for_shipper(self) -> None:
        """Wait until all is sent: the shipper of a killed launch continues by itself."""
        self._wait(lambda: not _shippers(self), "the shipper does not end")

    def _wait(self, what: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + PATIENCE
        while not what() or (self._died and otherwise.startswith("no step")):
            if time.monotonic() > end or (self._died and otherwise.startswith("no step")):
                raise NotSurvived(f"{otherwise}: {processes.tail(self.folder / 'output.txt', 5)}")
            time.sleep(0.05)


# ------------------------------------------------------------------------------------------------ the faults


def kill_worker(training: Training, draw: random.Random) -> None:
    _kill(int(draw.choice(sorted(training.run.logs.glob("worker_*.pid"))).read_text()))
    _resume(training)


def kill_msrun(training: Training, draw: random.Random) -> None:
    found = [pid for pid in of_run(training.run) if b"/msrun" in _cmdline(pid)]
    if not found:
        raise Missed
    _kill(found[0])
    _resume(training)


def kill_launcher(training: Training, draw: random.Random) -> None:
    assert training.launcher is not None
    _kill(training.launcher.pid)
    _resume(training)


def kill_shipper(training: Training, draw: random.Random) -> None:
    for pid in _shippers(training):
        _kill(pid)


def kill_mlflow_server(training: Training, draw: random.Random) -> None:
    training.server.kill()
    time.sleep(OUTAGE)
    training.server.start()


def stop_worker_for_a_while(training: Training, draw: random.Random) -> None:
    pid = int((training.run.logs / "worker_0.pid").read_text())
    _kill(pid, signal.SIGSTOP)
    time.sleep(OUTAGE)
    _kill(pid, signal.SIGCONT)


def preempt(training: Training, draw: random.Random) -> None:
    assert training.launcher is not None
    training.launcher.send_signal(signal.SIGTERM)
    _resume(training)


def truncate(training: Training, draw: random.Random) -> None:
    _damage(training, draw, lambda content: content[: draw.randrange(len(content))])


def flip_bit(training: Training, draw: random.Random) -> None:
    def flip(content: bytes) -> bytes:
        place = draw.randrange(len(content))
        return content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :]

    _damage(training, draw, flip)


def fill_disk(training: Training, draw: random.Random) -> None:
    """Fill the training's own small disk, until a checkpoint is due, then free it again."""
    ballast = training.folder / "ballast"
    space = os.statvfs(training.folder)
    with contextlib.suppress(OSError):  # the training has used some of it meanwhile
        ballast.write_bytes(bytes(space.f_bavail * space.f_frsize - draw.randrange(100_000)))
    time.sleep(OUTAGE)
    ballast.unlink()
    training.disk_was_full += 1
    time.sleep(1)
    pid = (training.run.logs / "worker_0.pid").read_text()
    if not pid or not Path(f"/proc/{pid}").exists():
        _resume(training)  # its last checkpoint had no room or not even its start, or it had finished


KINDS: dict[str, Callable[[Training, random.Random], None]] = {
    "kill worker": kill_worker,
    "kill msrun": kill_msrun,
    "kill launcher": kill_launcher,
    "kill shipper": kill_shipper,
    "kill MLflow server": kill_mlflow_server,
    "stop worker": stop_worker_for_a_while,
    "SIGTERM": preempt,
    "truncated checkpoint": truncate,
    "bit flip": flip_bit,
    "disk full": fill_disk,
}
SWEEP = "kill sweep"


def _damage(training: Training, draw: random.Random, change: Callable[[bytes], bytes]) -> None:
    assert training.launcher is not None
    _kill(training.launcher.pid)
    training.wait_for_end()
    if training.finished:
        raise Missed
    file = draw.choice(sorted(checkpoint.complete(training.run)[-1].iterdir()))
    file.write_bytes(change(file.read_bytes()))
    training.start()


def _resume(training: Training) -> None:
    training.wait_for_end()
    if not training.finished:  # else the fault came after the last step
        training.start()


def _kill(pid: int, number: int = signal.SIGKILL) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        raise Missed from None


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _shippers(training: Training) -> list[int]:
    wanted = b"\0".join((b"deit.tracking.shipper", os.fsencode(training.run.path)))
    return [
        int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit() and wanted in _cmdline(int(folder.name))
    ]


# ------------------------------------------------------------------------------------------------ the judgement


@dataclass
class Row:
    tries: int = 0
    survived: int = 0
    runs: int = 0
    same_bits: int = 0
    lost: int = 0
    doubled: int = 0
    seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        return self.survived == self.tries and self.same_bits == self.runs and not (self.lost or self.doubled or self.problems)


def compare(run: RunDirectory, reference: RunDirectory) -> list[str]:
    """Differences between a run and the undisturbed one."""
    found = []
    ends = [checkpoint.complete(one)[-1] for one in (run, reference)]
    if ends[0].name != ends[1].name:
        return [f"ends at {ends[0].name}, not {ends[1].name}"]
    for part in ("model", "ema", "optimizer"):
        ours, theirs = (checkpoint.read_part(end, part) for end in ends)
        found += [f"{part} {name} differs" for name in theirs if not np.array_equal(ours[name], theirs[name])]
    histories = [_history(one) for one in (run, reference)]
    return found + [f"{name}: another history" for name in histories[1] if histories[0].get(name) != histories[1][name]]


def _history(run: RunDirectory) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for _, record in journal.read(run.journal):
        for name, value in record.get("metrics", {}).items():
            if not name.startswith("perf/"):
                found.setdefault(name, []).append((record["step"], value))
    return found


def torture(kind: str, faults: int, folder: Path, server: Server, steps: int, reference: RunDirectory, seed: int) -> Row:
    """Hit trainings with one kind of fault, and check each when it has ended."""
    row, draw, more = (
        Row(),
        random.Random(f"{seed} {kind}"),
        ("hardware=cpu2", "data.batch_size=16") if kind == "kill msrun" else (),
    )
    while row.tries < faults:
        place = folder / f"{kind.replace(' ', '_')}_{row.runs}"
        if kind == "disk full":
            _mount(place)
        training = Training(place, server, steps, *(more or ("hardware=cpu",)))
        row.runs += 1
        try:
            training.wait_beyond(20)  # there is a checkpoint
            while row.tries < faults and not training.finished:
                time.sleep(draw.uniform(0, 2))
                before = training.step
                if training.finished:
                    break
                hit = time.monotonic()
                try:
                    KINDS[kind](training, draw)
                except Missed:
                    training.wait_beyond(-2)  # an end that nobody has brought about is not survived
                    continue
                row.tries += 1
                training.wait_beyond(before)
                row.seconds.append(time.monotonic() - hit)
                row.survived += 1
            training.wait_for_end()
            if not training.finished:
                raise NotSurvived(f"exit code {training.launcher.returncode if training.launcher else None}")
            training.wait_for_shipper()
            differences = compare(training.run, reference)
            row.same_bits += not differences
            row.problems += differences[:3]
            lost, doubled = lost_and_doubled(server.uri, training.run)
            row.lost, row.doubled = row.lost + lost, row.doubled + doubled
            events = [record.get("event") for _, record in journal.read(training.run.journal)]
            if training.disk_was_full and "checkpoint_failed" not in events:
                row.problems.append(f"{training.folder.name}: no checkpoint has met the full disk")
        except NotSurvived as error:
            row.problems.append(f"{training.folder.name}: {error}")
            if training.launcher is not None and training.launcher.poll() is None:
                training.launcher.kill()
            kill_all(training.run)
            if len(row.problems) > 3:
                break
        finally:
            if kind == "disk full":
                subprocess.run(["umount", "--lazy", str(place)], check=True)
    return row


def _mount(place: Path) -> None:
    """A disk of 32 MB, which needs the right to mount one."""
    place.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(place)], capture_output=True, text=True)
    if mounted.returncode:
        sys.exit(f"disk full: {mounted.stderr.strip()}; leave it out with --kinds")


def torture_sweep(faults: int, folder: Path, server: Server, steps: int, seed: int) -> Row:
    """Kill a sweep, or the launcher of one of its trials, and resume with ``sweep.resume=``."""
    row, draw = Row(), random.Random(f"{seed} sweep")
    typed = (
        "-m",
        *SMALL,
        *TRACKED,
        f"tracking.uri={server.uri}",
        f"schedule.max_steps={steps}",
        "hardware=cpu",
        "seed=0,1,2,3",
    )
    calm, hit = folder / "sweep_calm", folder / "sweep_hit"
    for place in (calm, hit):
        place.mkdir(parents=True)
    subprocess.run([sys.executable, str(LAUNCH), *typed], cwd=calm, check=True, capture_output=True)
    launcher = _sweep(hit, *typed, f"sweep.retries={faults}")
    end = time.monotonic() + PATIENCE
    while launcher.poll() is None and time.monotonic() < end:
        time.sleep(draw.uniform(4, 12))
        if row.tries == faults or launcher.poll() is not None:
            launcher.wait(PATIENCE)
            break
        row.tries += 1
        began = time.monotonic()
        runs = [RunDirectory(path) for path in hit.glob("runs/quickstart/*")]
        launchers = [now.launcher_pid for run in runs if (now := status.read(run)).state == status.RUNNING and now.launcher_pid]
        if draw.random() < 0.5 and launchers:
            try:
                _kill(draw.choice(launchers))
            except Missed:
                row.tries -= 1
                continue
        else:
            _kill(launcher.pid)
            launcher.wait()
            launcher = _sweep(hit, "sweep.resume=last")
        row.seconds.append(time.monotonic() - began)
        end = time.monotonic() + PATIENCE
    row.survived = row.tries if launcher.wait(PATIENCE) == 0 else 0
    trials = SweepDirectory(next(hit.glob("runs/sweeps/*"))).read_trials()
    references = {trial.number: trial for trial in SweepDirectory(next(calm.glob("runs/sweeps/*"))).read_trials()}
    for trial in trials:
        row.runs += 1
        if trial.state != FINISHED:
            row.problems.append(f"{trial} {trial.state}: {trial.message}")
            continue
        differences = compare(trial.directory, references[trial.number].directory)
        row.same_bits += not differences
        row.problems += differences[:3]
        lost, doubled = lost_and_doubled(server.uri, trial.directory)
        row.lost, row.doubled = row.lost + lost, row.doubled + doubled
    return row


def _sweep(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with open(folder / "output.txt", "ab") as output:
        return subprocess.Popen([sys.executable, str(LAUNCH), *arguments], cwd=folder, stdout=output, stderr=subprocess.STDOUT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=800, help="of each training")
    parser.add_argument("--kinds", nargs="+", choices=[*KINDS, SWEEP], default=[*KINDS, SWEEP])
    options = parser.parse_args()
    console, folder = Console(width=128), Path(tempfile.mkdtemp(prefix="chaos_"))
    server = Server(folder).start()
    rows: dict[str, Row] = {}
    try:
        references: dict[str, RunDirectory] = {}
        for hardware in ("cpu2",) * ("kill msrun" in options.kinds) + ("cpu",) * any(k in KINDS for k in options.kinds):
            more = ("data.batch_size=16",) if hardware == "cpu2" else ()
            calm = Training(folder / f"calm_{hardware}", None, options.steps, f"hardware={hardware}", *more)
            calm.wait_for_end()
            assert calm.finished, (calm.folder / "output.txt").read_text()
            references[hardware] = calm.run
        for number, kind in enumerate(options.kinds):
            faults = options.faults // len(options.kinds) + (number < options.faults % len(options.kinds))
            console.print(f"{kind}: {faults} faults ...", highlight=False)
            if kind == SWEEP:
                rows[kind] = torture_sweep(faults, folder, server, options.steps // 4, options.seed)
            else:
                reference = references["cpu2" if kind == "kill msrun" else "cpu"]
                rows[kind] = torture(kind, faults, folder, server, options.steps, reference, options.seed)
    finally:
        server.kill()
        _show(console, rows)
        if all(row.well for row in rows.values()):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            console.print(f"files for inspection: {folder}")
    return 0 if all(row.well for row in rows.values()) else 1


def _show(console: Console, rows: dict[str, Row]) -> None:
    table = Table(title=f"{sum(row.tries for row in rows.values())} faults", title_justify="left")
    for name in ("fault", "tries", "survived", "runs", "same bits", "lost points", "doubled", "recovery s: median", "longest"):
        table.add_column(name, justify="left" if name == "fault" else "right")
    for kind, row in rows.items():
        times = [f"{value:.1f}" for value in (statistics.median(row.seconds), max(row.seconds))] if row.seconds else ["-", "-"]
        numbers = (row.tries, row.survived, row.runs, row.same_bits, row.lost, row.doubled)
        table.add_row(kind, *map(str, numbers), *times)
    console.print(table)
    for kind, row in rows.items():
        for problem in row.problems:
            console.print(f"{kind}: {problem}", highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main())
