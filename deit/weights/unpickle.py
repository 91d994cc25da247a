"""Reads the pickles of ``torch.save`` as data, with a machine that has no instruction to call anything.

Python's own unpickler calls whatever a file names, and restricting it means closing one hole after another. This one knows only
the few opcodes that torch writes (protocol 2). A global name stays a name; the caller, who gets that name and plain arguments,
decides what to build from it. Anything else is rejected by name.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from deit.errors import UserError


@dataclass(frozen=True)
class Global:
    """A name such as ``torch._utils._rebuild_tensor_v2``; nothing is imported."""

    name: str


class Refused(UserError):
    """The pickle contains something that no weight file needs."""


def unpickle(
    stream: io.BytesIO,
    allowed: Collection[str],
    make: Callable[[Global, tuple[Any, ...]], Any],
    storage: Callable[[Any], Any],
) -> Any:
    """The object of the pickle that begins here; afterwards ``stream`` is after it.

    ``allowed`` are the allowed global names, ``make(name, arguments)`` builds an object from one, ``storage(id)`` resolves a
    persistent id. Attributes that the pickle sets on objects are ignored. Raises Refused for an unknown name or opcode,
    ValueError or another of ``MALFORMED`` if it is not a pickle.
    """
    machine = _Machine(allowed, make, storage)
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "STOP":
            return machine.stack.pop()
        do = _OPCODES.get(opcode.name)
        if do is None:
            raise Refused(
                f"its pickle uses the opcode {opcode.name}, which torch.save does not write; nothing of it was executed"
            )
        do(machine, argument)
    raise ValueError("a pickle without an end")


class _Machine:
    """The stack of the opcodes; each method implements opcodes of ``_OPCODES``."""

    def __init__(
        self,
        allowed: Collection[str],
        make: Callable[[Global, tuple[Any, ...]], Any],
        storage: Callable[[Any], Any],
    ) -> None:
        self._allowed, self._make, self._storage = allowed, make, storage
        self.stack: list[Any] = []
        self._marks: list[int] = []  # the height of the stack at each open mark
        self._memo: dict[int, Any] = {}

    def skip(self, _: Any) -> None:
        pass

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def text(self, value: str) -> None:
        value.encode()  # half a surrogate pair is not text, and could not be printed
        self.push(value)

    def remember(self, number: int) -> None:
        self._memo[number] = self.stack[-1]

    def recall(self, number: int) -> None:
        self.push(self._memo[number])

    def mark(self, _: Any) -> None:
        self._marks.append(len(self.stack))

    def short_tuple(self, size: int) -> None:
        items = [self.stack.pop() for _ in range(size)]
        self.push(tuple(reversed(items)))

    def to_tuple(self, _: Any) -> None:
        self.push(tuple(self._since_mark()))

    def append(self, _: Any) -> None:
        item = self.stack.pop()
        _list(self.stack[-1]).append(item)

    def appends(self, _: Any) -> None:
        items = self._since_mark()
        _list(self.stack[-1]).extend(items)

    def set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _dict(self.stack[-1])[_key(key)] = value

    def set_items(self, _: Any) -> None:
        items = self._since_mark()
        target = _dict(self.stack[-1])
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def name(self, argument: str) -> None:
        name = argument.replace(" ", ".")
        if name not in self._allowed:
            raise Refused(f"it names {name!r}, which no weights need; nothing of it was executed")
        self.push(Global(name))

    def call(self, _: Any) -> None:
        arguments, of = self.stack.pop(), self.stack.pop()
        if not isinstance(of, Global) or not isinstance(arguments, tuple):
            raise ValueError("an object made from no name")
        self.push(self._make(of, arguments))

    def drop(self, _: Any) -> None:
        self.stack.pop()

    def load_storage(self, _: Any) -> None:
        self.push(self._storage(self.stack.pop()))

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items


_OPCODES: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.skip,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _Machine.push),
    "BINUNICODE": _Machine.text,
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.recall),
    "MARK": _Machine.mark,
    "TUPLE": _Machine.to_tuple,
    "TUPLE1": lambda machine, _: machine.short_tuple(1),
    "TUPLE2": lambda machine, _: machine.short_tuple(2),
    "TUPLE3": lambda machine, _: machine.short_tuple(3),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.name,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Machine.call),
    "BUILD": _Machine.drop,
    "BINPERSID": _Machine.load_storage,
}


MALFORMED = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, EOFError)


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise ValueError("items for what is no list")
    return value


def _dict(value: Any) -> dict[Any, Any]:
    if type(value) is not dict:
        raise ValueError("entries for what is no dict")
    return value


def _key(value: Any) -> Any:
    # Hashing a deeply nested tuple would overflow the interpreter's own stack.
    if type(value) not in (str, int, float, bool, type(None)):
        raise ValueError("a dict whose keys are neither text nor numbers")
    return value
