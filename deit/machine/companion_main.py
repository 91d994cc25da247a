"""Common code of the processes next to a run or a sweep, shipper and uploader: ``python -m MODULE FOLDER``.

The launcher starts and ends them (``deit.machine.companion``).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

from deit.errors import UserError
from deit.machine.logs import log_to


class Beside(Protocol):
    """Works for one folder until its run has ended, or until ``stop``."""

    def serve(self) -> None: ...

    def stop(self, *_: Any) -> None: ...


def serve(module: str, make: Callable[[str], Beside], arguments: list[str]) -> int:
    """Create a companion for the folder in ``arguments`` and run it, with its log on stdout; returns the exit code."""
    log_to(sys.stdout)
    for name in ("botocore", "aiobotocore"):
        logging.getLogger(name).setLevel(logging.WARNING)  # it logs where it found its keys each time
    if len(arguments) != 1:
        print(f"usage: python -m {module} FOLDER", file=sys.stderr)
        return 2
    try:
        process = make(arguments[0])
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if signal.getsignal(signal.SIGTERM) != signal.SIG_IGN:  # ignored on purpose: the launcher ends the process with SIGINT
        signal.signal(signal.SIGTERM, process.stop)
    signal.signal(signal.SIGINT, process.stop)
    process.serve()
    return 0


def end_within(seconds: float) -> None:
    """End this process after so many seconds, even if it is blocked in a call."""
    deadline = threading.Timer(seconds, os._exit, [0])
    deadline.daemon = True
    deadline.start()
