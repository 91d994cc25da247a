"""Files of torch.save: what is rejected. tests/fidelity/test_weights.py compares what is read with torch."""

from __future__ import annotations

import os
import pickle
import shlex
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fidelity import FIXTURES
from torch_files import archive, number, numbers, state, tensor
from torch_files import text as pickled_text
from weight_files import refused

from deit.errors import UserError
from deit.weights import pth
from deit.weights.read import read_shapes, read_weights

PLAIN = FIXTURES / "weights_plain.pth"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


def test_handwritten_file_is_read(file: Path) -> None:
    """What the tests below change is well-formed."""
    found = read_weights(
        archive(file, state(tensor(), tensor(shape=(3, 2), stride=(1, 3)), tensor(shape=(), stride=(), offset=5)))
    )
    np.testing.assert_array_equal(found["a"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["b"], [[0, 3], [1, 4], [2, 5]])
    assert found["c"] == 5


class Harm:
    """Pickled, a call of os.system."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return os.system, (f"touch {shlex.quote(str(self.trace))}",)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("read", [read_weights, read_shapes])
def test_foreign_code_is_rejected_by_name_and_not_run(file: Path, legacy: bool, read: Callable) -> None:
    trace = file.with_name("trace")
    content = pickle.dumps({"a": 1, "b": Harm(trace)}, protocol=2)
    if legacy:
        before = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
        file.write_bytes(b"".join(pickle.dumps(value, protocol=2) for value in before) + content + pickle.dumps([], protocol=2))
    else:
        archive(file, content)
    with pytest.raises(UserError, match=f"names '{os.system.__module__}.system'.*nothing of it was executed"):
        read(file)
    assert not trace.exists()
    pickle.loads(content)  # the file is what it is taken for
    assert trace.exists()


@pytest.mark.parametrize("protocol", [0, 3, 4, 5])
def test_other_pickles_are_rejected_without_being_run(file: Path, protocol: int) -> None:
    trace = file.with_name("trace")
    archive(file, pickle.dumps({"a": Harm(trace)}, protocol=protocol))
    assert "nothing of it was executed" in refused(file)
    assert not trace.exists()


def test_pickled_module_is_rejected() -> None:
    message = refused(FIXTURES / "weights_whole_module.pth")
    assert "torch.nn.modules" in message and "torch.save(" in message


HUGE = 1 << 40


@pytest.mark.parametrize(
    ("described", "told"),
    [
        (state(tensor(offset=1)), "reaches beyond"),
        (state(tensor(stride=(4, 1))), "reaches beyond"),
        (state(tensor(offset=-1)), "size"),
        (state(tensor(stride=(-3, 1), offset=3)), "size"),
        (state(tensor(shape=(2, 3, 1))), "3 axes and 2 strides"),
        (state(tensor(shape=(1,) * 40, stride=(0,) * 40)), "40 axes"),
        (state(tensor(shape=(HUGE,), stride=(0,))), "reaches beyond"),  # one number, a million million times
        (state(tensor(shape=(HUGE,), stride=(1,), numel=HUGE)), "many times the file"),
        (state(tensor(shape=(7,), stride=(1,), numel=7)), "has 24 bytes in the file"),
        (state(tensor(shape=(1 << 60,), stride=(1,), numel=1 << 60)), "size"),
        (state(tensor(numel=5, shape=(5,), stride=(1,))), "has 24 bytes in the file"),
        (state(tensor(key="1")), "archive/data/1"),
        (state(tensor(key="../data.pkl")), "data.pkl"),
        (state(number(3)), "no weights"),
        (state(), "no weights"),
        (b"\x80\x02]q\x00.", "no weights"),
        (b"\x80\x02}(" + pickled_text("a"), "damaged"),
        (b"\x80\x02" + b"t.", "damaged"),  # a tuple from a mark that is not there
        (b"\x80\x02h\x07.", "damaged"),  # a memo that is not there
        (b"\x80\x02}" + b")" + b"\x85" * 100_000 + b"Ns.", "damaged"),  # hashing this key would overflow the stack
        (b"\x80\x02(lp0\n.", "opcode LIST"),
        (b"\x80\x02}U\x01a.", "opcode SHORT_BINSTRING"),
        (state(b"ctorch._utils\n_rebuild_tensor_v2\n" + numbers((1, 2, 3)) + b"R"), "damaged"),
        (state(b"ccollections\nOrderedDict\n(" + pickled_text("x") + b"tR"), "damaged"),
    ],
)
def test_inconsistent_file_is_rejected(file: Path, described: bytes, told: str) -> None:
    assert told in refused(archive(file, described))


def test_tensors_larger_than_their_storage_are_rejected(file: Path) -> None:
    storage = np.zeros(100_000, np.float32).tobytes()
    many = state(*[tensor(numel=100_000, shape=(100_000,), stride=(1,))] * 20)
    assert "many times the file" in refused(archive(file, many, _0=storage))


def test_oversized_pickle_is_rejected(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pth, "_MOST_PICKLE", 100)
    assert "larger than 100 bytes" in refused(archive(file, state(tensor())))


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_compressed_archive_is_rejected(file: Path, compression: int) -> None:
    """A megabyte of zeros in a thousand bytes; torch never compresses."""
    archive(file, state(tensor(numel=1 << 18)), compression, _0=bytes(1 << 20))
    assert file.stat().st_size < 10_000 and "must be stored" in refused(file)


@pytest.mark.parametrize("name", ["plain.pth", "legacy.pth", "timm.safetensors"])
def test_truncated_file_is_rejected(tmp_path: Path, name: str) -> None:
    content = (FIXTURES / f"weights_{name}").read_bytes()
    file = tmp_path / f"cut_{name}"
    for share in (0, 1, 10, 100, 1000, len(content) // 2, len(content) - 1000, len(content) - 1):
        file.write_bytes(content[:share])
        refused(file)


def test_flipped_bit_is_detected(file: Path) -> None:
    content = bytearray(PLAIN.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert "CRC-32" in refused(file)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>", b"", b"PK\x05\x06" + bytes(18), pickle.dumps({"a": 1})])
def test_file_not_written_by_torch_is_rejected(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    refused(file)


def test_member_shorter_than_it_claims_reads_no_other_memory(tmp_path: Path) -> None:
    """A zip archive contains its sizes twice; if they differ, a view of the claimed size would exceed the buffer."""
    content = np.arange(6, dtype=np.float32).tobytes()
    file = archive(tmp_path / "lies.pth", state(tensor(numel=1000, shape=(1000,), stride=(1,))), _0=content + bytes(8000))
    written = bytearray(file.read_bytes())
    entry = written.index(b"PK\x01\x02", written.rindex(b"archive/data.pkl"))  # the directory's entry of the storage
    struct.pack_into("<III", written, entry + 16, zlib.crc32(content), len(content), 4000)
    file.write_bytes(written)
    with zipfile.ZipFile(file) as opened:
        member = opened.infolist()[1]
        assert (member.compress_size, member.file_size, opened.read(member)) == (24, 4000, content)  # Python does not mind
    with pytest.raises(UserError, match=r"as torch\.save writes it"):
        read_weights(file)


def test_storage_shorter_than_it_claims_is_rejected(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the archive's reader hands out, a tensor's view stays within it."""
    archive(file, state(tensor()))
    whole = zipfile.ZipFile.read
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda self, name: whole(self, name)[: 20 if "data/0" in str(name) else None])
    assert "has 5 numbers, not 6" in refused(file)
