"""``task=sync``: send to MLflow, and to the store of a remote ``runs_dir``, what is missing there.

With ``run=`` one run, which may still be running; otherwise every tracked run below ``runs_dir`` that has ended and is not
completely sent. Each goes to its own store, or to a typed ``tracking.uri``. It starts no worker and creates no run directory.
Nothing is sent twice.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Column, Table

from deit.commands.task import Task
from deit.compose.unused_keys import Unused
from deit.config import frozen
from deit.config.addresses import runs_copy
from deit.config.schema import RunConfig
from deit.config.tasks import SyncTask
from deit.console import console
from deit.errors import UserError
from deit.machine.logs import log_to
from deit.progress_bar import Bar, progress_bars
from deit.runs import directory, status
from deit.runs.directory import RunDirectory
from deit.secrets import redact, with_credentials
from deit.storage import uploader_process
from deit.tracking import progress, stale
from deit.tracking import uri as store
from deit.tracking.mlflow_errors import reason
from deit.tracking.progress import refusal
from deit.tracking.sender import Sender, deliver, own_uri, store_of

LOCK_PATIENCE = 25  # attempts, 0.2 seconds apart, to lock the run after another shipper


@dataclass
class Sent:
    """The outcome of one run; ``problem`` is None if all is sent."""

    run: RunDirectory
    uri: str
    points: int = 0
    files: int = 0
    problem: str | None = None
    going: bool = False
    refused: dict[str, str] = field(default_factory=dict)  # artifacts that MLflow rejects, and why


class Sync(Task[SyncTask]):
    is_trial = False
    takes = ("run",)
    instead = "it sends runs to MLflow; give run= for one of them, or leave them out."
    obeys = ()  # it reads existing runs

    def unused(self, found: Unused) -> None:
        found.all_but("tracking", "backend", "uri")
        found.with_task("seed", "name", "weights_dir")

    def prepare(self, config: RunConfig, *, here: bool = True) -> RunConfig:  # only called for a sweep
        raise UserError("task=sync cannot be a trial of a sweep; without run= it sends all runs.")

    def start(self, config: RunConfig, typed: list[str]) -> int:
        """Send, and show what was sent; with ``dry_run`` only count. Returns 0, or 1 if something could not be sent.

        Raises UserError if ``run`` cannot be sent, or if a typed ``tracking.uri`` is not a store.
        """
        uri = typed_uri(config, typed)
        try:
            code = _to_mlflow(config, uri)
        except UserError:
            if config.run is None or not uploader_process.mirrors(config):
                raise
            code = 0  # a run with nothing for MLflow may have something for its store
        return max(code, uploader_process.catch_up(config))


def _to_mlflow(config: RunConfig, uri: str | None) -> int:
    senders = _senders(config, uri)
    if not senders:
        console().print(f"nothing to send: every tracked run in {config.runs_dir}/ that has ended is completely in MLflow")
        return 0
    if config.dry_run:
        _show_plan(senders)
        return 0
    results = _send_all(senders, again=config.run is not None)
    _show(results)
    return 1 if any(result.problem for result in results) else 0


def typed_uri(config: RunConfig, overrides: Sequence[str]) -> str | None:
    """``tracking.uri``, absolute, if it was typed: the value in files is for new runs."""
    if not any(text.lstrip("+").partition("=")[0] == "tracking.uri" for text in overrides):
        return None
    store.check_uri(config.tracking.uri)
    assert config.tracking.uri is not None
    return store.anchored(config.tracking.uri, Path.cwd())


def _senders(config: RunConfig, uri: str | None) -> list[Sender]:
    if config.run is not None:
        return [_sender(RunDirectory(config.run), uri)]
    found = []
    for run in directory.newest(runs_copy(config.runs_dir)):
        try:
            stale.settle(run)
            if not status.read(run).ended:
                continue
            sender = _sender(run, uri)
        except (UserError, ValueError):  # not tracked, or not a run of this program
            continue
        if not progress.complete(run, sender.progress.server):
            found.append(sender)
    return found[::-1]  # the oldest first


def _sender(run: RunDirectory, uri: str | None) -> Sender:
    """Raises UserError if the run has nothing for MLflow, or has no store and none is typed."""
    config = frozen.load(run.config)
    if not config.task.tracked:
        raise UserError(f"run={run}: its task is {config.task.name}, which has nothing for MLflow.")
    try:
        own_uri(run, config)
    except UserError:
        if uri is None:
            raise UserError(f"run={run}: it was made with tracking=none; give tracking=mlflow tracking.uri=URI too.") from None
    return Sender(run, config, uri or store_of(run, config))


def _send_all(senders: Sequence[Sender], *, again: bool) -> list[Sent]:
    """``again``: artifacts that MLflow once rejected are sent again, too."""
    results: list[Sent] = []
    away: set[str] = set()  # stores that did not respond
    with progress_bars() as bars:
        log_to(sys.stderr, level=30, form="%(message)s")  # warnings; inside, so that they do not split the bar
        counts = [sender.unsent() for sender in senders]
        whole = bars.add("all runs", sum(counts), "points")
        for sender, points in zip(senders, counts, strict=True):
            one = bars.add(str(sender.run), points, "points")

            def show(sent: int, one: Bar = one) -> None:
                one.advance(sent)
                whole.advance(sent)

            results.append(_send(sender, away, show, again=again))
            one.close()
    return results


def _send(sender: Sender, away: set[str], show: Callable[[int], None], *, again: bool) -> Sent:
    result = Sent(sender.run, sender.uri, going=not status.read(sender.run).ended)
    server = store.identity(sender.uri)
    if server in away and not _answers(sender.uri):
        result.problem = "not tried: the same store did not answer before"
        return result
    looks = iter(range(LOCK_PATIENCE))
    with progress.turn(sender.run, server, goes_on=lambda: next(looks, None) is not None) as mine:
        if not mine:
            result.problem = "its own shipper is still sending"
            return result
        sender.reload()  # another process may have sent since
        if again:
            sender.retry_refused()
        sender.accepted = show
        error = deliver(sender, status.read(sender.run).outcome)
    result.points, result.files, result.refused = sender.points, sender.files, sender.progress.refused
    if error is not None:
        away.add(server)
        result.problem = redact(reason(error))
    return result


def _answers(uri: str) -> bool:
    from deit.tracking import remote  # imports MLflow

    try:
        remote.ask(with_credentials(uri))
    except Exception:
        return False
    return True


def _show_plan(senders: Sequence[Sender]) -> None:
    table = Table("run", "store", Column("points", justify="right"))
    for sender in senders:
        table.add_row(str(sender.run), redact(sender.uri), f"{sender.unsent():,}")
    console().print(table)
    console().print("dry run: nothing was sent")


def _show(results: Sequence[Sent]) -> None:
    table = Table("run", "store", Column("points sent", justify="right"), Column("files", justify="right"), "result")
    for result in results:
        said = "not all" if result.problem else "all so far; the run continues" if result.going else "all is there"
        row = (str(result.run), redact(result.uri), f"{result.points:,}", str(result.files), said)
        table.add_row(*row, style="red" if result.problem else None)
    console().print(table)
    for result in results:
        if result.refused and not result.problem:
            console().print(f"{result.run}: {refusal(result.refused)}")
    problems = [result for result in results if result.problem]
    for result in problems:
        console().print(f"{result.run}: {result.problem}")
    if problems:
        console().print(
            f"{len(problems)} of {len(results)} could not be sent; the run directories keep everything, try again later"
        )


TASK = Sync()
