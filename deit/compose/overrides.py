"""Overrides, checked before Hydra composes: every bad one is reported, in one line each.

Hydra alone would stop at the first, accept keys after ``+`` and options in place of values, and suggest no similar names.
Values are checked against the schema itself, so files and command line follow the same types.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from deit.compose import config_files, groups, hydra_guard, keys, text_keys
from deit.config.schema import VARIANTS
from deit.errors import UserError, nearest
from deit.installation import program
from deit.text import line_to_type

# With these Hydra would call anything.
HYDRA_CALLS = ("hydra.callbacks", "hydra.job_logging", "hydra.hydra_logging")
# With these Hydra would create folders; the launcher creates the run directory.
HYDRA_FOLDERS = ("hydra.run.", "hydra.sweep.", "hydra.output_subdir", "hydra.job.chdir")
# These define the trials of a template.
HYDRA_TEMPLATES = ("hydra.sweeper.params", "hydra.sweeper.cases")
# Choices among plugins, written with / between their parts.
HYDRA_OPTIONS = ("hydra.sweeper", "hydra.launcher", "hydra.sweeper.sampler", "hydra.sweeper.pruner")


def check(typed: Sequence[str], *, sweeping: bool) -> list[Override]:
    """Parse the overrides; ``sweeping`` says whether a list of values makes a sweep.

    Raises UserError with one line for each wrong one.
    """
    parsed, problems = [], []
    for text in typed:
        try:
            parsed.append(_parse(text))
        except UserError as error:
            problems.append(str(error))
    for override in parsed:
        problems += _problems(override, sweeping)
    if problems:
        raise UserError("\n".join(problems))
    return parsed


def given_twice(overrides: Sequence[Override]) -> list[str]:
    """One line for each key or group with two different values; the last one counts, as on any command line."""
    last = {override.get_key_element(): str(override.input_line) for override in overrides}
    given = {str(override.input_line): last[override.get_key_element()] for override in overrides}
    return [f"{text} is replaced by {later}, which is given after it" for text, later in given.items() if text != later]


def old_names(overrides: Iterable[Override]) -> list[str]:
    """One line for each option that is chosen by an old name."""
    lines = []
    for override in overrides:
        path = groups.groups().get(override.key_or_group, {}).get(str(override.value()))
        if path is not None and groups.describe(path).startswith("Old name of"):
            lines.append(f"{override.input_line}: {groups.describe(path)}")
    return lines


def readable(typed: Sequence[str]) -> list[str]:
    """The overrides as passed to Hydra: text keys keep their spelling."""
    return [text_keys.typed(text) for text in typed]


def dotted(overrides: Iterable[Override]) -> list[str]:
    """The single keys among the overrides, without the groups."""
    return [o.key_or_group for o in overrides if o.key_or_group in keys.table()]


def of_sweeps(overrides: Sequence[Override]) -> list[str]:
    """One line for each override of a single run that only a sweep uses."""
    used = ("sweep.dir",)  # by task=report
    found = [key for key in dotted(overrides) if key.startswith("sweep.") and key not in used]
    plugins = ("hydra/launcher", "hydra/sweeper", "hydra.launcher.", "hydra.sweeper.")
    found += [str(o.input_line) for o in overrides if o.key_or_group.startswith(plugins)]
    no_template = "the file is not a sweep template, which has `mode: MULTIRUN` below `hydra:`."
    return [
        *(f"{text} has no effect outside a sweep (-m, or sweep=TEMPLATE)." for text in found),
        *(f"{o.input_line}: {no_template}" for o in overrides if o.key_or_group == "sweep"),
    ]


@functools.cache  # the trials of a sweep have most of their overrides in common
def _parse(text: str) -> Override:
    if "=" not in text and not text.startswith("~"):
        homes = [f"{group}={text}" for group, found in groups.groups().items() if text in found]
        hint = f" Did you mean {' or '.join(repr(home) for home in homes)}?" if homes else ""
        raise UserError(f"{text!r} is not an override; settings are given as key=value, such as model=deit_tiny.{hint}")
    key, _, value = text.partition("=")
    if not text.startswith("~") and not value and key.rstrip() == key:
        if key.lstrip("+") in keys.table():
            return _parse(f"{key}=''")
        raise UserError(f"{text}: the value is missing; settings are given as key=value, such as model=deit_tiny.")
    try:
        parsed = OverridesParser.create().parse_overrides([text_keys.typed(text)])[0]
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error).split("\nSee https")[0].splitlines()[-1]
        raise UserError(f"{text}: not readable as key=value ({reason}). {_expected(key, value)}") from None
    parsed.input_line = text
    return parsed


def _expected(key: str, value: str) -> str:
    if key not in keys.table():
        return "Settings are given as key=value, such as model=deit_tiny."
    if not text_keys.is_text(key):
        return f"Expected: {keys.table()[key].expected}."
    if value.startswith("["):
        return f"Put each text of a list in quotes, and the whole list in quotes for the shell: \"{key}=['a b','c']\""
    return f"To give this text, type: {line_to_type(key, value)}"


def _problems(override: Override, sweeping: bool) -> Iterator[str]:
    text, key = str(override.input_line), override.key_or_group
    if key in groups.PLUGIN_OPTIONS and override.value() not in groups.PLUGIN_OPTIONS[key]:
        meant = groups.PLUGINS_KNOWN_AS.get(str(override.value()))
        known = f" {override.value()} is called {key}={meant} here." if meant in groups.PLUGIN_OPTIONS[key] else ""
        yield f"{text}: {unknown_option(key, str(override.value()), groups.PLUGIN_OPTIONS[key])}{known}"
        return
    if key.startswith(("hydra.", "hydra/")):
        yield from _hydra_problems(override)
        return
    if override.type is not OverrideType.CHANGE:
        sign = text[: len(text) - len(text.lstrip("+~"))]
        yield f"{text}: `{sign}` adds or deletes keys, but the schema is closed; give key=value.{_unknown_hint(key)}"
        return
    if override.package is not None:
        yield f"{text}: groups cannot be relocated; give {key}=OPTION."
        return
    if override.is_sweep_override() and not sweeping:
        yield f"{text}: several values make a sweep, which needs -m; a list is written {key}=[...], text with commas in quotes."
        return
    if key in groups.groups():
        yield from _option_problems(override)
    elif key in keys.table():
        yield from _value_problems(override)
    else:
        yield f"{text}: {unknown_key(key)}"


def _hydra_problems(override: Override) -> Iterator[str]:
    text, key = str(override.input_line), override.key_or_group
    if key.startswith(HYDRA_FOLDERS):
        yield f"{text}: Hydra creates no folders here; runs are written to runs_dir, which can be set."
    elif key.split(".")[-1] in hydra_guard.CALLS or any(hydra_guard.calls(value) for value in _elements(override)):
        yield f"{text}: `_target_` cannot be overridden; allowed: hydra/launcher=OPTION, hydra/sweeper=OPTION, their keys."
    elif key.replace("/", ".").startswith(HYDRA_CALLS):
        yield f"{text}: callbacks are not supported, and logs are in the run directory; remove it."
    elif key.startswith(HYDRA_TEMPLATES):
        yield f"{text}: belongs in a template (multirun_templates/sweep/); here, give values for keys, such as seed=0,1."
    elif key in HYDRA_OPTIONS:
        yield f"{text}: an option of a group; give {key.replace('.', '/')}={override.value()}."
    elif re.split(r"[./]", key)[1] not in config_files.USED_OF_HYDRA:
        yield f"{text}: has no effect here. {config_files.why(key)}"
    elif key.startswith(HYDRA_OPTIONS) and override.type is not OverrideType.CHANGE:
        yield f"{text}: `{text[0]}` adds or deletes keys, but the plugins' keys are closed; give key=value."


def unknown_key(key: str) -> str:
    """The message for an unknown key, with a suggestion and the allowed keys."""
    group = key.rpartition(".")[0]
    if group in keys.node_types():
        allowed = f" Keys of {group}: {', '.join(keys.siblings(key))}."
    elif group in keys.table():
        return f"unknown key {key}; {group} is one value: {keys.table()[group].expected}."
    else:
        allowed = f" Groups: {', '.join(groups.groups())}. `{program()} --help GROUP` lists a group's keys."
    return f"unknown key {key}.{_unknown_hint(key)}{allowed}"


def _unknown_hint(key: str) -> str:
    if key in keys.table() or key in groups.groups():
        return ""
    named = any(path.rpartition(".")[2] == key for path in keys.table())  # `models` is task.models rather than model
    close = difflib.get_close_matches(key, groups.groups(), n=1, cutoff=0.75) if "." not in key and not named else []
    return f" Did you mean {close[0]!r}?" if close else keys.suggestion(key)


def _elements(override: Override) -> Iterator[Any]:
    """The value, or each value of a sweep; globs are left to Hydra."""
    if isinstance(override.value(), Glob):
        return
    if not override.is_sweep_override():
        yield override.value()
    elif override.is_discrete_sweep():
        values = (value for value in override.sweep_iterator() if not isinstance(value, Glob))
        yield from map(Override._convert_value, values)  # without the quotes


def _option_problems(override: Override) -> Iterator[str]:
    group, allowed = override.key_or_group, list(groups.groups()[override.key_or_group])
    if group == "sweep" and override.is_sweep_override():
        yield f"{override.input_line}: a sweep has one template; start each separately, or write one with the keys of both."
        return
    for value in _elements(override):
        if isinstance(value, str):
            continue
        if isinstance(value, list):
            yield f"{override.input_line}: a group takes one option; several make a sweep: -m {group}=A,B."
        else:
            none = "; to choose none, leave it out" if group in groups.GLOBAL else ""
            yield f"{override.input_line}: {group} is a group; allowed: {', '.join(allowed)}{none}."


def unknown_option(group: str, option: str, allowed: Iterable[str]) -> str:
    """The message for an unknown option, with the allowed ones."""
    allowed = [name for name in allowed if name != "schema"]
    by_case = [name for name in allowed if name.lower() == option.lower()]
    hint = f" Did you mean {by_case[0]!r}?" if by_case else nearest(option, allowed)
    return f"{group} is {option!r}, but there is no such option.{hint} Allowed: {', '.join(allowed)}."


def _value_problems(override: Override) -> Iterator[str]:
    key = keys.table()[override.key_or_group]
    group = key.path.rpartition(".")[0]
    if key.name == "name" and keys.node_types().get(group) in VARIANTS:
        yield f"{override.input_line}: {key.path} is set by its group; give {group}=OPTION."
        return
    for value in _elements(override):
        if isinstance(value, str) and "${" in value:
            continue
        if not any(_fits(meant, value) for meant in keys.definitions()[key.path]):
            yield f"{override.input_line}: {key.path} is {keys.spoken(value)}; expected: {key.expected}. {key.metadata['help']}"


@functools.cache
def _schema_of(owner: type, name: str, hint: Any) -> DictConfig:
    """A node to try values of one key on: creating one of all keys is slow."""
    return cast(DictConfig, OmegaConf.structured(dataclasses.make_dataclass(owner.__name__, [(name, hint)])))


def _fits(key: keys.Key, value: Any) -> bool:
    try:
        _schema_of(key.owner, key.name, key.hint)[key.name] = value
    except OmegaConfBaseException:
        return False
    return True
