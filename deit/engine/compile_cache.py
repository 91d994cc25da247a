"""Graphs that an earlier run has compiled, read instead of compiled again: ``hardware.compile_cache``.

MindSpore can keep the optimized graph of a cell in a file. It only numbers these files in the order of compilation, and checks
neither which cell a file belongs to nor how that was configured. So each process works in a folder of its own, and a graph is
kept under a digest of all that it depends on:

    compiled/DIGEST/files.json   {"PATH": SHA-256}, relative to MindSpore's folder, of the files beside it, named 0, 1, ...

The digest covers every attribute of the cell and of its parts, the shapes of parameters and inputs, the sources of this
program, the versions and the device. It leaves out the values of parameters, which MindSpore takes from the cell.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.dtype import Type

from deit.config.addresses import cache_folder
from deit.config.schema import HardwareConfig
from deit.engine import device
from deit.errors import UserError
from deit.files import read_json, sha256, whole_folder, write_json
from deit.installation import PACKAGE

_ENABLE, _PATH = "MS_COMPILER_CACHE_ENABLE", "MS_COMPILER_CACHE_PATH"
_DEPENDENCIES = "compile_dependency.hash"  # MindSpore's own, written with the first graph and read with each
_LIMIT = 256 << 20  # bytes of all graphs that are kept
_FORGOTTEN = 24 * 3600.0  # seconds after which a folder of work belongs to a process that was killed
_LEFT_OUT = {"arguments_key", "construct"}  # what a cell was called with; its own code, prepared by ms.jit


class CompileCache:
    """The compiled cells of one task on one rank.

    A folder that cannot be read or written costs only the time to compile.
    """

    _folder_is_set = False  # MindSpore asks for its folder once in a process

    def __init__(self, hardware: HardwareConfig, rank: int, world: int) -> None:
        self._waiting: list[Cached] = []  # in the order of their first call, which is MindSpore's number of them
        self._place = f"rank {rank} of {world}, {device.describe(hardware)}"
        self._kept: Path | None = None
        if not _is_wanted(hardware) or CompileCache._folder_is_set:
            return
        with contextlib.suppress(OSError, UserError):  # an unknown home folder is a UserError
            kept = cache_folder() / "compiled"
            kept.mkdir(parents=True, exist_ok=True)
            _tidy(kept)
            self._folder = tempfile.TemporaryDirectory(prefix=".work.", dir=kept)
            os.environ[_PATH] = self._folder.name
            self._kept, CompileCache._folder_is_set = kept, True

    def cached(self, cell: nn.Cell) -> Cached:
        """``cell``, whose first call comes after those of the cells before; otherwise it is compiled as without the cache."""
        self._waiting.append(Cached(self, cell))
        return self._waiting[-1]

    def compile(self, cached: Cached, *inputs: Any) -> Any:
        """The first call of a cell."""
        if self._kept is None or not self._waiting or cached is not self._waiting[0]:
            return cached.cell(*inputs)
        self._waiting.pop(0)
        try:
            description = f"{_program()}\n{self._place}\n{_description(cached.cell)}\n{_signature(inputs)}"
        except _Unknown:
            return cached.cell(*inputs)
        digest = hashlib.sha256(description.encode()).hexdigest()[:32]
        with _files_of(self._kept / digest, Path(self._folder.name)), _enabled():
            answer = cached.cell(*inputs)
        if not self._waiting:
            self._folder.cleanup()
        return answer


class Cached:
    """A cell of a ``CompileCache``, with its attributes."""

    def __init__(self, cache: CompileCache, cell: Any) -> None:
        self.cell, self._cache, self._called = cell, cache, False

    def __call__(self, *inputs: Any) -> Any:
        if self._called:
            return self.cell(*inputs)
        self._called = True
        return self._cache.compile(self, *inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cell, name)


def _is_wanted(hardware: HardwareConfig) -> bool:
    wanted = hardware.target == "cpu" if hardware.compile_cache is None else hardware.compile_cache
    # A user who sets the variable has another folder. MindSpore reads the script of the process, which `python -c` lacks.
    return hardware.jit and wanted and _ENABLE not in os.environ and Path(sys.argv[0]).is_file()


@contextmanager
def _files_of(folder: Path, work: Path) -> Iterator[None]:
    """Give MindSpore the files of a kept graph for the time of the block, or keep those that it writes."""
    found = False
    with contextlib.suppress(OSError):
        found = _read(folder, work)
    before = _files(work)
    yield
    if not found:
        new = [path for path in _files(work) if path not in before or path.name == _DEPENDENCIES]
        with contextlib.suppress(OSError):
            _write(folder, work, new)


@contextmanager
def _enabled() -> Iterator[None]:
    os.environ[_ENABLE] = "1"
    try:
        yield
    finally:
        del os.environ[_ENABLE]


@functools.cache
def _program() -> str:
    """The sources of this program and the versions that make graphs of them."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGE)}\0".encode() + path.read_bytes() + b"\0")
    developer = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith(("MS_DEV_", "MS_ENABLE_")))
    return f"{digest.hexdigest()} {ms.__version__} {platform.python_version()} {platform.machine()} {developer}"


