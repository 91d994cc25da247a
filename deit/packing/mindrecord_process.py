"""MindRecord shards are written by processes with MindSpore, which the control side does not import."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deit.data.shard import Source, Written
from deit.errors import UserError
from deit.machine.processes import tail
from deit.machine.python import python_environment
from deit.text import ended_text


class Stopped(Exception):
    """Another shard has failed, or the user has stopped it."""


class MindRecordProcess:
    """A process that writes MindRecord shards, started for the first one."""

    def __init__(self, log: Path, lock: int) -> None:
        self.log, self.lock = log, lock
        self.process: subprocess.Popen[str] | None = None
        self.closed = False

    def __call__(self, path: Path, sources: Sequence[Source], advance: Callable[[int], Any]) -> Written:
        """As ``write_tar``; every error is a UserError with exit code 1."""
        process = self.process or self._start()
        assert process.stdin is not None and process.stdout is not None
        job = {"path": str(path), "sources": [dataclasses.astuple(source) for source in sources]}
        with contextlib.suppress(BrokenPipeError):  # it has exited; its output is read below
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
        for line in process.stdout:
            answer = json.loads(line)
            if "error" in answer:
                raise UserError(answer["error"], exit_code=1)
            if "offsets" in answer:
                return Written(**answer)
            advance(answer["images"])
        if self.closed:
            raise Stopped
        code = process.wait()
        said = tail(self.log)
        raise UserError(f"{path}: the process that writes it {ended_text(code)}." + (said and f"\n{said}"), exit_code=1)

    def _start(self) -> subprocess.Popen[str]:
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deit.data.mindrecord_shard"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={"GLOG_v": "3", **python_environment()},
                pass_fds=[self.lock],  # it keeps the lock while it lives
                start_new_session=True,  # Ctrl-C is for the launcher
            )
        return self.process

    def close(self) -> None:
        self.closed = True
        if self.process is not None:
            self.process.kill()
            self.process.wait()
