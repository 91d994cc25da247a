"""Errors of Hydra, OmegaConf and YAML as one clear message.

Overrides are checked before Hydra sees them (``deit.compose.overrides``); this is for mistakes in files, and the few that
only the composition shows.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import yaml
from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import InterpolationKeyError, InterpolationResolutionError, OmegaConfBaseException

from deit.compose import groups, keys
from deit.compose.overrides import unknown_key, unknown_option
from deit.config.tasks import TASKS
from deit.errors import UserError, nearest

ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError)


def translate(error: Exception, typed: Sequence[str]) -> UserError:
    """The UserError for ``error`` (one of ERRORS); ``typed`` are the overrides given."""
    if isinstance(error, yaml.MarkedYAMLError):
        return UserError(_yaml_message(error))
    if isinstance(error, yaml.YAMLError):  # a character that YAML does not allow
        return UserError(f"Not readable as YAML: {' '.join(str(error).split())}.")
    if isinstance(error, MissingConfigException):
        return UserError(_missing_message(error, typed))
    if isinstance(error, InterpolationResolutionError):
        return UserError(interpolation_message(error))
    return UserError(_composition_message(error, typed))


def interpolation_message(error: InterpolationResolutionError) -> str:
    """For a ``${...}`` that refers to an unknown key or an unset environment variable."""
    reason = str(error).splitlines()[0]
    variable = re.search(r"Environment variable '(\w+)' not found", reason)
    if variable:
        return (
            f"{error.full_key} takes the environment variable {variable[1]}, which is not set; "
            f"set it, or give {error.full_key}=VALUE."
        )
    target = re.search(r"Interpolation key '([^']+)' not found", reason)
    if isinstance(error, InterpolationKeyError) and target:
        return f"{error.full_key} refers to ${{{target[1]}}}: {unknown_key(target[1])}"
    return f"{error.full_key}: cannot be resolved ({reason})."


def _yaml_message(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return f"Not readable as YAML: {error.problem}."
    return f"{groups.shown(Path(mark.name))}, line {mark.line + 1}: not readable as YAML ({error.problem})."


def _missing_message(error: MissingConfigException, typed: Sequence[str]) -> str:
    missing = error.missing_cfg_file or ""
    # An argument may be a path itself.
    whole = next((text for text in typed if text.replace("=", "/", 1) == missing), None)
    group, _, option = whole.partition("=") if whole is not None else missing.rpartition("/")
    if not group:
        return f"{str(error).splitlines()[0]} (--config-name, --config-path)."
    allowed = error.options or groups.groups().get(group, {})
    if not allowed:
        return f"{_asking_file(group, typed)}{group!r} is not a group.{nearest(group, groups.groups())}"
    message = unknown_option(group, option, allowed) + (_trained(option, typed) if group == "model" else "")
    is_typed = any(re.match(rf"{re.escape(group)}=.*{re.escape(option)}", text) for text in typed)
    return message if is_typed else f"{_asking_file(group, typed)}{message}"


def _trained(option: str, typed: Sequence[str]) -> str:
    """A hint if a task needs a trained model but got it as ``model``, which is only an architecture."""
    task = next((text.partition("=")[2] for text in typed if text.startswith("task=")), "")
    names = [field.name for field in dataclasses.fields(TASKS[task])] if task in TASKS else []
    if "models" in names:
        return f" The models to compare are task.models=[{option},...]."
    if "model" in names:
        return f" A trained model is given to task={task} as task.model={option}."
    if task in ("evaluate", "export", "convert"):
        return f" A trained model is given to task={task} as run={option} or checkpoint={option}."
    return ""


def _asking_file(group: str, typed: Sequence[str]) -> str:
    """``conf/experiment/x.yaml: `` if a chosen global file mentions ``group``."""
    for text in typed:
        chosen, _, option = text.partition("=")
        path = groups.groups().get(chosen, {}).get(option)
        if chosen in groups.GLOBAL and path is not None and re.search(rf"/?\b{re.escape(group)}\s*:", groups.read(path)):
            return f"{groups.shown(path)}: "
    return ""


def _composition_message(error: Exception, typed: Sequence[str]) -> str:
    text = str(error)
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    if cause is not None:
        text = f"{text}\n{cause}"
    lines = [line.strip() for line in text.splitlines()]
    place = _place(lines[0])
    full_key = next((line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")), "")
    is_unknown = re.search(r"^Key '[^']+' (is )?not in ", text, re.M)
    if is_unknown and full_key and not full_key.startswith("hydra"):
        return f"{place}{_unknown_key_message(full_key)}"
    if is_unknown and full_key.startswith(("hydra.sweeper.", "hydra.launcher.")):
        return f"{place}{_plugin_key_message(full_key)}"
    key = keys.table().get(re.sub(r"\[\d+\]$", "", full_key))
    if key is not None and ("ValidationError" in lines[0] or cause is not None):
        value = re.search(r"Value '(.*)' (?:of type|is not)", text)
        found = f"is {value[1]!r}" if value else f"does not fit ({lines[1]})"
        return f"{place}{full_key} {found}; expected: {key.expected}. {key.metadata['help']}"
    override = re.search(r"Could not override '([^']+)'", text)
    if override and not override[1].startswith("hydra."):
        group = override[1].split("@")[0].lstrip("/")
        hint, allowed = nearest(group, groups.groups()), ", ".join(groups.groups())
        return f"{place}`override /{group}`: no such group.{hint} Allowed: {allowed}."
    multiple = re.search(r"Multiple values for (\S+)\. To override a value use 'override (\S+) (\S+)'", text)
    if multiple:
        group = multiple[1].lstrip("/").rstrip(".")
        return f"{_asking_file(group, typed)}{group} already has its option; write `- override /{group}: {multiple[3]}`."
    return place + " ".join(line for line in lines[1 if place and len(lines) > 1 else 0 :] if not _bookkeeping(line))


def _unknown_key_message(full_key: str) -> str:
    key = keys.table().get(full_key)
    if key is not None:  # a key of the group's other options
        group = full_key.rpartition(".")[0]
        return f"{full_key} belongs to {group}={' or '.join(key.variants)}; the chosen {group} has no such key."
    if full_key in groups.GLOBAL:
        return "the file writes into the whole configuration, so its first line must be `# @package _global_`."
    return unknown_key(full_key)


def _plugin_key_message(full_key: str) -> str:
    """For a key that the chosen option of ``hydra/sweeper``, ``hydra/launcher`` or one of their groups does not have."""
    path, _, name = full_key.rpartition(".")
    group = path.replace(".", "/")
    nodes = ConfigStore.instance().repo
    for part in group.split("/"):
        nodes = nodes.get(part, {})
    nodes = {file.removesuffix(".yaml"): entry for file, entry in nodes.items() if isinstance(entry, ConfigNode)}
    found = {name: set(nodes[name].node) for name in groups.PLUGIN_OPTIONS.get(group, nodes) if name in nodes}
    having = [option for option, names in found.items() if name in names]
    if having:
        return f"{full_key} belongs to {group}={' or '.join(having)}; the chosen option has no such key."
    names = sorted({key for names in found.values() for key in names if key not in ("_target_", "defaults", "name")})
    return f"unknown key {full_key}.{nearest(name, names)} Keys of {group}, by option: {_by_option(found, names)}."


def _by_option(found: dict[str, set[str]], names: list[str]) -> str:
    listed = {option: [name for name in names if name in has] for option, has in found.items()}
    return "; ".join(f"{option}: {', '.join(has)}" for option, has in listed.items() if has)


def _place(line: str) -> str:
    """``conf/experiment/x.yaml: `` from Hydra's ``In 'experiment/x': ...``; empty if it names no file."""
    named = re.match(r"In '?([\w./-]+?)'?:", line)
    if not named or named[1] == "config":
        return "conf/config.yaml: " if named else ""
    group, _, option = named[1].rpartition("/")
    path = groups.groups().get(group, {}).get(option) or groups.CONF / f"{named[1]}.yaml"
    return f"{groups.shown(path) if path.exists() else named[1]}: "


def _bookkeeping(line: str) -> bool:
    return not line or line.startswith(
        ("full_key:", "object_type=", "reference_type=", "provider=", "See https", "Config search path")
    )
