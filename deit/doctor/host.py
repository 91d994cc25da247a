"""Disks, memory, CPU cores, MLflow and the terminal of this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import locale
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

from deit.config.addresses import is_remote, runs_copy
from deit.config.schema import RunConfig
from deit.data.workers import processors, workers_of
from deit.doctor.finding import Finding, fail, ok, warn
from deit.errors import UserError
from deit.machine import locks
from deit.machine.cards import cores
from deit.preflight.disk_space import check_space
from deit.preflight.tracking_store import look
from deit.secrets import redact
from deit.text import byte_size
from deit.tracking import uri as store

BLOCK = 8 << 20  # bytes
WRITTEN = 64 << 20  # bytes; enough to see a slow disk
LONGEST = 3.0  # seconds of writing
SLOW = 50e6  # bytes per second: a checkpoint of DeiT-base with EMA (1.4 GB) then takes half a minute
LITTLE = 4e9  # bytes of free memory: importing MindSpore and compiling a small network take about 2 GB
_KNOWN_LATER = 1000  # assumed number of classes, because the data are not read


def runs_dir(config: RunConfig) -> Finding:
    """Whether runs can be written and locked, whether their checkpoints fit, and the writing speed."""
    folder = Path(runs_copy(config.runs_dir)).absolute()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    name = str(folder) if not is_remote(config.runs_dir) else f"{folder}, the local copy of {config.runs_dir}"
    if not there.is_dir():
        return fail("runs_dir", f"{name}: {there} is a file", "give runs_dir=FOLDER")
    try:
        speed = _write_speed(there)
        locks.check(folder)
    except OSError as error:
        return fail("runs_dir", f"{name} cannot be written: {error.strerror}", "give runs_dir=FOLDER that you may write")
    except UserError as error:
        return fail("runs_dir", str(error), "give runs_dir=FOLDER on a disk of this machine")
    free = psutil.disk_usage(str(there)).free
    text = f"{name}: {byte_size(free)} free, writes {byte_size(int(speed))}/s"
    try:
        data = dataclasses.replace(config.data, num_classes=config.data.num_classes or _KNOWN_LATER)
        check_space(dataclasses.replace(config, data=data))
    except UserError as error:
        return fail("runs_dir", text, str(error))
    if speed < SLOW:
        return warn("runs_dir", text, "a slow disk delays checkpoints, not the training; give runs_dir=FOLDER on a faster one")
    return ok("runs_dir", text)


def _write_speed(folder: Path) -> float:
    """Bytes per second that reach the disk of ``folder``; the file has no name and is gone afterwards."""
    block, written = os.urandom(BLOCK), 0
    began = time.monotonic()
    with tempfile.TemporaryFile(dir=folder) as file:
        while written < WRITTEN and time.monotonic() - began < LONGEST:
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
            written += BLOCK
    return written / max(time.monotonic() - began, 1e-6)


def shared_memory() -> Finding:
    """/dev/shm, which HCCL and other programs use; this program shares anonymous memory instead."""
    try:
        usage = psutil.disk_usage("/dev/shm")
    except OSError:
        return warn("/dev/shm", "not there; HCCL needs it", "mount it (in a container: --shm-size=8g)")
    text = f"{byte_size(usage.free)} free; data.workers need none of it"
    if usage.total < 1e9:
        return warn("/dev/shm", text, "HCCL may need more: start the container with --shm-size=8g")
    return ok("/dev/shm", text)


def processor_cores(config: RunConfig) -> Finding:
    """CPU cores, and the resulting ``data.workers``."""
    workers = workers_of(config.data, config.hardware.cards)
    allowed = processors()
    limited = f" of {os.cpu_count()} (affinity or a container's quota)" if allowed < (os.cpu_count() or 1) else ""
    each = "" if config.hardware.cards == 1 else f" for each of {config.hardware.cards} cards"
    text = f"{allowed}{limited}; data.workers is {workers}{each}"
    if config.hardware.target != "cpu" and workers < 4:
        return warn("CPU cores", text, "a card may wait for its images; give the job more cores (docs/performance.md)")
    if config.hardware.target == "cpu" and config.hardware.cards > cores():
        return fail("CPU cores", text, f"give hardware.cards={cores()} or fewer")
    return ok("CPU cores", text)


def memory() -> Finding:
    """Free memory, within the limit of a container's control group."""
    found = psutil.virtual_memory()
    available, total = found.available, found.total
    limit = Path("/sys/fs/cgroup/memory.max")
    with contextlib.suppress(OSError, ValueError):  # "max" if there is no limit
        total = min(total, int(limit.read_text()))
        available = min(available, total - int(limit.with_name("memory.current").read_text()))
    text = f"{byte_size(available)} of {byte_size(total)} free"
    if available < LITTLE:
        return warn("memory", text, "a training may be killed by the system; end other programs, or give the container more")
    return ok("memory", text)


def tracking(config: RunConfig) -> Finding:
    """Whether MLflow's store can be reached and written."""
    if config.tracking.backend == "none" or config.tracking.uri is None:
        return ok("MLflow", "off (tracking=none)")
    try:
        store.check_uri(config.tracking.uri)
        line = look(config.tracking)
    except UserError as error:
        return fail("MLflow", str(error), "give another tracking.uri, or tracking=none")
    shown = redact(config.tracking.uri)
    if line is not None:
        return warn("MLflow", line.removeprefix("MLflow: "), "start the server, or give another tracking.uri")
    file = store.sqlite_file(config.tracking.uri)
    if file is None:
        reached = config.tracking.uri.startswith("http")
        return ok("MLflow", f"{shown} answers" if reached else f"{shown}; a database server is not asked")
    return ok("MLflow", f"{shown}, {'writable' if file.exists() else 'a new file'} ({file})")


def terminal() -> Finding:
    """Encoding and kind of the terminal."""
    stream = sys.__stdout__  # sys.stdout may belong to a display
    encoding = stream.encoding.upper() if stream is not None else "none"
    kind = "a terminal" if stream is not None and stream.isatty() else "no terminal"
    shown = f"{kind}, encoding {encoding}, locale {locale.setlocale(locale.LC_CTYPE, None)}"
    if encoding.replace("-", "") != "UTF8":
        return warn("terminal", shown, "export PYTHONUTF8=1 or LC_ALL=C.UTF-8, so that names and tables show as they are")
    return ok("terminal", shown)
