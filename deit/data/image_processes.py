"""The processes that make batches: a foreman, which imports and reads once, and its forks, which do the work.

    python -m deit.data.image_processes SOCKET MEMORY ROWS BATCH WORKERS PARENT

SOCKET, MEMORY and ROWS are inherited open files, BATCH is the rows of a batch, PARENT the process that started this one. The
other side is ``deit.data.process_prefetcher``. MindSpore is never imported here.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import pickle
import signal
import socket
import sys
import traceback

import cv2
import numpy as np

from deit.data.decode import decode_no_more_than_needed
from deit.data.rows import Arrays, Bad, Rows
from deit.data.shared_batch import DIED, LEFT, REPLY, TASK, SharedLayout, places_of
from deit.errors import UserError
from deit.machine.lifeline import end_with_parent

TRACED = 20  # calls of a traceback


def main(arguments: list[str]) -> int:
    connection, memory, recipe, batch, workers, parent = map(int, arguments)
    end_with_parent(signal.SIGKILL, parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the training decides when this ends
    faulthandler.register(signal.SIGUSR1)  # sent by the launcher if a run hangs
    with os.fdopen(recipe, "rb") as file:
        rows: Rows = pickle.load(file)
    with socket.socket(fileno=connection) as channel:
        cv2.setNumThreads(0)  # the processes are the parallelism
        decode_no_more_than_needed()
        gc.collect()
        gc.freeze()  # keeps pages shared with the forks
        foreman = os.getpid()
        for _ in range(workers):
            if os.fork() == 0:
                _work_and_exit(rows, channel, memory, batch, foreman)
        for _ in range(workers):
            process, status = os.wait()
            code = os.waitstatus_to_exitcode(status)
            if code:
                channel.send(REPLY.pack(DIED) + pickle.dumps((process, code)))
                return 1  # the others die with this process
    return 0


def _work_and_exit(rows: Rows, channel: socket.socket, memory: int, batch: int, foreman: int) -> None:
    code = 1
    try:
        end_with_parent(signal.SIGKILL, foreman)
        _work(rows, channel, memory, batch)
        code = 0
    except ConnectionError:  # the training has ended
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _work(rows: Rows, channel: socket.socket, memory: int, batch: int) -> None:
    """Write rows until the training closes the connection."""
    layout = SharedLayout(rows.layout(batch), batch)
    slots: dict[int, Arrays] = {}
    while task := channel.recv(TASK.size):
        number, epoch, start, stop = TASK.unpack(task)
        if number not in slots:
            slots[number] = layout.arrays(np.frombuffer(layout.map(memory, number), np.uint8))
        channel.send(REPLY.pack(number) + _write(rows, slots[number], epoch, range(start, stop)))


def _write(rows: Rows, arrays: Arrays, epoch: int, chunk: range) -> bytes:
    """The reply besides the slot: empty, the bad images, or an exception."""
    places = places_of(arrays, epoch)
    bad: list[Bad] = []
    try:
        for row in chunk:
            if arrays[LEFT][0]:
                break
            bad += rows.write(arrays, places, row)
    except Exception as error:
        if not isinstance(error, UserError):
            error.add_note(f"in an image process:\n{traceback.format_exc(limit=TRACED)}")
        try:
            pickled = pickle.dumps(error)
            pickle.loads(pickled)
            return pickled
        except Exception:  # an error that cannot be pickled
            return pickle.dumps(RuntimeError("".join(traceback.format_exception(error, limit=TRACED))))
    return pickle.dumps(bad) if bad else b""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
