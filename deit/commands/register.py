"""``task=register``: an exported network as the next version of a model in MLflow's registry, ready to be served.

With ``run=`` its export is registered; a worker makes it first if it is missing (``task=export``). The model is loaded and
tested before it is registered (``deit.serving.package``). ``deit.serving.model`` has its request format.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from deit.commands.export import TASK as EXPORT
from deit.commands.sync import typed_uri
from deit.commands.task import Task
from deit.compose import rules
from deit.compose.unused_keys import Unused
from deit.config import frozen
from deit.config.schema import RunConfig
from deit.config.tasks import ExportTask, RegisterTask
from deit.console import console
from deit.errors import UserError
from deit.exports import description
from deit.exports.description import Description
from deit.exports.origin import find_origin, usual_folder
from deit.inference.model_source import export_folder
from deit.launching.display import lines_of
from deit.lookup.base_run import References
from deit.machine import signals
from deit.machine.logs import log_to
from deit.runs.directory import RunDirectory, shown
from deit.runs.outcome import interrupted
from deit.secrets import redact
from deit.tracking import uri as store
from deit.tracking.mlflow_errors import Refused, RunGone, Unavailable, reason
from deit.tracking.sender import store_of

if TYPE_CHECKING:
    from deit.tracking.registry import Registered, Registry

SERVED_FORMATS = ("mindir", "onnx")
PORT = 5001  # beside `mlflow ui`, which listens at 5000


class Register(Task[RegisterTask]):
    is_trial = False

    def refuses(self, named: References) -> list[str]:
        sources = [f"task.model={named.model}"] if named.model is not None else []
        sources += [f"{key}={value}" for key, value in named.given.items()]
        if len(sources) != 1 or set(named.given) - {"run"}:
            return [
                "task=register needs either run (a run directory, `last`, an MLflow run id) or task.model (a folder of "
                f"task=export), but {'given are ' + ', '.join(sources) if sources else 'neither is given'}."
            ]
        return []

    def rules(self, config: RunConfig) -> list[str]:
        found = _names(self.of(config)) + _registry(config)
        return found + (rules.data(config) + rules.model(config) if config.run is not None else [])

    def unused(self, found: Unused) -> None:
        """What an export of the run ignores; for an existing export everything except the registry."""
        config, told = found.config, "while task.model is an export"
        if config.run is None:
            found.add(True, told, "task.format", "task.which", "task.weights", "name", "runs_dir")
            groups = ("model", "data", "hardware")
            found.add(True, told, *(f"{group}.{key}" for group in groups for key in vars(getattr(config, group))))
        else:
            found.all_but("hardware", "hang_timeout", "grace_period", "max_restarts")
            found.all_but("model")
            found.training_data()
        found.all_but("tracking", "backend", "uri", "experiment")
        found.with_task("seed", "weights_dir")

    def prepare(self, config: RunConfig, *, here: bool = True) -> RunConfig:  # only called for a sweep
        raise UserError("task=register cannot be a trial of a sweep: it adds one version at a time; run it alone.")

    def dry_run(self, config: RunConfig, typed: list[str]) -> int:
        from deit.commands.dry_run import rehearse

        rehearse(lambda: _look(config, self.of(config), typed), lambda _: self.outline(config, starts=False))
        return 0

    def outline(self, config: RunConfig, *, starts: bool) -> None:
        task = self.of(config)
        of = f"run={config.run}" if config.run is not None else f"task.model={task.model}"
        alias = f" as {task.alias}" if task.alias is not None else ""
        console().print(f"would register {of} under the name {task.registered_model_name}{alias} in {config.tracking.uri}")

    def run(self, config: RunConfig, typed: list[str]) -> int:
        """Register, and show how to serve. Returns the exit code.

        Raises UserError: with exit code 2 if there is nothing to register, 1 if the store rejects it.
        """
        task = self.of(config)
        uri, export, folder, described = _found(config, task, typed)
        log_to(sys.stderr, level=30, form="%(message)s")  # warnings
        console().print(f"registering {task.registered_model_name} in {redact(uri)}")
        registry = _asked(uri, task.registered_model_name)  # fail before the export if the store is unreachable
        if described is None:
            assert export is not None  # of a run that has none yet
            if code := EXPORT.run(export, typed):
                return code
            described = _checked(folder, task, export)
        with signals.handled(_leave):
            registered = _registered(registry, uri, config, task, folder, described)
        console().print(lines_of(_rows(task, uri, folder, described, registered)))
        console().print("\n".join(["", *serving_lines(task, uri, registered.version)]))
        return 0


def _found(config: RunConfig, task: RegisterTask, typed: list[str]) -> tuple[str, RunConfig | None, Path, Description | None]:
    """The store; what to give ``task=export`` for a run; the folder of the export, and its description if it is there.

    Raises UserError if there is nothing to register.
    """
    uri = _store(config, typed)
    export = None if config.run is None else _export_config(config, task)
    folder = usual_folder(export, find_origin(export)) if export is not None else export_folder(task.model or "")
    if folder is None:
        raise UserError(f"task.model={task.model}: not a folder of task=export nor its file; give one, or run=RUN.")
    there = _checked(folder, task, export) if export is None or folder.exists() else None
    return uri, export, folder, there


def _look(config: RunConfig, task: RegisterTask, typed: list[str]) -> None:
    """The checks of ``Register.run``, without asking the registry."""
    from deit.preflight.tracking_store import look
    from deit.preflight.unchecked import unchecked

    uri, export, _, there = _found(config, task, typed)
    look(dataclasses.replace(config.tracking, uri=uri))
    if there is None:
        assert export is not None  # of a run that has none yet
        EXPORT.ready(export)
    unchecked(f"tracking.uri={redact(uri)}: whether its registry takes the model")


def _names(task: RegisterTask) -> list[str]:
    name, alias, found = task.registered_model_name, task.alias, []
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        found.append(
            f"task.registered_model_name is {name!r}; allowed: letters, digits, `.`, `_` and `-`, the first a letter or digit."
        )
    # MLflow reserves v1, v2, ... and latest for versions.
    if alias is not None and not re.fullmatch(r"(?!(?i:v\d+|latest)$)[A-Za-z0-9_-]{1,255}", alias):
        found.append(
            f"task.alias is {alias!r}; allowed: letters, digits, `_` and `-`, except `latest` and v with a number, which "
            "MLflow reserves for versions."
        )
    return found


def _registry(config: RunConfig) -> list[str]:
    if config.tracking.backend == "none":
        return [
            "tracking.backend is none, but task=register writes into MLflow's model registry; give tracking=mlflow "
            "tracking.uri=URI."
        ]
    return rules.tracking(config)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """Exit through SystemExit, so that the package is removed and a partial upload is undone."""
    outcome = interrupted(number)
    console(stderr=True).print(f"{outcome.message}; nothing was registered")
    raise SystemExit(outcome.exit_code)


def _store(config: RunConfig, overrides: Sequence[str]) -> str:
    """The typed URI, else the run's own as seen from where it was launched, else the configuration's."""
    typed = typed_uri(config, overrides)
    if typed is not None:
        return typed
    if config.run is not None:
        run = RunDirectory(config.run)
        own = frozen.load(run.config)
        if own.tracking.backend == "mlflow" and own.tracking.uri == config.tracking.uri:
            return store_of(run, own)
    assert config.tracking.uri is not None
    return store.anchored(config.tracking.uri, Path.cwd())


def _export_config(config: RunConfig, task: RegisterTask) -> RunConfig:
    """The configuration of ``task=export`` for the run."""
    export = ExportTask(
        "export",
        format=task.format,
        which=task.which,
        weights=task.weights,
        precision="float32",
        batch=None,
        preprocess_in_graph=False,
        images=64,
        output=None,
    )
    return dataclasses.replace(config, task=export)


def _checked(folder: Path, task: RegisterTask, export: RunConfig | None) -> Description:
    """The description of an export, after comparing its checksum.

    Raises UserError if it is damaged, was never verified, cannot be served, or has other weights than the run's.
    """
    source = f"run={export.run}" if export is not None else f"task.model={task.model}"
    described = description.read(folder, source)
    if described.export_format not in SERVED_FORMATS:
        raise UserError(f"{source}: is {described.export_format}; formats that can be served: {' and '.join(SERVED_FORMATS)}.")
    if described.verification is None:
        raise UserError(f"{source}: {folder / description.FILE} has no verification; export it again with task=export.")
    if export is not None:
        origin = find_origin(export)
        if described.verification.against.split()[-1] != origin.sha256:
            step = described.run.step if described.run else "unknown"
            raise UserError(
                f"{source}: its export {shown(folder)} has the weights of step {step} instead of {shown(origin.file)}; "
                f"remove it so that it is exported again, or give task.model={shown(folder)}."
            )
    return described


def _asked(uri: str, name: str) -> Registry:
    from deit.tracking.registry import Registry  # imports MLflow

    try:
        return Registry(uri, name)
    except (Refused, RunGone, Unavailable) as error:
        raise UserError(
            f"tracking.uri={redact(uri)}: its model registry does not respond ({redact(reason(error))}).", exit_code=1
        ) from None


def _registered(
    registry: Registry, uri: str, config: RunConfig, task: RegisterTask, folder: Path, described: Description
) -> Registered:
    from deit.serving.package import packaged
    from deit.tracking.registry import Origin

    run, metrics = described.run, described.metrics
    prefix = "val_ema" if described.weights == "ema" else "val"
    found = {} if metrics is None else {f"{prefix}/{name}": value for name, value in dataclasses.asdict(metrics).items()}
    told: dict[str, Any] = {
        "model": described.model.name,
        "format": described.export_format,
        "weights": described.weights,
        "precision": described.precision,
        "sha256": described.sha256,
        **({} if run is None else {"run.id": run.id, "run.step": run.step}),
        **({} if metrics is None else {"top1": metrics.top1, "top5": metrics.top5}),
        **({} if described.calibration is None else {"temperature": described.calibration.temperature}),
    }
    with packaged(folder, described, {**told, "classes": described.classes}) as package:
        try:
            return registry.register(
                package,
                alias=task.alias,
                origin=None if run is None else Origin(run.id, run.directory, run.step),
                experiment=config.tracking.experiment,
                metrics=found,
                tags={key: str(value) for key, value in told.items()},
            )
        except (Refused, RunGone, Unavailable, OSError) as error:
            raise UserError(
                f"tracking.uri={redact(uri)}: rejected the model ({redact(reason(error))}). Nothing was registered.",
                exit_code=1,
            ) from None


def _rows(task: RegisterTask, uri: str, folder: Path, described: Description, registered: Registered) -> list[tuple[str, str]]:
    metrics, run = described.metrics, described.run
    weights = "EMA (moving average)" if described.weights == "ema" else "raw"
    weights += f" of {shown(run.directory)}, step {run.step}" if run else ""
    weights += f", top-1 {metrics.top1:.2f} % on its validation images" if metrics else ""
    where = "the run of its weights" if registered.found else "a new run: that of its weights is not in this store"
    return [
        ("model", f"{task.registered_model_name}, version {registered.version}"),
        ("alias", task.alias or "none"),
        ("file", f"{shown(folder / described.file)}, {described.bytes:,} bytes, {len(described.classes)} classes"),
        ("weights", weights),
        ("logged to", f"{where}, {registered.run_id}"),
        ("", store.run_url(uri, registered.experiment_id, registered.run_id)),
    ]


def serving_lines(task: RegisterTask, uri: str, version: str) -> list[str]:
    """The commands that serve the model and send a request."""
    named = f"{task.registered_model_name}@{task.alias}" if task.alias else f"{task.registered_model_name}/{version}"
    variable = f"MLFLOW_TRACKING_URI={shlex.quote(redact(uri))}"
    return [
        "serve it, then send a request:",
        f"  {variable} mlflow models serve -m models:/{named} --env-manager local --port {PORT}",
        f"""  printf '{{"dataframe_split": {{"columns": ["image"], "data": [["%s"]]}}}}' "$(base64 -w0 photo.jpg)" | """
        f"curl -s http://127.0.0.1:{PORT}/invocations -H 'Content-Type: application/json' -d @-",
    ]


TASK = Register()
