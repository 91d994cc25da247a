"""The remote end: MLflow, as the shipper writes to it.

Importing this module imports MLflow, which takes seconds; import it late. MLflow's own retries block for minutes and then give
up, so they are off: each call fails fast, and the caller tries again. A call succeeds or raises one of
``deit.tracking.mlflow_errors``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Read by MLflow at its import, or at its calls.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.pop("MLFLOW_RUN_ID", None)  # inherited from the parent; MLflow would end that run at our exit
# A container with a random user id has neither; MLflow needs both at its import and for each run.
if "HOME" not in os.environ and os.path.expanduser("~") == "~":  # noqa: PTH111  # Path would raise
    os.environ["HOME"] = tempfile.gettempdir()
if not any(name in os.environ for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
    os.environ["USER"] = f"user {os.getuid()}"

import numpy as np
import requests
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LifecycleStage, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.models.utils import get_external_mlflow_model_spec
from mlflow.types import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_MODEL_IS_EXTERNAL, MLFLOW_RUN_NOTE
from sqlalchemy.exc import SQLAlchemyError

from deit.machine import locks
from deit.secrets import redact
from deit.tracking import describe
from deit.tracking import uri as store
from deit.tracking.mlflow_errors import Failing, Refused, RunGone, Unavailable, chain, http_status, permanent
from deit.tracking.records import BATCH, Point

_log = logging.getLogger(__name__)
_MODEL_TYPE = "checkpoint"
_LABELS = 100  # maximum parameters or tags in one call of MLflow
# MLflow installs its own handlers, which would bypass the handler of the process.
for _name in ("mlflow", "alembic", "sqlalchemy"):
    logging.getLogger(_name).handlers.clear()
    logging.getLogger(_name).propagate = True
    logging.getLogger(_name).setLevel(logging.WARNING)


@contextmanager
def translated() -> Iterator[None]:
    """Turn MLflow's errors into those of ``deit.tracking.mlflow_errors``."""
    try:
        yield
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise RunGone(str(error)) from None
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise Refused(str(error)) from None
        raise Unavailable(str(error)) from None
    except SQLAlchemyError as error:  # while the database is opened: full disk, locked, damaged
        raise Unavailable(str(error)) from None
    except (OSError, ImportError) as error:  # while files are copied: of requests, of a folder, of a missing library
        raise (Refused if permanent(error) else Unavailable)(str(error)) from error


def connect(uri: str) -> MlflowClient:
    """A client of the store at ``uri``; a missing SQLite database is created.

    Processes that open a new SQLite database at once break it, so they take turns with a lock on ``<file>.lock``.
    """
    database = store.sqlite_file(uri)
    if database is None:
        with translated():
            return MlflowClient(tracking_uri=uri)
    database.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{database}.lock", "a") as lock, translated():
        locks.hold(lock)
        if not database.exists():
            _make_database(database)
        return _opened(database)


def _opened(database: Path) -> MlflowClient:
    uri = store.sqlite_uri(database)
    client = MlflowClient(tracking_uri=uri)
    client.search_experiments(max_results=1)  # the first query opens the database
    if "%" in uri:  # MLflow has created an empty folder with the escaped name
        with contextlib.suppress(OSError):
            os.removedirs(Path(uri.removeprefix(store.SQLITE)).parent)
    return client


def _make_database(database: Path) -> None:
    """A new database, which takes MLflow seconds, appears only when it is complete: a partial one could never be opened."""
    for torn in database.parent.glob(f".{database.name}.*.new*"):
        torn.unlink()
    # Each attempt has its own name: MLflow keeps connections by name, to a file that may be gone.
    temporary = database.with_name(f".{database.name}.{secrets.token_hex(4)}.new")
    _opened(temporary)
    temporary.rename(database)


def ask(uri: str) -> None:
    """Send the smallest query to the store. Raises Unavailable if it does not respond."""
    client = connect(uri)
    with translated():
        client.search_experiments(max_results=1)


def find_experiment(client: MlflowClient, uri: str, name: str) -> str:
    """The id of the experiment ``name``: found or created; if it was deleted, that of the next free name.

    Several runs may do so at once; one creates it and the others find it. With SQLite the artifacts are next to the database,
    in ``mlruns/<name>``, as an absolute path, so that ``mlflow ui`` shows them from any folder.
    """
    number = store.experiment_id(name)
    if number is not None:
        return _existing_experiment(client, number)
    with translated():
        used = store.usable_experiment(name, lambda one: getattr(client.get_experiment_by_name(one), "lifecycle_stage", None))
        if used != name:
            _log.warning("experiment %s was deleted in MLflow; this run goes to %s", name, used)
        found = client.get_experiment_by_name(used)
        if found is None:
            database = store.sqlite_file(uri)
            place = database and store.artifact_location(database.parent / "mlruns" / store.artifact_folder(used))
            try:
                return str(client.create_experiment(used, artifact_location=place))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = client.get_experiment_by_name(used)
        return str(found.experiment_id)


