"""MLflow's model registry, as ``task=register`` writes to it: a logged model of a run, a version of it, and an alias.

Importing this module imports MLflow, which takes seconds; import it late. A call succeeds or raises one of
``deit.tracking.mlflow_errors``.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import LoggedModelOutput, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from deit.installation import source_name, words
from deit.runs.journal import now_ms
from deit.runs.outcome import finished
from deit.secrets import with_credentials
from deit.tracking.records import Point
from deit.tracking.remote import RemoteRun, check_artifacts, connect, find_experiment, runs_of, translated

_MLMODEL = "MLmodel"


@dataclass(frozen=True)
class Origin:
    """The run of the registered weights, if known: its id and directory, and the step of the weights."""

    run_id: str
    directory: str
    step: int


@dataclass(frozen=True)
class Registered:
    """``version`` of the registered model; ``found``: it was logged to the run of its weights."""

    version: str
    experiment_id: str
    run_id: str
    found: bool


class Registry:
    """The registry of a store, for one model name."""

    def __init__(self, uri: str, name: str) -> None:
        """Raises Unavailable, at once, if the store does not respond or has no registry."""
        self._uri, self._name = uri, name
        self._client = connect(with_credentials(uri))
        # A registry in a database finds a logged model by the tracking URI of the process, not of the client.
        mlflow.set_tracking_uri(self._client.tracking_uri)
        with translated():
            self._client.search_registered_models(max_results=1)

    def register(
        self,
        package: Path,
        *,
        alias: str | None,
        origin: Origin | None,
        experiment: str,
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> Registered:
        """Log the MLflow model in the folder ``package``, make it the next version, and move ``alias`` to that version.

        It is logged to the run of ``origin``; if that is not in the store, to a new run of ``experiment``, with ``metrics``.
        If a step fails, the earlier ones are undone as far as the store still responds. Raises as all of this module.
        """
        run = self._run_of(origin)
        remote = RemoteRun(self._client, self._uri, run.info.run_id) if run else self._new_run(experiment)
        step = origin.step if origin else 0
        with contextlib.ExitStack() as undo:
            if run is None:
                undo.callback(self._drop, self._client.delete_run, remote.run_id)
            model_id = self._log(package, remote, step, tags, undo)
            now = now_ms()
            new = [Point(name, value, now, step) for name, value in metrics.items()]
            points = self._points(remote.run_id, metrics, step) if run else new
            remote.send(points, model_id)
            version = self._version(model_id, remote.run_id, tags, undo)
            if alias is not None:
                with translated():
                    self._client.set_registered_model_alias(self._name, alias, version.version)
            if run is None:
                remote.end(finished().mlflow_status, now_ms())
            undo.pop_all()
        return Registered(str(version.version), remote.experiment_id, remote.run_id, run is not None)

    def _run_of(self, origin: Origin | None) -> Run | None:
        """The newest run in any experiment that a shipper has created for this run directory."""
        if origin is None or not re.fullmatch(r"[\w.-]+", origin.run_id):
            return None
        with translated():
            experiments = [experiment.experiment_id for experiment in mlflow.search_experiments()]
        return next(iter(runs_of(self._client, experiments, origin.run_id, origin.directory)), None)

    def _new_run(self, experiment: str) -> RemoteRun:
        experiment_id = find_experiment(self._client, self._uri, experiment)
        tags = {"task": "register", "mlflow.source.name": source_name(words()), "mlflow.source.type": "LOCAL"}
        return RemoteRun.create(self._client, self._uri, experiment_id, self._name, tags, now_ms())

    def _log(self, package: Path, remote: RemoteRun, step: int, tags: Mapping[str, str], undo: contextlib.ExitStack) -> str:
        with translated():
            logged = self._client.create_logged_model(
                remote.experiment_id, self._name, source_run_id=remote.run_id, tags=dict(tags), model_type="classifier"
            )
            model_id = str(logged.model_id)
            undo.callback(self._drop, self._client.delete_logged_model, model_id)
            check_artifacts(self._uri, logged.artifact_location)
            about = Model.load(str(package))
            about.model_id = about.model_uuid = model_id
            about.run_id, about.artifact_path = remote.run_id, logged.artifact_location
            about.save(str(package / _MLMODEL))
            self._client.log_model_artifacts(model_id, str(package))
            self._client.finalize_logged_model(model_id, "READY")
            self._client.log_outputs(remote.run_id, [LoggedModelOutput(model_id, step)])
        return model_id

    def _points(self, run_id: str, metrics: Mapping[str, float], step: int) -> list[Point]:
        """The run's own metrics of that step with their times: MLflow does not duplicate them when they are sent again."""
        with translated():
            histories = [self._client.get_metric_history(run_id, name) for name in metrics]
        return [Point(m.key, m.value, m.timestamp, m.step) for history in histories for m in history if m.step == step]

    def _version(self, model_id: str, run_id: str, tags: Mapping[str, str], undo: contextlib.ExitStack) -> ModelVersion:
        with translated():
            try:
                self._client.create_registered_model(self._name)
                undo.callback(self._drop, self._client.delete_registered_model, self._name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            version = self._client.create_model_version(
                self._name, f"models:/{model_id}", run_id, tags=dict(tags), model_id=model_id, await_creation_for=0
            )
            undo.callback(self._drop, self._client.delete_model_version, self._name, version.version)
            # The UI uses this for its link from the logged model to the version.
            versions = json.dumps([{"name": self._name, "version": version.version}])
            self._client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: versions})
        return version

    @staticmethod
    def _drop(delete: Any, *which: str) -> None:
        # The failure may have affected the whole store.
        with contextlib.suppress(Exception):
            delete(*which)
