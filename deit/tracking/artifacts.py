"""The files of a run that go to MLflow, and the best checkpoints' entries among its models.

A file is sent again when its size or time has changed, so that a resumed run replaces its logs. The run directory keeps
everything, so a file that MLflow refuses is recorded in ``Progress.refused``, and only tried again with ``task=sync run=``. A
server that cannot write its own artifacts (full disk, no package for its object store) responds with status 500 each time,
which counts as a refusal after some attempts.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from deit.comparison import output_files as comparison
from deit.config.schema import RunConfig
from deit.errors import UserError
from deit.files import signature
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory
from deit.scores import rank
from deit.secrets import redact
from deit.tracking import describe, progress, records
from deit.tracking.describe import short_name
from deit.tracking.mlflow_errors import Failing, Refused, reason
from deit.tracking.remote import RemoteRun, network_signature

_log = logging.getLogger(__name__)

ATTEMPTS = 5  # responses of 500 in a row, while metrics are accepted


class _Item(NamedTuple):
    name: str  # the key in the progress
    path: Path  # its size and time show whether it was sent
    put: Callable[[RemoteRun], None]


def put(run: RunDirectory, config: RunConfig, remote: RemoteRun, done: progress.Progress, *, final: bool) -> int:
    """Send what exists and was not sent; ``final`` adds files that are complete only after the run. Returns how many."""
    sent = 0
    items = list(_early(run, config))
    if final:
        items += _late(run)
        try:
            items += _checkpoints(run, config)
        except UserError as error:  # a damaged best.json
            _refuse(done, "the best checkpoints", str(error))
    for item in items:
        mark = signature(item.path)
        if mark is None or done.artifacts.get(item.name) == list(mark):
            continue
        try:
            item.put(remote)
        except Refused as error:
            _refuse(done, item.name, reason(error))
        except Failing as error:
            done.failing += 1
            if done.failing < ATTEMPTS:
                progress.write(run, done)
                raise
            _refuse(done, item.name, reason(error))
        else:
            sent += 1
            done.failing = 0
            done.refused.pop(item.name, None)
        done.artifacts[item.name] = list(mark)
        progress.write(run, done)
    return sent


def _refuse(done: progress.Progress, name: str, why: str) -> None:
    """Record a refused file; one warning for each cause, which usually affects all files."""
    why = redact(why)
    if why not in done.refused.values():
        _log.warning("MLflow refused %s (%s); the run directory keeps it", name, why)
    done.refused[name] = why


def _text(path: Path, folder: str | None = None) -> _Item:
    name = f"{folder}/{path.name}" if folder else path.name
    return _Item(name, path, lambda remote: remote.put_text(path.read_text(encoding="utf-8", errors="replace"), name))


def _file(path: Path, folder: str | None = None) -> _Item:
    """A file, or a folder, which keeps its name."""
    name = f"{folder}/{path.name}" if folder else path.name
    return _Item(name, path, lambda remote: remote.put_file(path, name if path.is_dir() else folder))


def _early(run: RunDirectory, config: RunConfig) -> Iterator[_Item]:
    yield from map(_text, (run.config, run.overrides, run.environment, run.pretrained))
    yield _file(run.lr_curve)
    yield _Item(run.data.name, run.data, partial(_put_data, run, config))
    for path in sorted(run.figures.glob("*.png")):
        yield _file(path, "figures")


def _late(run: RunDirectory) -> Iterator[_Item]:
    for path in sorted(run.logs.glob("*.log")):
        if path.name != "shipper.log":  # this process still writes it
            yield _text(path, "logs")
    yield from map(_file, (run.bad_images, run.journal, run.report, *(run.path / name for name in comparison.FILES)))


def _checkpoints(run: RunDirectory, config: RunConfig) -> Iterator[_Item]:
    best = checkpoint.best_of(run)
    if config.tracking.upload_checkpoints:
        for entry in best.values():
            yield _file(run.checkpoints / entry["checkpoint"], "checkpoints")
    # One entry among the models, for the better of raw and EMA weights, unless the network has learnt nothing.
    name = config.checkpointing.monitor.partition("/")[2]
    weights = max(sorted(best, reverse=True), key=lambda kind: rank(best[kind], name), default=None)
    if weights is None or best[weights].get("top1", 0.0) <= 100 / (config.data.num_classes or 1000):
        return
    folder = run.checkpoints / best[weights]["checkpoint"]
    name = re.sub(r"[^\w-]", "_", f"{short_name(run, config.name)}-{weights}")
    yield _Item("model", folder, partial(_register, run, config, name, weights, folder, best[weights]["step"]))


def _put_data(run: RunDirectory, config: RunConfig, remote: RemoteRun) -> None:
    remote.put_file(run.data)
    remote.put_datasets(describe.datasets(run, config))


def _register(
    run: RunDirectory, config: RunConfig, name: str, weights: str, folder: Path, step: int, remote: RemoteRun
) -> None:
    # The metrics are those of that step in the journal, with their own times: MLflow then stores them for the model without
    # duplicating them for the run.
    points = [point for point in records.at_step(run.journal, step) if point.name.split("/")[0] == weights]
    tags = {"weights": weights, "path": str(folder), "step": str(step)}
    shape = network_signature(config.model.image_size, config.model.in_chans, config.data.num_classes)
    remote.register(name, tags, points, shape)
