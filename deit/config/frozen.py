"""The frozen configuration: plain YAML on disk, typed dataclasses in memory.

A worker reads ``config.yaml`` with PyYAML alone.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from deit.config import safe_yaml
from deit.config.field import MISSING
from deit.config.schema import VARIANTS, RunConfig
from deit.errors import UserError, nearest
from deit.files import write_text

Kind = typing.TypeVar("Kind")
COMPOSED = "configuration"  # what messages call values that are in no file


def to_dict(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain nested dicts, lists and scalars."""
    return dataclasses.asdict(config)


def from_dict(values: dict[str, Any], place: str = COMPOSED) -> RunConfig:
    """Build the typed configuration; ``place`` names the source in messages.

    Raises UserError for a missing or unknown key or a value of the wrong type.
    """
    return typed(RunConfig, values, place)


def typed(kind: type[Kind], values: Any, place: str) -> Kind:
    """The dataclass ``kind`` from plain values; names and types are checked as for a configuration."""
    return typing.cast(Kind, _build(kind, values, "", place))


def load(path: Path) -> RunConfig:
    """Read a ``config.yaml``. Raises UserError if it is missing or not a configuration."""
    try:
        values = safe_yaml.load(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, so this is not a run directory.") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: contains a {type(values).__name__}, but a configuration is a mapping of keys.")
    return from_dict(values, str(path))


def save(config: RunConfig, path: Path) -> None:
    """Write the configuration; the file appears only when it is complete."""
    text = yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True, width=120)
    write_text(path, text)


def _build(kind: type, values: Any, key: str, place: str) -> Any:
    if not isinstance(values, dict):
        raise UserError(f"{place}: {key or 'the content'} is {values!r}, but it is a group of keys.")
    if kind in VARIANTS:
        name = values.get("name")
        if name not in VARIANTS[kind]:
            raise UserError(f"{place}: {key}.name is {name!r}; allowed: {', '.join(VARIANTS[kind])}.")
        kind = VARIANTS[kind][name]
    hints = typing.get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)]
    for name in values:
        if name not in names:
            raise UserError(f"{place}: unknown key {_join(key, name)}.{nearest(name, names)} Allowed: {', '.join(names)}.")
    values = {**_defaults(kind), **values}
    missing = [_join(key, name) for name in names if name not in values]
    if missing:
        raise UserError(f"{place}: missing {', '.join(missing)}.")
    return kind(**{name: _convert(hints[name], values[name], _join(key, name), place) for name in names})


def _defaults(kind: type) -> dict[str, Any]:
    """Schema defaults, so that files written before a key existed stay readable."""
    found = {}
    for field in dataclasses.fields(kind):
        value = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        if value is dataclasses.MISSING:  # required
            continue
        plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
        if plain != MISSING and not (isinstance(plain, dict) and MISSING in plain.values()):
            found[field.name] = plain
    return found


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else str(name)


def _convert(hint: Any, value: Any, key: str, place: str) -> Any:
    if hint is Any:
        return _sides(value, key, place)
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, key, place)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _convert(arguments[0], value, key, place)
    if origin is list:
        if not isinstance(value, list):
            raise UserError(f"{place}: {key} is {value!r}, but a list is expected.")
        return [_convert(arguments[0], item, f"{key}[{i}]", place) for i, item in enumerate(value)]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise UserError(f"{place}: {key} is {value!r}, but {type_name(hint)} is expected.")
    return value


def _sides(value: Any, key: str, place: str) -> Any:
    """A size of images, the only key with several types: OmegaConf has no union with a list."""
    if type(value) is int or (isinstance(value, list) and len(value) == 2 and all(type(side) is int for side in value)):
        return value
    of_file = "" if place == COMPOSED else f"{place}: "
    raise UserError(f"{of_file}{key} is {value!r}, but {type_name(Any)} is expected.")


def type_name(hint: Any) -> str:
    """A type in plain words: ``a whole number``, ``true or false``, ``a list of numbers``."""
    names = {
        Any: "a whole number or [height, width]",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "text",
    }
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return f"{type_name(arguments[0])} or null"
    if origin is list:
        return f"a list, each {type_name(arguments[0])}"
    return names.get(hint, str(hint))


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted key and the value of everything in nested values that is not a mapping itself."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
