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
    """The stack of the opcodes; ``_OPCODES`` says what each does with it."""

    def __init__(
        self,
        allowed: Collection[str],
        make: Callable[[Global, tuple[Any, ...]], Any],
        storage: Callable[[Any], Any],
    ) -> None:
        self._allowed, self._make, self.storage = allowed, make, storage
        self.stack: list[Any] = []
        self.marks: list[int] = []  # the height of the stack at each open mark
        self._memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def text(self, value: str) -> None:
        value.encode()  # half a surrogate pair is not text, and could not be printed
        self.push(value)

    def remember(self, number: int) -> None:
        self._memo[number] = self.stack[-1]

    def recall(self, number: int) -> None:
        self.push(self._memo[number])

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("items for what is no list")
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        """``items`` are keys and values in turn."""
        if type(self.stack[-1]) is not dict:
            raise ValueError("entries for what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Hashing a deeply nested tuple would overflow the interpreter's own stack.
            if type(key) not in (str, int, float, bool, type(None)):
                raise ValueError("a dict whose keys are neither text nor numbers")
            self.stack[-1][key] = value

    def name(self, argument: str) -> None:
        name = argument.replace(" ", ".")
        if name not in self._allowed:
            raise Refused(f"it names {name!r}, which no weights need; nothing of it was executed")
        self.push(Global(name))

    def call(self, _: Any) -> None:
        of, arguments = self.last(2)
        if not isinstance(of, Global) or not isinstance(arguments, tuple):
            raise ValueError("an object made from no name")
        self.push(self._make(of, arguments))

    def last(self, count: int) -> list[Any]:
        """Take the ``count`` uppermost entries."""
        return [self.stack.pop() for _ in range(count)][::-1]

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items


_OPCODES: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda machine, _: None,
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
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.last(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.last(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.last(3))),
    "APPEND": lambda machine, _: machine.extend(machine.last(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.update(machine.last(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.since_mark()),
    "GLOBAL": _Machine.name,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Machine.call),
    "BUILD": lambda machine, _: machine.last(1),
    "BINPERSID": lambda machine, _: machine.push(machine.storage(machine.stack.pop())),
}


MALFORMED = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, EOFError)
