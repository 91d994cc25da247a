"""The help pages: built from ``conf/`` and the schema, so that they are always current."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.table import Table

from deit.compose import flags, groups, keys, overrides
from deit.console import console, titled
from deit.errors import UserError, nearest
from deit.installation import program

GROUPS = {
    "task": "what to do",
    "model": "the network",
    "data": "the images",
    "augment": "training transform, mixup, CutMix, label smoothing",
    "loss": "loss on the labels",
    "optim": "optimizer and its learning rate",
    "schedule": "learning-rate schedule, epochs",
    "ema": "moving average of the weights",
    "distill": "teacher and distillation loss",
    "precision": "float types and loss scale",
    "hardware": "device, cards, machines",
    "tracking": "where metrics are recorded",
    "checkpointing": "how often checkpoints are written, how many are kept",
    "experiment": "complete recipes",
    "debug": "small variants of a recipe, for debugging",
    "sweep": "templates of sweeps",
}
EXAMPLES = {
    "task=doctor": "what this machine can do; the first command on a new server",
    "experiment=quickstart": "on any laptop, data included, minutes",
    "experiment=finetune data.root=photos": "your own photos: folders of images, one per class",
    "model=deit_small hardware=ascend8 dry_run=true": "show a recipe, start nothing",
    "experiment=quickstart task=preview": "pictures of the training batches",
    "-m model=deit_tiny,deit_small optim.base_lr=5e-4,1e-3": "every combination, one run each",
    "resume=last": "resume an interrupted training",
    "task=evaluate run=last": "top-1 and top-5 of a finished training",
}
MORE = {
    "--help GROUP": "the options and keys of a group, or of one key: --help optim, --help optim.base_lr",
    "-m": "a sweep over lists of values",
    "--cfg job": "print the composed configuration (with --resolve: its final values)",
    "--info": "where each value comes from",
    "--config-dir FOLDER": "your own options: FOLDER/optim/mine.yaml is optim=mine, like a file of conf/",
    "--hydra-help": "the flags of Hydra, which composes the configuration",
    "--version": "versions of this program and of what it uses",
}


def show(topics: Sequence[str]) -> None:
    """Print the front page, or the page of each topic: a group or a dotted key. ``key=value`` among the topics changes
    the values shown. Raises UserError for an unknown topic.
    """
    subjects = [topic for topic in topics if "=" not in topic]
    for topic in subjects:
        if topic not in groups.groups() and topic not in keys.table():
            raise UserError(
                f"--help {topic}: neither a group nor a key.{nearest(topic, groups.groups()) or keys.suggestion(topic)} "
                f"Groups: {', '.join(groups.groups())}."
            )
    if not subjects:
        _front()
        return
    changes = [topic for topic in topics if "=" in topic]
    overrides.check(changes, sweeping=False)
    values = composed(changes)
    for topic in subjects:
        _topic(topic, values)


def _front() -> None:
    console().print(titled(program(), " GROUP=OPTION ... KEY=VALUE ...\n"))
    console().print("Trains, compares and evaluates DeiT on MindSpore. Without arguments: DeiT-small on ImageNet.\n")
    chosen = groups.defaults()
    tables = {group: (what, groups.groups()[group]) for group, what in GROUPS.items()}
    console().print(titled("groups", " (* is the default)"))
    grid = _grid()
    for group, (what, found) in tables.items():
        if group not in ("experiment", "sweep", "task"):
            grid.add_row(group, what, "  ".join(f"{name}*" if name == chosen[group] else name for name in found))
    console().print(grid)
    for group in ("task", "experiment", "sweep"):
        console().print(titled(f"\n{group}=", f"  {tables[group][0]}"))
        console().print(_options(group))
    examples = {f"{program()} {typed}": meaning for typed, meaning in EXAMPLES.items()}
    complete = {flags.completion(): "complete keys and options with the Tab key; put it into ~/.bashrc to keep it"}
    for title, entries in (("examples", examples), ("more", MORE | complete)):
        console().print(titled(f"\n{title}"))
        grid = _grid()
        for what, meaning in entries.items():
            grid.add_row(what, meaning)
        console().print(grid)


def _topic(topic: str, values: dict[str, Any]) -> None:
    if topic in groups.groups():
        console().print(titled(f"{topic}=", f"  {GROUPS.get(topic, '')}"))
        console().print(_options(topic))
    shown = [
        key for path, found in keys.definitions().items() for key in found if path == topic or path.startswith(f"{topic}.")
    ]
    if not shown:
        return
    console().print(titled("\nkeys", ", what is allowed, and the value now\n"))
    grid = _grid()
    for key in shown:
        grid.add_row(key.path, key.expected, value(key, values), key.metadata["help"])
    console().print(grid)


def _options(group: str) -> Table:
    grid = _grid()
    for name, path in groups.groups()[group].items():
        grid.add_row(f"{name}*" if name == groups.defaults().get(group) else name, groups.describe(path))
    return grid


def _grid() -> Table:
    return Table(box=None, show_header=False, padding=(0, 3, 0, 0), pad_edge=False, collapse_padding=True)


def _yaml(value: Any) -> str:
    """A value as typed: null, true, [0.9, 0.999]."""
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


def composed(changes: list[str]) -> dict[str, Any]:
    """The composed values, interpolations unresolved."""
    with initialize_config_dir(str(groups.CONF), version_base="1.3"):
        return OmegaConf.to_container(compose("config", changes), resolve=False)  # type: ignore[return-value]


def value(key: keys.Key, values: dict[str, Any]) -> str:
    """The value of a key in ``values`` from ``composed``, or the options of its group that have it."""
    group, _, name = key.path.rpartition(".")
    node = values.get(group, {}) if group else values
    is_there = name in node and (not key.variants or node.get("name") in key.variants)
    return _yaml(node[name]) if is_there else f"only {group}={' or '.join(key.variants)}"
