"""Pickles are read as data; nothing in them is called."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from deit.weights.unpickle import MALFORMED, Global, Refused, unpickle

ORDERED = "collections.OrderedDict"


def read(content: bytes) -> Any:
    return unpickle(io.BytesIO(content), {ORDERED}, lambda name, arguments: {"made": name}, lambda key: ("storage", key))


class Calling:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


class Persistent(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return ("id", 7) if isinstance(value, bytearray) else None


@pytest.mark.parametrize(
    "value", [{"a": [1, 2.5, -70000, 1 << 40], "b": (True, None, ("x", "y", "z", "w")), 3: {}}, [], "text", [[1], [[2]], ()]]
)
def test_plain_objects(value: Any) -> None:
    assert read(pickle.dumps(value, 2)) == value


def test_caller_builds_known_names_and_persistent_ids() -> None:
    assert read(pickle.dumps(OrderedDict(), 2)) == {"made": Global(ORDERED)}
    stream = io.BytesIO()
    Persistent(stream, 2).dump({"weight": bytearray(4)})
    assert read(stream.getvalue()) == {"weight": ("storage", ("id", 7))}


def test_call_is_rejected_by_name(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"posix\.mkdir"):
        read(pickle.dumps(Calling(tmp_path / "called"), 2))
    assert not (tmp_path / "called").exists()


def test_opcode_unknown_to_torch_is_rejected() -> None:
    with pytest.raises(Refused, match="FROZENSET"):
        read(pickle.dumps(frozenset({1}), 4).replace(b"\x95" + (6).to_bytes(8, "little"), b""))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02.",  # nothing on the stack
        b"\x80\x02]K\x01K\x02s.",  # an entry for a list
        b"\x80\x02}(K\x01u.",  # a key without a value
        b"\x80\x02}]K\x01s.",  # a list as a key
        b"\x80\x02h\x05.",  # a memo that was never set
        b"\x80\x02K\x01)R.",  # an object made from a number
        b"\x80\x02X\x03\x00\x00\x00\xed\xa0\x80.",  # half a surrogate pair
    ],
)
def test_malformed_pickle_is_rejected_without_a_crash(content: bytes) -> None:
    with pytest.raises(MALFORMED):
        read(content)
