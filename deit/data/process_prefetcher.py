"""The training's side of image processes: starts them, sends tasks, takes batches from shared memory.

    this process ── socket ──> foreman ── fork ──> image processes, which share the socket and the memory

The memory is an anonymous file (memfd): it has no name in /dev/shm, so nothing is left there, and no container limit. A batch's
arrays are views of a slot of it, which is free when the last of them is gone: nothing is copied, and nothing in use is
overwritten. If no slot is free, one is added.

The kernel ends the foreman with the thread that started it, and the image processes with the foreman.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deit.data.prefetch import AHEAD, CHUNK, Made, Prefetcher
from deit.data.rows import Arrays, Bad, Places, Rows
from deit.data.shared_batch import DIED, LARGEST, LEFT, ORDER, REPLY, TASK, SharedLayout
from deit.errors import UserError
from deit.machine.python import python_environment
from deit.text import ended_text

CHUNKS = 50  # maximum messages per batch: those of AHEAD + 1 batches fit into the socket
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",  # no matrix products here
    # Keep the memory of a decoded image for the next one: allocating it again costs 3 % of an image's time.
    **{"MALLOC_TRIM_THRESHOLD_": str(1 << 26), "MALLOC_MMAP_THRESHOLD_": str(1 << 26)},
}
SHIELDED = (signal.SIGINT, signal.SIGTERM)  # sent to the whole process group, but the training decides


@dataclass
class _Slot:
    """A batch in preparation."""

    arrays: Arrays
    unwritten: int  # chunks
    bad: list[Bad] = field(default_factory=list)
    error: BaseException | None = None
    left: bool = False  # no longer needed


class Processes(Prefetcher):
    """``workers`` processes, started at once; they end with this object. Create it in a thread that lives as long."""

    def __init__(self, rows: Rows, batch: int, workers: int) -> None:
        super().__init__(rows, batch)
        self.workers = workers
        self._layout = SharedLayout(rows.layout(batch), batch)
        self._memory = os.memfd_create("batches", os.MFD_CLOEXEC)
        self._slots = 0
        self._free: deque[int] = deque()
        self._making: dict[int, _Slot] = {}
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, os.fdopen(os.memfd_create("rows"), "w+b") as recipe:
            pickle.dump(rows, recipe, pickle.HIGHEST_PROTOCOL)
            recipe.flush()
            recipe.seek(0)
            given = (theirs.fileno(), self._memory, recipe.fileno())
            self._foreman = _start([*map(str, (*given, batch, workers, os.getpid()))], given)
        self._end = weakref.finalize(self, _end, self._foreman, self._socket, self._memory)

    def batches(self, wanted: Iterable[Places]) -> Generator[Made, None, None]:
        mine: deque[tuple[int, _Slot]] = deque()
        try:
            for places in wanted:
                mine.append(self._begin(places))
                if len(mine) > AHEAD:
                    yield self._finished(*mine.popleft())
            while mine:
                yield self._finished(*mine.popleft())
        finally:
            for number, slot in mine:
                slot.left, slot.arrays[LEFT][0] = True, 1
                if slot.unwritten == 0:
                    self._making.pop(number, None)

    def _begin(self, places: Places) -> tuple[int, _Slot]:
        self._receive(wait=False)  # abandoned slots may be free now
        number, arrays = self._take()
        arrays[ORDER][0], arrays[ORDER][1], arrays[LEFT][0] = places.indices, places.repetitions, 0
        size = max(CHUNK, -(-self.batch // CHUNKS))
        starts = range(0, self.batch, size)
        slot = self._making[number] = _Slot(arrays, len(starts))
        for start in starts:
            self._send(TASK.pack(number, places.epoch, start, min(start + size, self.batch)))
        return number, slot

    def _take(self) -> tuple[int, Arrays]:
        """A free slot and its arrays."""
        if self._free:
            number = self._free.popleft()
        else:
            number = self._slots
            self._slots += 1
            os.ftruncate(self._memory, self._slots * self._layout.bytes)
        values = np.frombuffer(self._layout.map(self._memory, number), np.uint8)
        # All views of the slot keep this object alive.
        weakref.finalize(values.base, self._free.append, number).atexit = False
        return number, self._layout.arrays(values)

    def _finished(self, number: int, slot: _Slot) -> Made:
        while slot.unwritten and slot.error is None:
            self._receive(wait=True)
        if slot.unwritten == 0:
            self._making.pop(number, None)
        else:
            slot.left, slot.arrays[LEFT][0] = True, 1
        if slot.error is not None:
            raise slot.error
        return {name: array for name, array in slot.arrays.items() if name not in (ORDER, LEFT)}, slot.bad

    def _send(self, task: bytes) -> None:
        while True:
            try:
                self._socket.send(task, socket.MSG_DONTWAIT)
                return
            except BlockingIOError:
                select.select([self._socket], [self._socket], [])
                self._receive(wait=False)
            except OSError:  # the other side has ended
                self._receive(wait=True)

    def _receive(self, wait: bool) -> None:
        """Process all pending replies, waiting for at least one if ``wait``. Raises UserError if a process has died."""
        while True:
            try:
                answer = self._socket.recv(LARGEST, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionResetError:
                answer = b""
            wait = False
            if not answer:
                raise self._ended(self._foreman.pid, self._foreman.wait())
            (number,) = REPLY.unpack_from(answer)
            content: Any = pickle.loads(answer[REPLY.size :]) if len(answer) > REPLY.size else []
            if number == DIED:
                raise self._ended(*content)
            slot = self._making[number]
            slot.unwritten -= 1
            if isinstance(content, BaseException):
                slot.error = slot.error or content
            else:
                slot.bad += content
            if slot.left and slot.unwritten == 0:
                del self._making[number]

    def _ended(self, process: int, code: int) -> UserError:
        """``code`` is an exit code, or minus the number of a signal."""
        memory = "; if the machine or its container ran out of memory, lower data.workers" if code == -signal.SIGKILL else ""
        return UserError(
            f"a process that reads images ({process}, one of data.workers={self.workers}) {ended_text(code)}{memory}.",
            exit_code=1,
        )


def _start(arguments: list[str], given: tuple[int, ...]) -> subprocess.Popen[bytes]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SHIELDED)  # inherited, until the foreman ignores them
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "deit.data.image_processes", *arguments],
            env=python_environment() | ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            pass_fds=given,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(foreman: subprocess.Popen[bytes], connection: socket.socket, memory: int) -> None:
    foreman.kill()  # the others end with it
    foreman.wait()
    connection.close()
    os.close(memory)
