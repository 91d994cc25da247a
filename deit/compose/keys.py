"""The schema as one flat table of dotted keys, for checking what is typed and for the help pages."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deit.config.frozen import type_name
from deit.config.schema import VARIANTS, RunConfig

# Names from timm, facebookresearch/deit and other trainers, and the keys here.
ALIASES: dict[str, str | tuple[str, ...]] = {
    "aa": "augment.auto_augment",
    "amp": "precision",
    "attn_only": "model.freeze",
    "b": "data.batch_size",
    "bs": "data.batch_size",
    "data_path": "data.root",
    "data_set": "data",
    "dataset": "data",
    "device": "hardware.target",
    "devices": "hardware.cards",
    "drop": "model.drop_rate",
    "drop_path": "model.drop_path_rate",
    "early_stopping": "schedule.patience",
    "finetune": "model.pretrained",
    "gpus": "hardware.cards",
    "initial_checkpoint": "model.pretrained",
    "input_size": "model.img_size",
    "learning_rate": "optim.base_lr",
    "lr": "optim.base_lr",
    "model_ema": "ema.enabled",
    "model_ema_decay": "ema.decay",
    "num_workers": "data.workers",
    "opt": "optim",
    "optimizer": "optim",
    "output": "runs_dir",
    "output_dir": "runs_dir",
    "runs": ("task.models", "runs_dir"),
    "sched": "schedule",
    "scheduler": "schedule",
    "teacher_path": "distill.teacher",
    "wd": "optim.weight_decay",
}


@dataclass(frozen=True)
class Key:
    """One key: its dotted path, the dataclass that has it, its type and the metadata of ``option``."""

    path: str
    owner: type
    hint: Any
    metadata: Mapping[str, Any]
    variants: tuple[str, ...] = ()  # the options of its group that have it, where not all do

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def expected(self) -> str:
        """The allowed values in words: ``a whole number (epochs), at least 1``."""
        if "choices" in self.metadata:
            return limits_text(self.metadata)
        parts = [type_name(self.hint)]
        if "unit" in self.metadata:
            parts[0] += f" ({self.metadata['unit']})"
        if "length" in self.metadata:
            parts.append(f"{self.metadata['length']} values")
        limits = limits_text(self.metadata)
        return ", ".join(parts + ([limits] if limits else []))


def limits_text(metadata: Mapping[str, Any]) -> str:
    """Choices and limits of an option in words; empty if there are none."""
    if "choices" in metadata:
        return "one of " + ", ".join(map(str, metadata["choices"]))
    words = {"low": "at least", "above": "above", "high": "at most"}
    return ", ".join(f"{word} {metadata[limit]}" for limit, word in words.items() if limit in metadata)


def spoken(value: Any) -> str:
    """A value for messages: as typed, text in quotes."""
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else repr(value)


@functools.cache
def table() -> dict[str, Key]:
    """All keys by dotted path, in schema order, including those of all variants of a group."""
    return {
        path: dataclasses.replace(found[-1], variants=tuple(name for key in found for name in key.variants))
        for path, found in definitions().items()
    }


@functools.cache
def definitions() -> dict[str, list[Key]]:
    """As ``table``, with every meaning of a key: ``task.format`` has other values in each task."""
    keys: dict[str, list[Key]] = {}
    for group, kind in {**node_types(), "": RunConfig}.items():
        shared = {field.name for field in dataclasses.fields(kind)}
        for variant, owner in VARIANTS.get(kind, {"": kind}).items():
            hints = typing.get_type_hints(owner)
            for field in dataclasses.fields(owner):
                if owner is RunConfig and field.name in node_types():
                    continue
                path, hint = f"{group}.{field.name}".lstrip("."), hints[field.name]
                found = keys.setdefault(path, [])
                same = next((key for key in found if (key.hint, key.metadata) == (hint, field.metadata)), None)
                if same is None:
                    same = Key(path, owner, hint, field.metadata)
                    found.append(same)
                if field.name not in shared:
                    found[found.index(same)] = dataclasses.replace(same, variants=(*same.variants, variant))
    return keys


def not_given(path: str, task: str) -> str:
    """The message for a key without a value; ``task`` is the chosen task."""
    key = next((key for key in definitions()[path] if task in key.variants), table()[path])
    return f"{path} is not set, and no chosen file sets it; give {path}=VALUE, {key.expected}. {key.metadata['help']}"


@functools.cache
def node_types() -> dict[str, type]:
    """The groups that are nodes of the configuration, and their dataclasses: task, model, data ..."""
    hints = typing.get_type_hints(RunConfig)
    return {name: hint for name, hint in hints.items() if isinstance(hint, type) and dataclasses.is_dataclass(hint)}


def siblings(path: str) -> list[str]:
    """The siblings of ``path``: the keys of its group, or the groups and keys of the root."""
    group = path.rpartition(".")[0]
    if group in node_types():
        return [key.name for key in table().values() if key.path.startswith(f"{group}.")]
    return [*node_types(), *(path for path in table() if "." not in path)]


def suggestion(path: str) -> str:
    """`` Did you mean 'optim.base_lr'?`` for an unknown key, or the empty string.

    Tries, in this order: a name known from other trainers, the same name in another group, a similar name in the same group,
    and a similar name anywhere.
    """
    group, _, name = path.replace("-", "_").rpartition(".")
    prefix = f"{group}." if group in node_types() else ""
    exact = [key for key in table() if key.rpartition(".")[2] == name]
    if name in ALIASES:
        alias = ALIASES[name]
        found = [alias] if isinstance(alias, str) else [*alias]
    elif exact:
        found = exact
    else:
        close = difflib.get_close_matches(name, siblings(path), n=1, cutoff=0.6)
        found = [prefix + close[0]] if close else difflib.get_close_matches(path, table(), n=1, cutoff=0.6)
        if not found:
            last = difflib.get_close_matches(name, [key.rpartition(".")[2] for key in table()], n=1, cutoff=0.7)
            found = [key for key in table() if last and key.rpartition(".")[2] == last[0]]
    return f" Did you mean {' or '.join(repr(key) for key in found[:3])}?" if found else ""
