"""The command line wins: no file changes a typed option silently.

Hydra merges global files (an experiment, a debug file, conf/local) after the options of the groups, so that ``hardware=gpu1``
could become a CPU again. A typed option counts for the keys in which it differs from the option that it replaces. If an
experiment or a sweep's template sets another value there, the two contradict each other, which is an error. Debug files and
conf/local are more general: the option wins for the keys that its own file sets, but not for those it takes from a base file,
such as a batch size. A value that would follow from the data (``${auto:}``) gives way, to every value of an option that is
chosen for its numbers, such as augment=deit. A single typed key wins over all of them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from deit.compose import config_files, groups, keys

AUTO = "${auto:}"
OF_NUMBERS = ("augment", "ema", "optim", "precision", "schedule")  # groups whose options are chosen for their numbers
RECIPES = ("experiment", "sweep")  # a contradiction with these is an error; other files give way


@dataclass(frozen=True)
class Written:
    """The nested values and chosen options of a file and those it is based on, and its ``own`` values."""

    values: Mapping[str, Any]
    options: Mapping[str, str]
    own: Mapping[str, Any]


NOTHING = Written({}, {}, {})  # of a file that is not there


def apply(composed: DictConfig, texts: Sequence[str]) -> list[str]:
    """Restore the keys of the options in ``texts`` that debug files and conf/local changed.

    Returns a line for each contradiction.
    """
    if not (any(text.partition("=")[0] in groups.GLOBAL for text in texts) or _local().values):
        return []
    typed: list[Override] = OverridesParser.create().parse_overrides(list(texts))
    chosen = {o.key_or_group: o.value() for o in typed if o.key_or_group in groups.groups() and isinstance(o.value(), str)}
    single = {o.key_or_group for o in typed}
    recipes = {group: _option(group, str(chosen[group])) for group in RECIPES if group in chosen}
    yielding = [_local(), *([_option("debug", str(chosen["debug"]))] if "debug" in chosen else [])]
    problems = []
    for group, option in chosen.items():
        if group not in keys.node_types():
            continue
        replaced = _replaced(group, [*yielding[:1], *recipes.values(), *yielding[1:]])
        values = _option(group, str(option)).values.get(group) or {}
        other = _option(group, replaced).values.get(group) or {} if replaced else {}
        now = OmegaConf.to_container(composed[group], resolve=False)
        assert isinstance(now, dict)
        for name, value in values.items():
            path = f"{group}.{name}"
            if now.get(name) == AUTO and path not in single and value != "???":
                if group in OF_NUMBERS or value != other.get(name, value):
                    OmegaConf.update(composed, path, value)
                continue
            if value in ("???", other.get(name, "???")) or path in single or now.get(name, value) == value:
                continue
            recipe = next((recipe for recipe in recipes if name in (recipes[recipe].values.get(group) or {})), None)
            if recipe is None:
                if name in _option(group, str(option)).own:
                    OmegaConf.update(composed, path, value)
                continue
            file, its = groups.shown(groups.groups()[recipe][str(chosen[recipe])]), recipes[recipe].values[group][name]
            problems.append(
                f"{group}={option} sets {path}={keys.spoken(value)}, but {file} sets {keys.spoken(its)}; give {path}=VALUE."
            )
    return problems


def _replaced(group: str, files: Sequence[Written]) -> str | None:
    """The option that would be composed by default; of several files the last one wins."""
    return next((file.options[group] for file in reversed(files) if group in file.options), groups.defaults().get(group))


def _local() -> Written:
    path = groups.local_settings()
    return _written(path, "") if path.is_file() else NOTHING


def _option(group: str, option: str) -> Written:
    path = groups.groups()[group].get(option)
    return NOTHING if path is None else _written(path, "" if group in groups.GLOBAL else group)


def _written(path: Path, package: str) -> Written:
    return _read(path, package, path.stat().st_mtime_ns)


@functools.cache
def _read(path: Path, package: str, written: int) -> Written:
    """``written`` is the modification time, so that a changed file is read again."""
    content = config_files.parse(groups.read(path), path, package)
    content = content if isinstance(content, dict) else {}
    own = {name: value for name, value in content.items() if name != "defaults"}
    values: dict[str, Any] = {}
    options: dict[str, str] = {}
    defaults = content.get("defaults") or []
    for entry in defaults if "_self_" in defaults else [*defaults, "_self_"]:
        if entry == "_self_":
            values = _merged(values, {package: own} if package else own)
        elif isinstance(entry, dict):
            options |= {str(name).split()[-1].lstrip("/"): value for name, value in entry.items() if isinstance(value, str)}
        elif isinstance(entry, str) and (file := _base(path, entry)) is not None:
            base = _written(file, package)
            values, options = _merged(values, base.values), {**base.options, **options}
    return Written(values, options, own)


def _base(path: Path, entry: str) -> Path | None:
    """The file of the option ``entry`` on which the option in ``path`` is based; one's own may be based on one of ours."""
    beside = path.parent / f"{entry}.yaml"
    return beside if beside.is_file() else groups.groups().get(path.parent.name, {}).get(entry)


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        merged[name] = _merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return merged
