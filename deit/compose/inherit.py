"""``run=``, ``resume=``, ``task.model=RUN``, ``task.models=[RUN,...]``: a run's configuration, with what is typed now on top.

1. The frozen configuration of the run is the base; defaults of ``conf/`` do not touch it.
2. A typed group (``hardware=ascend1``) brings its whole node; a key that its file leaves open (``???``)
   keeps the run's value.
3. A typed key (``data.root=...``) brings its value.
4. What then differs must be allowed to: see SAFE_TO_RESUME and FIXED_BY_WEIGHTS.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from deit.compose import keys, overrides
from deit.config import frozen
from deit.config.frozen import from_dict, to_dict
from deit.config.schema import RunConfig
from deit.config.tasks import CompareTask, InferenceTask, RegisterTask
from deit.errors import UserError
from deit.recipe import plan

# A resumed training stays the training it was: only where and how it computes and reports may change.
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
    "data.batch_size",  # as long as the global batch stays, see _inherit_for_resume
    "data.eval_batch_size",
    "optim.accumulation_steps",
    "optim.on_nonfinite",
    "optim.max_nonfinite",
    "model.attention",
    "distill.teacher",  # where it lies now: the worker compares its SHA-256
    "schedule.eval_every",
    "schedule.max_steps",
    "schedule.epochs",  # upward, see _check_resume
)
# An evaluation must build the model whose weights it loads; a preview builds none.
FIXED_BY_WEIGHTS = ("model.*", "data.num_classes")
FREE_OF_WEIGHTS = ("model.attention", "model.pretrained")
RESIZABLE = ("model.img_size",)  # an export resizes the position embedding


def inherit(base: RunConfig, composed: DictConfig, typed: Sequence[Override]) -> RunConfig:
    """The configuration of the run ``base``, changed by what is typed and nothing else.

    ``composed`` is what Hydra made of ``typed`` and ``conf/``, without its ``hydra`` node. Raises UserError
    where something typed may not change.
    """
    of_task = "task.models" if "models" in composed.task else "task.model"
    purpose = next((key for key in ("resume", "run") if composed[key] is not None), of_task)
    for override in typed:
        if override.key_or_group in ("experiment", "debug") and override.value() is not None:
            raise UserError(
                f"{override.input_line}: cannot go with {purpose}=, whose run has its whole configuration already; "
                "give single keys or groups instead."
            )
    values = _merge(to_dict(base), OmegaConf.to_container(composed, resolve=False), typed)
    result = from_dict(OmegaConf.to_container(OmegaConf.create(values), resolve=True), f"{purpose}=")  # type: ignore[arg-type]
    changed = {key: (old, new) for key, old, new in _differences(to_dict(base), to_dict(result))}
    if purpose == "resume":
        _check_resume(base, result, changed)
    elif result.task.name not in ("preview", "compare"):  # of which the one has no weights, the other each model's own
        _check_weights(changed, purpose, RESIZABLE if result.task.name == "export" else ())
    return result


def _merge(base: dict[str, Any], composed: Any, typed: Sequence[Override]) -> dict[str, Any]:
    """Plain values, interpolations unresolved so that they see the run's values."""
    values = {**base, "run": None, "checkpoint": None, "resume": None, "dry_run": False}
    for group in overrides.chosen_groups(typed):
        if group in keys.node_types():
            kept = base[group]
            values[group] = {
                name: kept.get(name, value) if value == "???" else value for name, value in composed[group].items()
            }
    # With null in place of a number of classes the run's own stands.
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


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for name in {**old, **new}:
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{prefix}{name}.")
        elif before != after:
            yield prefix + name, before, after


def _check_resume(base: RunConfig, result: RunConfig, changed: dict[str, tuple[Any, Any]]) -> None:
    wrong = [
        f"{key} was {keys.spoken(old)} in this run and cannot become {keys.spoken(new)} with resume=; "
        "start a new run for another recipe."
        for key, (old, new) in changed.items()
        if not any(fnmatch(key, pattern) for pattern in SAFE_TO_RESUME)
    ]
    if result.schedule.epochs < base.schedule.epochs:
        wrong.append(
            f"schedule.epochs was {base.schedule.epochs} in this run and can only become more with resume=, not "
            f"{result.schedule.epochs}; give schedule.max_steps=NUMBER to end it earlier."
        )
    if plan.global_batch(base) != plan.global_batch(result):
        wrong.append(
            f"A step took {plan.global_batch(base)} images in this run and would take {plan.global_batch(result)} now; change "
            "data.batch_size, optim.accumulation_steps, hardware.cards and hardware.nodes so that their product stays."
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


@dataclass(frozen=True)
class Base:
    """The run that a command builds on: its frozen configuration, and the keys that name it, as they are to be frozen.

    `last` may be another run by the time it is needed, so the keys hold paths. ``of_model``: it was task.model that named it.
    """

    config: RunConfig
    keys: dict[str, str]
    models: list[str] | None = None  # of a comparison
    of_model: bool = False

    def name_in(self, config: RunConfig) -> None:
        """Put the paths into the configuration of the command."""
        if self.models is not None:
            assert isinstance(config.task, CompareTask)
            config.task.models = self.models
        for key, path in self.keys.items():
            setattr(config, key, path)
        if self.of_model:
            assert isinstance(config.task, InferenceTask | RegisterTask)
            config.task.model = None  # run or checkpoint say it


def find_base(composed: DictConfig) -> Base | None:
    """The run that ``composed`` names by run=, resume= or task.model=; None where it names none.

    Raises UserError where the run is not there.
    """
    from deit.lookup.runs import find_run, run_behind

    given = [key for key in ("run", "resume") if composed[key] is not None]
    if len(given) > 1:
        raise UserError(f"run={composed.run} and resume={composed.resume} are both given; run is to evaluate, resume to go on.")
    tracking_uri = composed.tracking.uri if composed.tracking.backend == "mlflow" else None
    if given:
        run = find_run(composed[given[0]], given[0], composed.runs_dir, tracking_uri)
        return Base(frozen.load(run.config), {given[0]: str(run.path)})
    if "models" in composed.task:
        return _base_of_comparison(composed, tracking_uri)
    model = _model_of_task(composed)
    if model is None or composed.checkpoint is not None:
        return None
    found = run_behind(model, "task.model", composed.runs_dir, tracking_uri)
    if found is None:
        return None
    run, part = found
    named = {"run": str(run.path)} if part is None else {"checkpoint": str(part)}
    return Base(frozen.load(run.config), named, of_model=True)


def _base_of_comparison(composed: DictConfig, tracking_uri: str | None) -> Base | None:
    """The run of the first model that belongs to one that is here: its data are those of the comparison."""
    from deit.inference.model_source import run_of_export
    from deit.lookup.runs import run_behind

    models, first = list(map(str, composed.task.models)), None
    for number, text in enumerate(models):
        found = run_behind(text, "task.models", composed.runs_dir, tracking_uri)
        if found is not None:
            models[number] = str(found[1] or found[0].path)
        first = first or (found[0] if found is not None else run_of_export(text))
    if first is None:
        return None
    config = frozen.load(first.config)
    # Its images are wanted, not its place in MLflow: the experiment is that of the data, whatever is typed of them.
    own = config.tracking.experiment != config.data.name
    tracking = dataclasses.replace(
        config.tracking, run_name=None, experiment=config.tracking.experiment if own else "${data.name}"
    )
    return Base(dataclasses.replace(config, name="compare", tracking=tracking), {}, models)


def _model_of_task(composed: DictConfig) -> str | None:
    return composed.task.model if "model" in composed.task else None
