"""The run that a command builds on: that of run=, resume=, task.model= or task.models=."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deit.config import frozen
from deit.config.schema import RunConfig
from deit.errors import UserError
from deit.runs.recorded_split import recorded


@dataclass(frozen=True)
class References:
    """The references of a command to earlier runs, as typed, and where they are looked up."""

    run: str | None
    resume: str | None
    checkpoint: str | None
    model: str | None  # task.model
    models: Sequence[str] | None  # task.models
    runs_dir: str
    tracking_uri: str | None

    @classmethod
    def of(cls, config: Any, task: Mapping[str, Any]) -> References:
        """Those of a configuration, composed or frozen; ``task`` are the keys of its task."""
        models, tracking = task.get("models"), config.tracking
        return cls(
            config.run,
            config.resume,
            config.checkpoint,
            task.get("model"),
            None if models is None else list(models),
            config.runs_dir,
            tracking.uri if tracking.backend == "mlflow" else None,
        )

    @property
    def given(self) -> dict[str, str]:
        """Those of run=, checkpoint= and resume= that are set."""
        values = {"run": self.run, "checkpoint": self.checkpoint, "resume": self.resume}
        return {key: value for key, value in values.items() if value is not None}

    def __str__(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.given.items())


@dataclass(frozen=True)
class Base:
    """The frozen configuration of that run, and its name in the configuration of the command.

    `last` may mean another run later, so ``keys`` and ``task_keys`` contain paths. ``split`` is the file that lists the images
    of both splits, if they are not in train/ and val/.
    """

    config: RunConfig
    keys: Mapping[str, str]
    task_keys: Mapping[str, Any] = field(default_factory=dict)
    split: str | None = None


def find_base(named: References) -> Base | None:
    """None if no run is referenced. Raises UserError if it does not exist. May contact a store or MLflow."""
    if all(value is None for value in (named.run, named.resume, named.model, named.models)):
        return None
    from deit.lookup.runs import find_run, run_behind  # late, because it imports NumPy

    given = {key: text for key, text in (("run", named.run), ("resume", named.resume)) if text is not None}
    if len(given) > 1:
        raise UserError(f"run={named.run} and resume={named.resume} are both given; run evaluates, resume continues training.")
    for key, text in given.items():
        run = find_run(text, key, named.runs_dir, named.tracking_uri)
        return Base(frozen.load(run.config), {key: str(run.path)}, split=recorded(run))
    if named.models is not None:
        return _of_comparison(named.models, named)
    if named.model is None or named.checkpoint is not None:
        return None
    found = run_behind(named.model, "task.model", named.runs_dir, named.tracking_uri)
    if found is None:
        return None
    run, part = found
    keys = {"run": str(run.path)} if part is None else {"checkpoint": str(part)}
    return Base(frozen.load(run.config), keys, {"model": None}, recorded(run))  # model: replaced by run or checkpoint


def _of_comparison(typed: Sequence[str], named: References) -> Base | None:
    """The run of the first model that has one here: its data are those of the comparison."""
    from deit.inference.model_source import run_of_export
    from deit.lookup.runs import run_behind

    models, first = list(typed), None
    for number, text in enumerate(models):
        found = run_behind(text, "task.models", named.runs_dir, named.tracking_uri)
        if found is not None:
            models[number] = str(found[1] or found[0].path)
        first = first or (found[0] if found is not None else run_of_export(text))
    if first is None:
        return None
    config = frozen.load(first.config)
    # Only its images are used, not its MLflow experiment: that is the one of the data.
    own = config.tracking.experiment != config.data.name
    tracking = dataclasses.replace(
        config.tracking, run_name=None, experiment=config.tracking.experiment if own else "${data.name}"
    )
    return Base(dataclasses.replace(config, name="compare", tracking=tracking), {}, {"models": models}, recorded(first))
