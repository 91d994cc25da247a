"""Reads the pickles of ``torch.save`` as data: a machine that has no instruction to call anything.

Python's own unpickler calls whatever a file names, and keeping it from harm means closing one hole after another. This
one knows the few opcodes torch writes (protocol 2). A global name is kept as a name; what an object "made from" a name means
is decided by the caller, who gets that name and plain arguments. Anything else is refused, by name.
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
    """The pickle holds what no file of weights needs."""


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PLAIN = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def unpickle(
    stream: io.BytesIO,
    allowed: Collection[str],
    make: Callable[[Global, tuple[Any, ...]], Any],
    storage: Callable[[Any], Any],
) -> Any:
    """The object of the pickle that begins here; ``stream`` then stands behind it.

    ``allowed`` are the global names that may occur, ``make(name, arguments)`` builds an object of one, ``storage(id)``
    what a persistent id stands for. Attributes that the pickle sets on objects are left out.

    Raises Refused for a name or opcode that is not known here, ValueError or another of ``MALFORMED`` where it is no pickle.
    """
    stack: list[Any] = []
    marks: list[int] = []  # the height of the stack at each open mark
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    argument: Any
    for opcode, argument, _ in pickletools.genops(stream):
        what = opcode.name
        if what == "PROTO":
            continue
        elif what == "STOP":
            return stack.pop()
        elif what in _CONSTANTS:
            stack.append(_CONSTANTS[what])
        elif what in _PLAIN:
            stack.append(argument)
        elif what in _EMPTY:
            stack.append(_EMPTY[what]())
        elif what == "BINUNICODE":
            argument.encode()  # half a surrogate pair is no text: nobody could print it
            stack.append(argument)
        elif what in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif what in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif what == "MARK":
            marks.append(len(stack))
        elif what in _SHORT_TUPLES:
            items = [stack.pop() for _ in range(_SHORT_TUPLES[what])]
            stack.append(tuple(reversed(items)))
        elif what == "TUPLE":
            stack.append(tuple(since_mark()))
        elif what == "APPEND":
            item = stack.pop()
            _list(stack[-1]).append(item)
        elif what == "APPENDS":
            items = since_mark()
            _list(stack[-1]).extend(items)
        elif what == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _dict(stack[-1])[_key(key)] = value
        elif what == "SETITEMS":
            items = since_mark()
            target = _dict(stack[-1])
            for key, value in zip(items[::2], items[1::2], strict=True):
                target[_key(key)] = value
        elif what == "GLOBAL":
            name = argument.replace(" ", ".")
            if name not in allowed:
                raise Refused(f"it names {name!r}, which no weights need; nothing of it was executed")
            stack.append(Global(name))
        elif what in ("REDUCE", "NEWOBJ"):
            arguments, of = stack.pop(), stack.pop()
            if not isinstance(of, Global) or not isinstance(arguments, tuple):
                raise ValueError("an object made from no name")
            stack.append(make(of, arguments))
        elif what == "BUILD":
            stack.pop()
        elif what == "BINPERSID":
            stack.append(storage(stack.pop()))
        else:
            raise Refused(f"its pickle uses the opcode {what}, which torch.save does not write; nothing of it was executed")
    raise ValueError("a pickle without an end")


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
