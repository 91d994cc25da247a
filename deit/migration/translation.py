"""What a translation of another program's configuration found, and how its values are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from deit.errors import UserError

Value = TypeVar("Value")


@dataclass
class Translation:
    """A configuration of another program as an experiment of this one."""

    program: str  # whose configuration it is
    groups: dict[str, str] = field(default_factory=dict)  # our group -> its option
    values: dict[str, Any] = field(default_factory=dict)  # our key, dotted -> value
    origins: dict[str, str] = field(default_factory=dict)  # our group or key -> their keys
    without: dict[str, str] = field(default_factory=dict)  # their key -> why it has no counterpart
    refused: dict[str, str] = field(default_factory=dict)  # their key -> why its value was not translated


class Reader:
    """Their keys, each read at most once; what stays unread is reported."""

    def __init__(self, program: str, theirs: dict[str, Any], defaults: dict[str, Any]) -> None:
        """``defaults`` are the values that their program takes for keys that are not in the file."""
        self.result = Translation(program)
        self._theirs, self._defaults = theirs, defaults
        self._read: set[str] = set()

    def has(self, key: str) -> bool:
        """Whether the file itself gives the key."""
        return key in self._theirs

    def take(self, key: str, kind: Callable[[Any], Value], words: str) -> Value | None:
        """Their value, or their default; None if neither gives one. Raises UserError for a value of another type."""
        self._read.add(key)
        value = self._theirs.get(key, self._defaults.get(key))
        if value is None or (isinstance(value, str) and value in ("", "None")):
            return None
        try:
            return kind(value)
        except (TypeError, ValueError):
            raise UserError(f"{key} is {value!r}, but {words} is expected.") from None

    def number(self, key: str) -> float | None:
        """YAML reads 1e-5 as text."""
        return self.take(key, _number, "a number")

    def whole(self, key: str) -> int | None:
        return self.take(key, _whole, "a whole number")

    def flag(self, key: str) -> bool | None:
        return self.take(key, _flag, "true or false")

    def text(self, key: str) -> str | None:
        return self.take(key, _text, "text without ${")

    def numbers(self, key: str) -> list[float] | None:
        return self.take(key, _numbers, "a list of numbers")

    def put(self, ours: str, value: Any, *origin: str) -> None:
        """Give our key a value, which may be None."""
        self.result.values[ours] = value
        self.result.origins[ours] = ", ".join(origin)

    def set(self, ours: str, value: Any, *origin: str) -> None:
        """Give our key a value; None gives none."""
        if value is not None:
            self.put(ours, value, *origin)

    def copy(self, read: Callable[[str], Any], names: Mapping[str, str]) -> None:
        """Give our keys the values of theirs, which mean the same; ``names`` are ours by theirs."""
        for theirs, ours in names.items():
            self.set(ours, read(theirs), theirs)

    def choose(self, group: str, option: str, *origin: str) -> None:
        self.result.groups[group] = option
        self.result.origins[group] = ", ".join(origin)

    def one_of(self, key: str, choices: dict[str, str]) -> str | None:
        """Our word for theirs, which is compared in lower case; other words are refused."""
        found = self.text(key)
        if found is None or found.lower() in choices:
            return None if found is None else choices[found.lower()]
        self.refuse(key, f"known: {', '.join(choices)}")
        return None

    def refuse(self, key: str, why: str) -> None:
        self._read.add(key)
        if self.has(key):
            why = f"{self._theirs[key]!r}: {why}"
        self.result.refused[key] = why

    def leave(self, keys: str, why: str) -> None:
        """Their ``keys``, separated by spaces, have no counterpart."""
        for key in keys.split():
            self._read.add(key)
            if self.has(key):
                self.result.without[key] = why

    def only(self, key: str, accepted: tuple[Any, ...], why: str) -> None:
        """A key without a counterpart whose ``accepted`` values say what happens here anyway; others are refused."""
        self._read.add(key)
        if self.has(key) and self._theirs[key] not in accepted:
            self.refuse(key, why)

    def finish(self) -> Translation:
        """The result, with every key that was not read."""
        for key in self._theirs:
            if key not in self._read:
                self.result.without[key] = "not known here"
        return self.result


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    number = float(value)
    return int(number) if isinstance(value, int) else number


def _whole(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError
    return int(number)


FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _flag(value: Any) -> bool:
    if str(value).lower() not in FLAGS:
        raise ValueError
    return FLAGS[str(value).lower()]


def _text(value: Any) -> str:
    if isinstance(value, (dict, list)) or "${" in str(value):  # Hydra would replace ${...} here, with a secret for example
        raise TypeError
    return str(value)


def _numbers(value: Any) -> list[float]:
    if not isinstance(value, list):
        raise TypeError
    return [_number(item) for item in value]
