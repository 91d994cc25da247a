"""Networks in MindSpore's file formats: MINDIR writing and reading, with its input and output; AIR writing."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
from google.protobuf.message import DecodeError
from mindspore import Tensor, nn
from mindspore.train.mind_ir_pb2 import ModelProto, TensorProto

from deit.errors import UserError

# Operators that load libraries, run Python or write files: no network needs them, and a file may come from anybody.
REFUSED = {
    *("Custom", "PyFunc", "PyExecute", "PyInterpret", "PythonOp"),
    *("TensorDump", "ImageSummary", "TensorSummary", "ScalarSummary", "HistogramSummary"),
}

_PLAIN = re.compile(r"[0-9a-zA-Z@_.:/-]+")  # paths that MindSpore's own check accepts


def save_network(cell: nn.Cell, path: Path, shape: Sequence[int | None], dtype: Any) -> None:
    """Write ``cell`` with its parameters as ``path``, whose suffix (.mindir, .air) is the format.

    It takes one input of this shape, None for an axis of any size (MINDIR only), with this MindSpore type. Raises OSError if
    it cannot be written.
    """
    with _plain_folder(path.parent) as folder:
        file = folder / f"network{path.suffix}"
        # MindSpore appends a missing suffix, and makes the file readable only for its owner.
        ms.export(cell, Tensor(shape=list(shape), dtype=dtype), file_name=str(file), file_format=path.suffix[1:].upper())
        file.chmod(0o644)
        shutil.move(file, path)


@contextmanager
def _plain_folder(wanted: Path) -> Iterator[Path]:
    """A new folder whose path ``ms.export`` accepts: without blanks, ``#``, brackets or letters beyond ASCII.

    It is in ``wanted`` if possible, so that the file can be moved without copying.
    """
    for place in (wanted.absolute(), Path(tempfile.gettempdir()).absolute(), Path("/tmp"), Path("/var/tmp")):
        if _PLAIN.fullmatch(str(place)) and place.is_dir() and os.access(place, os.W_OK):
            break
    else:
        raise OSError(errno.ENOENT, "MindSpore needs a folder with a plain name for its export; set TMPDIR to one")
    with tempfile.TemporaryDirectory(prefix=".mindir.", dir=place) as folder:
        yield Path(folder)


@dataclass(frozen=True)
class Mindir:
    """``batch`` is None if the network takes any number of images."""

    network: nn.Cell
    batch: int | None
    num_classes: int


def load_mindir(path: Path, size: tuple[int, int], source: str, channels: int = 3) -> Mindir:
    """Load a network from images float32 [B, ``channels``, *``size``] to logits [B, K], or to a pair of them.

    A loaded graph runs as its own cell or within another, but not in a graph with gradients: MindSpore 2.10 fails there.
    Raises UserError, naming ``source``, if the file is damaged or has another interface.
    """
    proto = _parsed(path, source)
    inputs = [tensor for value in proto.graph.input for tensor in value.tensor]
    # A single output is stored as a tensor, a pair as an attribute.
    outputs = [tuple(tensor.dims) for value in proto.graph.output for tensor in value.tensor]
    outputs += [tuple(t.dims) for value in proto.graph.output for item in value.attr_info.values for t in item.tensors]
    found = ", ".join(f"{TensorProto.DataType.Name(tensor.data_type)} {list(tensor.dims)}" for tensor in inputs)
    shape = tuple(inputs[0].dims) if len(inputs) == 1 and inputs[0].data_type == TensorProto.FLOAT else ()
    wanted = (channels, *size)
    if len(shape) != 4 or any(size not in (-1, needed) for size, needed in zip(shape[1:], wanted, strict=True)):
        raise UserError(
            f"{source}: {path} takes {found or 'nothing'}, expected are images FLOAT [B, {channels}, {size[0]}, {size[1]}]."
        )
    if len(outputs) not in (1, 2) or any(len(dims) != 2 or dims[1] != outputs[0][1] or dims[1] < 1 for dims in outputs):
        listed = ", ".join(str(list(dims)) for dims in outputs)
        raise UserError(f"{source}: {path} returns {listed or 'nothing'}, expected are logits [B, classes], or a pair of them.")
    return Mindir(_cell(path, source), shape[0] if shape[0] > 0 else None, outputs[0][1])


def load_graph(path: Path, source: str) -> nn.Cell:
    """The network of a file with a known interface. Raises UserError, naming ``source``, as ``load_mindir`` does."""
    _parsed(path, source)
    return _cell(path, source)


def _parsed(path: Path, source: str) -> ModelProto:
    """The content of a file, after checking its operators."""
    proto = ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except (DecodeError, OSError) as error:
        raise UserError(f"{source}: {path} is damaged or not a MINDIR ({error}).") from None
    nodes = [node.op_type for graph in (proto.graph, *proto.functions) for node in graph.node]
    refused = sorted({name for name in nodes if re.split(r"\W+", name)[-1] in REFUSED})
    if refused:
        raise UserError(f"{source}: {path} uses {', '.join(refused)}, which could run or write anything; nothing was executed.")
    return proto


def _cell(path: Path, source: str) -> nn.Cell:
    try:
        return nn.GraphCell(ms.load(str(path)))
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(f"{source}: {path} could not be loaded ({reason}).") from None
