"""Errors of Hydra, OmegaConf and YAML as one message a person can act on.

What is typed has been checked before Hydra sees it (``deit.config.overrides``); what remains are mistakes in
files and a few that only the composition shows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import yaml
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import InterpolationKeyError, InterpolationResolutionError, OmegaConfBaseException

from deit.config import keys, options
from deit.config.overrides import GLOBAL_GROUPS, unknown_key, unknown_option
from deit.errors import UserError, nearest

ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError)


def translate(error: Exception, typed: Sequence[str]) -> UserError:
    """The UserError that says what ``error`` (one of ERRORS) means; ``typed`` are the overrides given."""
    if isinstance(error, yaml.MarkedYAMLError):
        return UserError(_yaml_message(error))
    if isinstance(error, MissingConfigException):
        return UserError(_missing_message(error, typed))
    if isinstance(error, InterpolationResolutionError):
        return UserError(interpolation_message(error))
    return UserError(_composition_message(error, typed))


def interpolation_message(error: InterpolationResolutionError) -> str:
    """For a ``${...}`` that leads nowhere, or to an environment variable that is not set."""
    reason = str(error).splitlines()[0]
    variable = re.search(r"Environment variable '(\w+)' not found", reason)
    if variable:
        return (
            f"{error.full_key} takes the environment variable {variable[1]}, which is not set; "
            f"set it, or give {error.full_key}=VALUE."
        )
    target = re.search(r"Interpolation key '([^']+)' not found", reason)
    if isinstance(error, InterpolationKeyError) and target:
        return f"{error.full_key} points at ${{{target[1]}}}: {unknown_key(target[1])}"
    return f"{error.full_key}: not resolvable ({reason})."


def _yaml_message(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return f"Not readable as YAML: {error.problem}."
    return f"{options.shown(Path(mark.name))}, line {mark.line + 1}: not readable as YAML ({error.problem})."


def _missing_message(error: MissingConfigException, typed: Sequence[str]) -> str:
    missing = error.missing_cfg_file or ""
    group, _, option = missing.rpartition("/")
    if not group:
        return f"{str(error).splitlines()[0]} (--config-name, --config-path)."
    allowed = error.options or options.groups().get(group, {})
    if not allowed:
        return f"{_asking_file(group, typed)}{group!r} is no group.{nearest(group, options.groups())}"
    message = unknown_option(group, option, allowed)
    is_typed = any(re.match(rf"{re.escape(group)}=.*{re.escape(option)}", text) for text in typed)
    return message if is_typed else f"{_asking_file(group, typed)}{message}"


def _asking_file(group: str, typed: Sequence[str]) -> str:
    """``conf/experiment/x.yaml: `` where a chosen file that writes anywhere mentions ``group``."""
    for text in typed:
        chosen, _, option = text.partition("=")
        path = options.groups().get(chosen, {}).get(option)
        if chosen in GLOBAL_GROUPS and path is not None and re.search(rf"/?\b{re.escape(group)}\s*:", path.read_text()):
            return f"{options.shown(path)}: "
    return ""


def _composition_message(error: Exception, typed: Sequence[str]) -> str:
    text = str(error)
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    if cause is not None:
        text = f"{text}\n{cause}"
    lines = [line.strip() for line in text.splitlines()]
    place = _place(lines[0])
    full_key = next((line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")), "")
    if re.search(r"^Key '[^']+' (is )?not in ", text, re.M) and full_key and not full_key.startswith("hydra"):
        return _unknown_key_message(full_key, place, text)
    key = keys.table().get(re.sub(r"\[\d+\]$", "", full_key))
    if key is not None and ("ValidationError" in lines[0] or cause is not None):
        value = re.search(r"Value '(.*)' (?:of type|is not)", text)
        found = f"is {value[1]!r}" if value else f"does not fit ({lines[1]})"
        return f"{place}{full_key} {found}; expected: {key.expected}. {key.metadata['help']}"
    override = re.search(r"Could not override '([^']+)'", text)
    if override and not override[1].startswith("hydra."):
        group = override[1].split("@")[0].lstrip("/")
        hint, allowed = nearest(group, options.groups()), ", ".join(options.groups())
        return f"{place}`override /{group}`: no such group.{hint} Allowed: {allowed}."
    multiple = re.search(r"Multiple values for (\S+)\. To override a value use 'override (\S+) (\S+)'", text)
    if multiple:
        group = multiple[1].lstrip("/").rstrip(".")
        return f"{_asking_file(group, typed)}{group} has its option already; write `- override /{group}: {multiple[3]}`."
    return place + " ".join(line for line in lines[1 if place and len(lines) > 1 else 0 :] if not _bookkeeping(line))


def _unknown_key_message(full_key: str, place: str, text: str) -> str:
    key = keys.table().get(full_key)
    if key is not None:  # a key of the group's other options
        group = full_key.rpartition(".")[0]
        return f"{place}{full_key} belongs to {group}={' or '.join(key.variants)}; this {group} has no such key."
    if full_key in GLOBAL_GROUPS:
        return f"{place}the file writes into the whole configuration, so its first line must be `# @package _global_`."
    return f"{place}{unknown_key(full_key)}"


def _place(line: str) -> str:
    """``conf/experiment/x.yaml: `` from Hydra's ``In 'experiment/x': ...``; empty where it names no file."""
    named = re.match(r"In '?([\w./-]+?)'?:", line)
    if not named or named[1] == "config":
        return "conf/config.yaml: " if named else ""
    group, _, option = named[1].rpartition("/")
    path = options.groups().get(group, {}).get(option) or options.CONF / f"{named[1]}.yaml"
    return f"{options.shown(path) if path.exists() else named[1]}: "


def _bookkeeping(line: str) -> bool:
    return not line or line.startswith(
        ("full_key:", "object_type=", "reference_type=", "provider=", "See https", "Config search path")
    )
