"""Processes, their logs, and the record of the machine."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
from composition import composed

from deit.machine import environment, processes
from deit.machine.logs import log_to


def test_companion_process_has_its_own_session_and_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import os; print(os.getcwd(), os.environ['X'], os.getsid(0) == os.getpid())"
    for _ in range(2):  # appended
        assert processes.start([sys.executable, "-c", code], {"X": "1"}, log, death_signal=None, folder=tmp_path).wait() == 0
    assert log.read_text() == 2 * f"{tmp_path} 1 True\n" and processes.tail(log, 1) == f"{tmp_path} 1 True"


def test_companion_ends_with_its_parent_and_shielded_ones_ignore_sigterm(tmp_path: Path) -> None:
    code = """
import os, signal, sys, time
from pathlib import Path
from deit.machine import processes
log = Path(sys.argv[1])
child = "import signal, time; print(signal.getsignal(signal.SIGTERM) == signal.SIG_IGN, flush=True); time.sleep(600)"
started = processes.start([sys.executable, "-c", child], os.environ, log, death_signal=signal.SIGKILL, shielded=True)
while not log.read_text(): time.sleep(0.05)
print(started.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "log")], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL and (tmp_path / "log").read_text() == "True\n"
    while processes.find(int(ended.stdout), time.time()) is not None:
        time.sleep(0.05)


def test_reused_process_id_is_detected() -> None:
    now = time.time()
    assert processes.find(os.getpid(), now) is not None and processes.find(None, now) is None
    assert processes.find(os.getpid(), 1.0) is None  # this process began later: the number belonged to another one
    gone = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, gone.pid, os.WEXITED | os.WNOWAIT)
    assert processes.find(gone.pid, now) is None  # a zombie
    gone.wait()
    assert processes.find(gone.pid, now) is None


def test_the_end_of_a_log(tmp_path: Path) -> None:
    assert processes.tail(tmp_path / "none") == ""
    (tmp_path / "log").write_bytes(b"\xff broken\n" + b"".join(b"%d\n" % number for number in range(9000)))
    assert processes.tail(tmp_path / "log", 2) == "8998\n8999"


def test_a_log_has_no_credentials() -> None:
    stream = StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        log_to(stream, form="%(message)s")
        logging.getLogger("x").info("sent to https://user:secret@host/mlflow")
        logging.getLogger("x").debug("not this")
    finally:
        root.handlers[:], root.level = before
    assert "secret" not in stream.getvalue() and "@host/mlflow" in stream.getvalue() and "not this" not in stream.getvalue()


def test_environment_record_of_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["launch.py", "tracking.uri=https://user:secret@host"])
    found = environment.describe(composed("experiment=quickstart"), [3])
    assert found["command"][:2] == ["python", "launch.py"] and "secret" not in str(found)
    assert (found["target"], found["cards"], found["nodes"], found["card_ids"]) == ("cpu", 1, 1, [3]) and "npu" not in found
    assert found["versions"]["python"] == sys.version.split()[0] and found["versions"]["numpy"][:2] == "1."


def test_git_state_of_a_checkout_and_of_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.git_state() == {"commit": None, "dirty": None}
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    (tmp_path / "file").write_text("a")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    state = environment.git_state()
    assert len(state["commit"]) == 40 and state["dirty"] is False
    (tmp_path / "untracked").write_text("")
    assert environment.git_state()["dirty"] is False
    (tmp_path / "file").write_text("b")
    assert environment.git_state()["dirty"] is True
