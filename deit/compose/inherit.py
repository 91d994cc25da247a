"""``run=``, ``resume=``, ``task.model=RUN``, ``task.models=[RUN,...]``: a run's configuration with the new overrides on top.

1. The frozen configuration of the run is the base; defaults of ``conf/`` do not apply.
2. A typed group (``hardware=ascend1``) replaces its whole node; a key that its file leaves open (``???``)
   keeps the run's value.
3. A typed key (``data.root=...``) sets its value.
4. Only some keys may then differ: see SAFE_TO_RESUME and FIXED_BY_WEIGHTS.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from deit.compose import keys, overrides
from deit.config.frozen import from_dict, leaves, to_dict
from deit.config.schema import RunConfig
from deit.errors import UserError
from deit.recipe import plan

# Resuming may change only where and how a training computes and reports, not what it computes.
SAFE_TO_RESUME = (
    "resume",
    "dry_run",
    "runs_dir",
    "hardware.*",
    "tracking.*",
    "checkpointing.*",
    "data.root",
    "data.format",
    "data.cache_dir",
    "data.workers",
    "data.batch_size",  # if the global batch stays the same, see _inherit_for_resume
    "data.eval_batch_size",
    "optim.accumulation_steps",
    "optim.on_nonfinite",
    "optim.max_nonfinite",
    "model.attention",
    "distill.teacher",  # its current path: the worker compares its SHA-256
    "schedule.eval_every",
    "schedule.max_steps",
    "schedule.patience",
    "schedule.epochs",  # only upward, see _check_resume
)
# An evaluation must build the model of its weights; a preview builds none.
FIXED_BY_WEIGHTS = ("model.*", "data.num_classes")
FREE_OF_WEIGHTS = ("model.attention", "model.pretrained", "model.freeze")


def inherit(base: RunConfig, composed: DictConfig, typed: Sequence[Override]) -> RunConfig:
    """The configuration of the run ``base``, changed only by ``typed``.

    ``composed`` is Hydra's composition of ``typed`` and ``conf/``, without its ``hydra`` node. Raises UserError if an override
    changes a key that may not change.
    """
    of_task = "task.models" if "models" in composed.task else "task.model"
    purpose = next((key for key in ("resume", "run") if composed[key] is not None), of_task)
    for override in typed:
        if override.key_or_group in ("experiment", "debug") and override.value() is not None:
            raise UserError(
                f"{override.input_line}: not allowed with {purpose}=, whose run already has a complete configuration; "
                "give single keys or groups instead."
            )
    values = _merge(to_dict(base), OmegaConf.to_container(composed, resolve=False), typed)
    result = from_dict(OmegaConf.to_container(OmegaConf.create(values), resolve=True), f"{purpose}=")  # type: ignore[arg-type]
    old, new = dict(leaves(to_dict(base))), dict(leaves(to_dict(result)))
    changed = {key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)}
    if purpose == "resume":
        _check_resume(base, result, changed)
    elif result.task.fixed_by_weights:
        _check_weights(changed, purpose, result.task.resizable)
    return result


def _merge(base: dict[str, Any], composed: Any, typed: Sequence[Override]) -> dict[str, Any]:
    """Plain values, interpolations unresolved so that they use the run's values."""
    values = {**base, "run": None, "checkpoint": None, "resume": None, "dry_run": False}
    for group in (override.key_or_group for override in typed if override.key_or_group in keys.node_types()):
        kept = base[group]
        values[group] = {name: kept.get(name, value) if value == "???" else value for name, value in composed[group].items()}
    # A null number of classes keeps the run's own.
    if values["data"]["num_classes"] is None:
        values["data"]["num_classes"] = base["data"]["num_classes"]
    for key in overrides.dotted(typed):
        group, _, name = key.rpartition(".")
        target, source = (values[group], composed[group]) if group else (values, composed)
        target[name] = source[name]
    missing = [f"{group}.{name}" for group in keys.node_types() for name, value in values[group].items() if value == "???"]
    if missing:
        raise UserError("\n".join(keys.not_given(key, values["task"]["name"]) for key in missing))
    return values


def _check_resume(base: RunConfig, result: RunConfig, changed: dict[str, tuple[Any, Any]]) -> None:
    wrong = [
        f"{key} was {keys.spoken(old)} in this run and cannot become {keys.spoken(new)} with resume=; "
        "start a new run for another recipe."
        for key, (old, new) in changed.items()
        if not any(fnmatch(key, pattern) for pattern in SAFE_TO_RESUME)
    ]
    if result.schedule.epochs < base.schedule.epochs:
        wrong.append(
            f"schedule.epochs was {base.schedule.epochs} in this run and can only increase with resume=, not "
            f"{result.schedule.epochs}; give schedule.max_steps=NUMBER to stop it earlier."
        )
    if plan.global_batch(base) != plan.global_batch(result):
        wrong.append(
            f"A step took {plan.global_batch(base)} images in this run and would take {plan.global_batch(result)} now; change "
            "data.batch_size, optim.accumulation_steps, hardware.cards and hardware.nodes so that their product stays the same."
        )
    if wrong:
        raise UserError("\n".join(wrong))


def _check_weights(changed: dict[str, tuple[Any, Any]], purpose: str, resizable: Sequence[str]) -> None:
    wrong = [
        f"{key} was {keys.spoken(old)} in this run and cannot become {keys.spoken(new)} with {purpose}=: its weights have this "
        "shape."
        for key, (old, new) in changed.items()
        if any(fnmatch(key, pattern) for pattern in FIXED_BY_WEIGHTS) and key not in (*FREE_OF_WEIGHTS, *resizable)
    ]
    if wrong:
        raise UserError("\n".join(wrong))
