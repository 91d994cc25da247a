"""What a model uses in somebody's process, and leaves as it was: the environment, and MindSpore's mode.

MindSpore has one device and one mode in a process. The device is set once, by the first model; the mode is that of compiled
graphs only while a model computes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deit.config.schema import HardwareConfig

_QUIET = ("GLOG_v", "3")  # errors only; MindSpore reads it when it is imported
_TARGETS = {"cpu": "CPU", "ascend": "Ascend", "gpu": "GPU"}


def mindspore() -> Any:
    """The module, without its warnings at the import. The environment is left as it was."""
    if "mindspore" not in sys.modules:
        with environment_kept():
            os.environ.setdefault(*_QUIET)
            import mindspore  # noqa: F401  # for what it does
    return sys.modules["mindspore"]


@contextmanager
def graphs(hardware: HardwareConfig) -> Iterator[None]:
    """Compute with compiled graphs on the device of ``hardware``; its mode is as before afterwards."""
    ms = mindspore()
    target, before = _TARGETS[hardware.target], ms.get_context("mode")
    with environment_kept():
        try:
            ms.set_device(target)
        except RuntimeError:  # this process has computed without setting a device
            if ms.get_context("device_target") != target:
                raise
        ms.set_context(mode=ms.GRAPH_MODE if hardware.jit else ms.PYNATIVE_MODE)
        try:
            yield
        finally:
            ms.set_context(mode=before)


@contextmanager
def environment_kept() -> Iterator[None]:
    """Importing MindSpore or OpenCV leaves variables in the environment, which other programs would then get."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