def _existing_experiment(client: MlflowClient, number: str) -> str:
    """``number``, the id of an experiment that exists. Raises Refused if it does not, or was deleted."""
    try:
        with translated():
            stage = client.get_experiment(number).lifecycle_stage
    except RunGone:
        raise Refused(f"there is no experiment with the id {number}") from None
    if stage == "deleted":
        raise Refused(f"the experiment with the id {number} was deleted")
    return number


def check_artifacts(uri: str, location: str) -> None:
    """Raises Refused if artifacts at ``location`` cannot be written through the database ``uri``."""
    if store.sqlite_file(uri) is not None and location.startswith("mlflow-artifacts:"):
        raise Refused("its experiment was created by an MLflow server, and keeps artifacts where only that server can write")


def runs_of(client: MlflowClient, experiments: Sequence[str], run_id: str, directory: str) -> list[Run]:
    """The MLflow runs of a run directory in the experiments with these ids, found by their tags, newest first.

    So a shipper that was killed right after creating the run finds it, instead of creating a second one.
    """
    found = find_tagged(client, experiments, describe.RUN_TAG, run_id)
    return [run for run in found if run.data.tags.get(describe.DIRECTORY_TAG) == directory]


def find_tagged(client: MlflowClient, experiments: Sequence[str], tag: str, value: str) -> list[Run]:
    """The runs of some experiments whose ``tag`` has this value, newest first, without deleted ones."""
    with translated():
        query = f"tags.`{tag}` = '{value}'"
        return list(client.search_runs(list(experiments), filter_string=query, order_by=["attributes.start_time DESC"]))


