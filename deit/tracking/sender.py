"""Sends a run directory to one MLflow store: only what is new, exactly once, however often it is called.

``deit.tracking.shipper`` uses it during a run, ``task=sync`` and ``deit.tracking.stale`` afterwards.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from deit.config.addresses import is_remote
from deit.config.schema import RunConfig
from deit.errors import UserError
from deit.runs import status
from deit.runs.circumstances import last_launch
from deit.runs.directory import RunDirectory
from deit.runs.journal import now_ms
from deit.runs.outcome import Outcome
from deit.secrets import redact, with_credentials
from deit.tracking import describe, progress, records
from deit.tracking import uri as store
from deit.tracking.mlflow_errors import RunGone, reason

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from deit.tracking.remote import RemoteRun

_log = logging.getLogger(__name__)

PAUSES = (1.0, 3.0)  # seconds between the attempts of ``deliver``


def own_uri(run: RunDirectory, config: RunConfig) -> str:
    """Where the run itself is tracked; a relative SQLite path is relative to where the run was last launched.

    Raises UserError if the run is not tracked.
    """
    if config.tracking.backend != "mlflow" or config.tracking.uri is None:
        raise UserError(f"{run.config}: tracking.backend is {config.tracking.backend}; only mlflow can be sent to.")
    return store.anchored(config.tracking.uri, Path(last_launch(run).get("working_directory", "")))


def store_of(run: RunDirectory, config: RunConfig) -> str:
    """``own_uri``, for later writes without a typed URI.

    Raises UserError if the run was copied or moved, and its SQLite file is not the one here: a copied project must not write
    into the original.
    """
    own, here = own_uri(run, config), store.anchored(str(config.tracking.uri), Path.cwd())
    folder = last_launch(run).get("working_directory")
    if own == here or folder is None or is_remote(config.runs_dir):
        return own
    if run.path.absolute().is_relative_to(Path(folder) / config.runs_dir):
        return own
    raise UserError(
        f"{run}: launched in {folder} and tracked in {own}, but it is a copy, or was moved. Give the store to write into: "
        f"tracking.uri={here} (here), or tracking.uri={own} (that of the original)."
    )


class Sender:
    """Ships one run to one store. Only the holder of ``progress.turn`` may call it."""

    def __init__(self, run: RunDirectory, config: RunConfig, uri: str) -> None:
        self.run, self.config, self.uri = run, config, uri
        self.progress = progress.read(run, store.identity(uri))
        self.points = self.files = 0  # accepted by MLflow since this object was made
        self.accepted: Callable[[int], None] = lambda points: None  # called after each batch
        self._remote: RemoteRun | None = None

    def reload(self) -> None:
        """Read the progress again: another process may have sent meanwhile."""
        self.progress = progress.read(self.run, self.progress.server)

    def in_trouble(self, error: Exception | None) -> None:
        """Record why nothing can be sent at present, for the launcher to print; None once MLflow accepts data again."""
        trouble = None if error is None else redact(reason(error))
        if trouble != self.progress.trouble:
            self.progress.trouble = trouble
            self._note()

    def retry_refused(self) -> None:
        """Retry what MLflow refused: the cause may be fixed."""
        for name in self.progress.refused:
            self.progress.artifacts.pop(name, None)
        self.progress.refused.clear()
        self.progress.closed = None

    def unsent(self) -> int:
        """The number of points that are not sent yet, without those of a damaged journal."""
        count = 0
        for name in self._journals():
            try:
                count += sum(len(batch.points) for batch in self._batches(name))
            except UserError:  # reported by ``send``
                continue
        return count

    def send(self, outcome: Outcome | None) -> None:
        """Send everything. ``outcome`` closes the run.

        Raises Unavailable, Refused, RunGone and other errors of MLflow; what was accepted before is not sent again.
        """
        from deit.tracking import artifacts  # imports MLflow

        now = status.read(self.run)
        try:
            remote = self._open(goes_on=outcome is None)
            for name in self._journals():
                for batch in self._batches(name):
                    remote.send(batch.points)
                    self.points += len(batch.points)
                    self.progress.offsets[name] = batch.offset
                    self._note()
                    self.accepted(len(batch.points))
            if outcome is not None:
                remote.delete_strays(self.run.id, str(self.run.path))
                # Tags again: now it is known how the run ended.
                remote.describe({}, describe.tags(self.run, self.config) | {describe.OUTCOME_TAG: describe.outcome(outcome)})
                self._annotate(remote)
                # The end time is that of the status, not of this call, which may come long after.
                remote.end(outcome.mlflow_status, int(now.updated * 1000) if now.updated else now_ms())
            self.files += artifacts.put(self.run, self.config, remote, self.progress, final=outcome is not None)
            if outcome is not None:
                self.progress.closed = progress.ending(now)
                self._note()
            self.in_trouble(None)
        except RunGone:
            self._remote = None  # the next attempt checks whether it is really gone, and then creates another
            raise

    def _journals(self) -> dict[str, Path]:
        return {"journal": self.run.journal, "system": self.run.system_journal}

    def _batches(self, name: str) -> Iterator[records.Batch]:
        return records.batches(self._journals()[name], self.progress.offsets[name])

    def _note(self) -> None:
        progress.write(self.run, self.progress)

    def _open(self, goes_on: bool) -> RemoteRun:
        if self._remote is None:
            from deit.tracking import remote as far  # imports MLflow

            client = far.connect(with_credentials(self.uri))
            experiment_id = far.find_experiment(client, self.uri, self.config.tracking.experiment)
            tags = describe.tags(self.run, self.config)
            remote = self._known(client) or self._new(client, experiment_id, tags)
            self.progress.experiment_id, self.progress.run_id = remote.experiment_id, remote.run_id
            self._note()
            if goes_on:
                self.progress.closed = None
                self._note()
                remote.begin()
            remote.describe(describe.params(self.run, self.config), tags)
            self._annotate(remote)
            _log.info("shipping to %s", store.run_url(self.uri, remote.experiment_id, remote.run_id))
            self._remote = remote
        return self._remote

    def _annotate(self, remote: RemoteRun) -> None:
        """Write the description of the run's page, unless somebody has edited it."""
        text = describe.note(self.run, self.config)
        if remote.annotate(text, self.progress.note):
            self.progress.note = hashlib.sha256(text.encode()).hexdigest()
            self._note()

    def _known(self, client: MlflowClient) -> RemoteRun | None:
        """The MLflow run of an earlier attempt; None if there was none, or if it was deleted."""
        from deit.tracking import remote as far

        if self.progress.run_id is None:
            return None
        try:
            return far.RemoteRun(client, self.uri, self.progress.run_id)
        except RunGone:
            _log.warning("run %s was deleted in MLflow; everything is sent again, to a new one", self.progress.run_id)
            self.progress = progress.Progress(self.progress.server)
            return None

    def _new(self, client: MlflowClient, experiment_id: str, tags: dict[str, str]) -> RemoteRun:
        """A new MLflow run, or that of an attempt that was killed before it could record its id."""
        from deit.tracking import remote as far

        if found := far.runs_of(client, [experiment_id], self.run.id, str(self.run.path)):
            return far.RemoteRun(client, self.uri, str(found[0].info.run_id))
        name = self.config.tracking.run_name or describe.run_name(self.run, self.config.name, self.config.task)
        started = records.first_time(self.run.journal) or now_ms()
        return far.RemoteRun.create(client, self.uri, experiment_id, name, tags, started)


def deliver(sender: Sender, outcome: Outcome | None) -> Exception | None:
    """Send a run now, or return the error: a few attempts within seconds, unless MLflow itself is slow."""
    for pause in (*PAUSES, None):
        try:
            sender.send(outcome)
        except Exception as error:  # any error: the run directory keeps everything for a later attempt
            if pause is None:
                return error
            time.sleep(pause)
        else:
            break
    return None
