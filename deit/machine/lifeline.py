"""End a process together with its parent, however that dies."""

from __future__ import annotations

import ctypes
import os

PR_SET_PDEATHSIG = 1  # linux/prctl.h
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def end_with_parent(signal_number: int, parent: int | None = None) -> None:
    """Let the kernel send this process a signal when its parent dies. Its own children do not inherit that.

    With ``parent``, its process id, the signal also comes if it has died before this call.
    """
    _prctl(PR_SET_PDEATHSIG, signal_number)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal_number)