class RemoteRun:
    """One run in MLflow."""

    def __init__(self, client: MlflowClient, uri: str, run_id: str) -> None:
        """Raises RunGone if ``run_id`` is unknown or deleted."""
        self._client, self._uri, self.run_id = client, uri, run_id
        run = self._get()
        self.experiment_id = str(run.info.experiment_id)
        self.tags: dict[str, str] = run.data.tags
        self._params: dict[str, str] = run.data.params
        self._artifact_uri = run.info.artifact_uri

    @classmethod
    def create(
        cls, client: MlflowClient, uri: str, experiment_id: str, name: str, tags: dict[str, str], started: int
    ) -> RemoteRun:
        """Create a run that started at ``started``, Unix milliseconds."""
        with translated():
            run = client.create_run(experiment_id, start_time=started, tags=tags, run_name=name)
        return cls(client, uri, run.info.run_id)

    def _get(self) -> Run:
        with translated():
            run = self._client.get_run(self.run_id)
        if run.info.lifecycle_stage == LifecycleStage.DELETED:
            raise RunGone(f"run {self.run_id} is deleted")
        return run

    def describe(self, params: dict[str, str], tags: dict[str, str]) -> None:
        """Set parameters and tags.

        MLflow never changes a parameter. A resumed run may differ from its start, for example in its cards: such a difference
        goes into the tag ``resumed.changed``.
        """
        changed = [
            f"{key}: {self._params[key]} -> {value}" for key, value in params.items() if self._params.get(key, value) != value
        ]
        if changed:
            tags = {**tags, "resumed.changed": "; ".join(changed)}
        self._deliver("params", [Param(key, value) for key, value in params.items() if key not in self._params], _LABELS)
        self._deliver("tags", [RunTag(key, value) for key, value in tags.items()], _LABELS)

    def send(self, points: Sequence[Point], model_id: str | None = None) -> None:
        """Send metrics with their recorded times and steps, for ``model_id`` too if it is given."""
        self._deliver("metrics", [Metric(p.name, p.value, p.time, p.step, model_id=model_id) for p in points], BATCH)

    def _deliver(self, kind: str, items: list[Any], most: int) -> None:
        """Send items of a kind, ``most`` in a call. Those that MLflow refuses are found by halving, logged and left out."""
        for start in range(0, len(items), most):
            some = items[start : start + most]
            try:
                with translated():
                    self._client.log_batch(self.run_id, **{kind: some})
            except Refused as error:
                self._get()  # a deleted run refuses everything: RunGone
                if len(some) == 1:
                    _log.warning("MLflow refused %s = %s: %s", some[0].key, some[0].value, error)
                else:
                    self._deliver(kind, some, (len(some) + 1) // 2)

    def put_file(self, path: Path, folder: str | None = None) -> None:
        """Copy a file or a whole folder into the run's artifacts. Raises Refused."""
        with self._convenience():
            if path.is_dir():
                self._client.log_artifacts(self.run_id, str(path), folder)
            else:
                self._client.log_artifact(self.run_id, str(path), folder)

    def put_text(self, text: str, name: str) -> None:
        """Write an artifact called ``name``, without the credentials that ``text`` may contain. Raises Refused."""
        with self._convenience():
            self._client.log_text(self.run_id, redact(text), name)

    @contextmanager
    def _convenience(self) -> Iterator[None]:
        """Send optional data: only a temporary failure is Unavailable, any other is Refused.

        The metrics were sent a moment before, the same way and with the same credentials.
        """
        check_artifacts(self._uri, self._artifact_uri)
        try:
            yield
        except (Refused, Unavailable):
            raise
        except Exception as error:
            if isinstance(error, RunGone) or getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST":
                self._get()  # RunGone; otherwise the server lacks this
            foreseen = isinstance(error, (OSError, MlflowException, SQLAlchemyError)) or "botocore" in type(error).__module__
            if permanent(error) or not foreseen:
                raise Refused(f"{type(error).__name__}: {error}") from error
            # MLflow reports 500 also for an error without a response.
            unanswered = (requests.ConnectionError, requests.Timeout)
            away = any(isinstance(cause, unanswered) for cause in chain(error))
            raise (Failing if http_status(error) == 500 and not away else Unavailable)(str(error)) from error

    def begin(self) -> None:
        """Show the run as running, also one that had ended and is resumed."""
        with translated():
            self._client.update_run(self.run_id, status="RUNNING")

    def end(self, status: str, ended: int) -> None:
        """Close the run: ``FINISHED``, ``FAILED`` or ``KILLED``, at ``ended``, Unix milliseconds."""
        with translated():
            self._client.set_terminated(self.run_id, status, ended)

    def delete_strays(self, run_id: str, directory: str) -> None:
        """Delete the empty duplicates of this MLflow run, which belongs to the given run directory.

        A slow server creates one after the shipper's call has timed out and the shipper has repeated it.
        """
        for run in runs_of(self._client, [self.experiment_id], run_id, directory):
            if run.info.run_id != self.run_id and not run.data.metrics and run.info.status == "RUNNING":
                _log.warning("run %s is an empty duplicate from a call that timed out; it is deleted", run.info.run_id)
                with translated():
                    self._client.delete_run(run.info.run_id)

    def annotate(self, text: str, written: str | None) -> bool:
        """Set the description of the run's page, unless its SHA-256 differs from ``written``: somebody has edited it."""
        there = self._get().data.tags.get(MLFLOW_RUN_NOTE)
        if there and (written is None or hashlib.sha256(there.encode()).hexdigest() != written):
            return False
        self.describe({}, {MLFLOW_RUN_NOTE: text})
        return True

    def put_datasets(self, datasets: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Record the data sets of the run, each with its context, from ``describe.datasets``. Raises Refused."""
        inputs = []
        for context, about in datasets:
            profile = {"num_images": about["images"], "num_classes": len(about["classes"])}
            profile |= {"images_per_class": dict(zip(about["classes"], about["counts"], strict=True))}
            dataset = Dataset(
                name=about["name"],
                digest=about["digest"],
                source_type="local" if about["source"].startswith("/") else "code",
                source=json.dumps({"uri": about["source"]}),
                profile=json.dumps(profile, ensure_ascii=False),
            )
            inputs.append(DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)]))
        with self._convenience():
            self._client.log_inputs(self.run_id, datasets=inputs)

    def register(self, name: str, tags: dict[str, str], points: Sequence[Point], signature: ModelSignature) -> None:
        """Give a checkpoint an entry among MLflow's models, with the metrics ``points``, but without a copy.

        A run has one such entry: an equal one is kept, so that a repetition changes nothing, any other is replaced. Raises
        Refused.
        """
        query = f"source_run_id = '{self.run_id}'"
        with self._convenience():
            model_id = None
            for model in self._client.search_logged_models([self.experiment_id], filter_string=query):
                if model.model_type != _MODEL_TYPE:  # of task=register
                    continue
                if str(model.status) == "READY" and all(model.tags.get(key) == value for key, value in tags.items()):
                    model_id = model.model_id
                else:
                    self._client.delete_logged_model(model.model_id)
            if model_id is None:
                model_id = self._create_model(name, tags, signature)
            self.send(points, model_id)

    def _create_model(self, name: str, tags: dict[str, str], signature: ModelSignature) -> str:
        """As ``mlflow.create_external_model``, with this client and the signature of the network."""
        model = self._client.create_logged_model(
            self.experiment_id,
            name,
            source_run_id=self.run_id,
            tags={**tags, MLFLOW_MODEL_IS_EXTERNAL: "true"},
            model_type=_MODEL_TYPE,
        )
        about = get_external_mlflow_model_spec(model)
        about.signature = signature
        with tempfile.TemporaryDirectory() as folder:
            about.save(str(Path(folder) / "MLmodel"))
            self._client.log_model_artifacts(model.model_id, folder)
        self._client.finalize_logged_model(model.model_id, "READY")
        return str(model.model_id)


def network_signature(size: tuple[int, int], channels: int, classes: int | None) -> ModelSignature:
    """Normalised images float32 [-1, channels, height, width] in, logits float32 [-1, classes] out."""
    single = np.dtype(np.float32)
    return ModelSignature(
        inputs=Schema([TensorSpec(single, (-1, channels, *size), "images")]),
        outputs=Schema([TensorSpec(single, (-1, classes or -1), "logits")]),
    )
