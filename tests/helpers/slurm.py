"""A real Slurm on this machine for the tests: controller, two nodes of eight pretended NPUs each, and munge.

Everything is in one folder, with its own ports, and ends with the fixture. It has no sacct, as many clusters have none.
The second node lives in a network namespace, so that it has an address of its own, as another machine would; where that
cannot be made there is one node. It needs root and Debian's packages ``slurm-wlm`` and ``munge``, which .ci/run installs.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

TEMPLATES = Path(__file__).parent / "slurm_templates"
TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
DAEMONS = "/usr/sbin"  # may be missing in PATH


class Slurm:
    """Commands for the Slurm that was started; ``environment`` leads processes to it."""

    def __init__(self, root: Path, nodes: int) -> None:
        self.root, self.nodes = root, nodes
        self.environment = os.environ | {"SLURM_CONF": str(root / "slurm.conf"), "PATH": _path()}

    def run(self, *command: str) -> str:
        """The output of a command such as ``scontrol``; CalledProcessError if it fails."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=True, stdin=subprocess.DEVNULL
        ).stdout

    def times(self, job: str) -> tuple[str, str]:
        """When a job has begun and ended, as texts that sort."""
        shown = self.run("scontrol", "show", "job", job)
        began, ended = (re.search(rf"\b{name}=(\S+)", shown) for name in ("StartTime", "EndTime"))
        assert began and ended, shown
        return began[1], ended[1]

    def jobs(self) -> dict[str, str]:
        """The state of every job that has not ended, by its number."""
        lines = self.run("squeue", "--noheader", "--format=%i %T").splitlines()
        return {number: state for number, state in map(str.split, lines)}


@contextmanager
def running(root: Path) -> Iterator[Slurm]:
    """Start a Slurm in ``root`` and end it, and all that runs in it, afterwards; skips the test if that is not possible."""
    missing = [tool for tool in TOOLS if shutil.which(tool, path=_path()) is None]
    if missing:
        pytest.skip(f"no Slurm here, {missing[0]} is missing: apt-get install --no-install-recommends slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("a Slurm of one's own needs root")
    with ExitStack() as stack:
        space = stack.enter_context(_namespace())
        _configure(root, space)
        slurm = Slurm(root, 1 if space is None else 2)
        stack.callback(_end_jobs, slurm)
        stack.enter_context(
            _daemon(slurm, "munged", "--foreground", "--force", *_munge_files(root / "munge"))  # Slurm's signatures
        )
        _wait_for((root / "munge" / "socket").exists, root)
        stack.enter_context(_daemon(slurm, "slurmctld", "-D", "-c"))
        stack.enter_context(_daemon(slurm, "slurmd", "-D", "-N", "n1"))
        if space is not None:
            stack.enter_context(_daemon(slurm, "nsenter", f"--net=/run/netns/{space.name}", "slurmd", "-D", "-N", "n2"))
        _wait_for(lambda: _idle(slurm) == slurm.nodes, root)
        yield slurm


class _Namespace:
    """A network namespace with one cable to this machine."""

    def __init__(self) -> None:
        self.name = f"deit{secrets.token_hex(3)}"
        # Out of the block that is set aside for tests of networks (RFC 2544).
        net = f"198.18.{secrets.randbelow(256)}"
        self.here, self.there = f"{net}.1", f"{net}.2"


@contextmanager
def _namespace() -> Iterator[_Namespace | None]:
    space = _Namespace()
    name, inside = space.name, ["netns", "exec", space.name, "ip"]
    try:
        for command in (
            ["netns", "add", name],
            ["link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name],
            ["addr", "add", f"{space.here}/30", "dev", name],
            ["link", "set", name, "up"],
            [*inside, "addr", "add", f"{space.there}/30", "dev", "eth0"],
            [*inside, "link", "set", "eth0", "up"],
            [*inside, "link", "set", "lo", "up"],
        ):
            subprocess.run(["ip", *command], check=True, capture_output=True, env=os.environ | {"PATH": _path()})
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        yield space
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, env=os.environ | {"PATH": _path()})


def _configure(root: Path, space: _Namespace | None) -> None:
    for folder in ("state", "spool/n1", "spool/n2", "log", "dev", "munge"):
        (root / folder).mkdir(parents=True)
    for number in range(8):
        (root / "dev" / f"davinci{number}").touch()
    key = root / "munge" / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    words = {"ROOT": str(root)}
    words["ADDRESS1"] = space.here if space else "127.0.0.1"
    words["ADDRESS2"] = space.there if space else "127.0.0.1"
    words |= zip(("PORT", "PORT1", "PORT2"), map(str, _free_ports(3)), strict=True)
    for template in TEMPLATES.glob("*.in"):
        text = template.read_text()
        for word, value in words.items():
            text = text.replace(f"@{word}@", value)
        (root / template.stem).write_text(text)


def _free_ports(count: int) -> list[int]:
    """Ports below those that Linux gives out by itself, and may have given out again before the daemons listen."""
    found: list[int] = []
    while len(found) < count:
        port = 10_000 + secrets.randbelow(10_000)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def _munge_files(folder: Path) -> list[str]:
    names = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    return [f"--{option}={folder / name}" for option, name in names.items()]


@contextmanager
def _daemon(slurm: Slurm, *command: str) -> Iterator[None]:
    # A session of its own: a Ctrl-C meant for pytest must not end it before the tests have.
    with open(slurm.root / "log" / "daemons.out", "ab") as output:
        daemon = subprocess.Popen(
            command, env=slurm.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield
    finally:
        daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _end_jobs(slurm: Slurm) -> None:
    """End what jobs have left: every process that was led to this Slurm."""
    marker = f"SLURM_CONF={slurm.root / 'slurm.conf'}".encode()
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and marker in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"):
                process.kill()
        except (OSError, psutil.NoSuchProcess):  # gone meanwhile
            continue


def _idle(slurm: Slurm) -> int:
    try:
        return slurm.run("sinfo", "--noheader", "--Node", "--partition=two", "--states=idle", "--format=%N").count("n")
    except subprocess.SubprocessError:  # the controller is not there yet
        return 0


def _wait_for(ready: Callable[[], bool], root: Path, timeout: float = 60) -> None:
    end = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > end:
            logs = "\n".join(f"{log.name}:\n{log.read_text()[-2000:]}" for log in sorted((root / "log").iterdir()))
            pytest.fail(f"Slurm did not start within {timeout} s\n{logs}")
        time.sleep(0.1)


def _path() -> str:
    return f"{os.environ['PATH']}{os.pathsep}{DAEMONS}"