class _Unknown(Exception):
    """An attribute whose content cannot be read."""


def _description(cell: nn.Cell) -> str:
    """A line for each attribute of a cell and its parts that a graph may depend on."""
    lines = []
    for name, part in cell.cells_and_names():
        lines.append(f"{name}: {type(part).__module__}.{type(part).__qualname__}")
        lines += [_plain(parameter) for parameter in part.parameters_dict(recurse=False).values()]
        for key, value in sorted(vars(part).items()):
            if not key.startswith("_") and key not in _LEFT_OUT:
                lines.append(f"{name}.{key}: {_plain(value)}")
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if isinstance(value, Parameter):
        return f"{value.name} {value.shape} {value.dtype} {value.requires_grad}"
    if isinstance(value, Tensor):
        value = value.asnumpy()
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_plain(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_plain(entry) for entry in value) + "]"
    if value is None or isinstance(value, (bool, int, float, str, ops.Primitive, Type)):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, FunctionType) and value.__module__.startswith("mindspore."):
        return value.__qualname__  # a gradient of parts that are attributes themselves
    if type(value).__module__.startswith("mindspore.ops.composite."):
        return type(value).__qualname__
    raise _Unknown  # such as the graph of a MINDIR


def _signature(inputs: Sequence[Any]) -> str:
    def of(value: Any) -> str:
        if isinstance(value, (list, tuple)):
            return "[" + ", ".join(of(entry) for entry in value) + "]"
        return f"{value.shape} {value.dtype}" if isinstance(value, Tensor) else repr(value)

    return of(list(inputs))


def _files(work: Path) -> list[Path]:
    return sorted(path for path in work.rglob("*") if path.is_file())


def _read(folder: Path, work: Path) -> bool:
    """Copy a kept graph into MindSpore's folder; returns whether there is one, undamaged."""
    files = read_json(folder / "files.json")
    if files is None:
        return False
    if any(sha256(folder / str(number)) != digest for number, digest in enumerate(files.values())):
        shutil.rmtree(folder)
        return False
    for number, name in enumerate(files):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        if not (work / name).exists():
            shutil.copyfile(folder / str(number), work / name)
    os.utime(folder)
    return True


def _write(folder: Path, work: Path, files: Sequence[Path]) -> None:
    with whole_folder(folder) as kept:
        for number, path in enumerate(files):
            shutil.copyfile(path, kept / str(number))
        write_json(kept / "files.json", {str(path.relative_to(work)): sha256(path) for path in files})


def _tidy(kept: Path) -> None:
    """Delete the folders that killed processes left, and above the limit the graphs that were not used for longest."""
    found = []
    for folder in kept.iterdir():
        with contextlib.suppress(OSError):  # another process deletes it, too
            used = folder.stat().st_mtime
            if not folder.name.startswith("."):
                found.append((used, sum(path.stat().st_size for path in folder.iterdir()), folder))
            elif time.time() - used > _FORGOTTEN:
                shutil.rmtree(folder, ignore_errors=True)
    total = 0
    for _, size, folder in sorted(found, reverse=True):
        total += size
        if total > _LIMIT:
            shutil.rmtree(folder, ignore_errors=True)
