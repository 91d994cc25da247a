"""Send a sweep to MLflow as one run, with its summary, report and list of trials as files.

    python -m deit.sweeps.reporting.publish SWEEP_DIR

A separate process, because importing MLflow takes seconds and a store may be unreachable: then it prints that and exits with
code 1. Repeated, it finds the run by its tag ``sweep.report`` and replaces the files. That run has no tag ``sweep.id``, so it
is not among the trials.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from deit.errors import UserError
from deit.installation import source_name, words_in
from deit.machine import locks
from deit.runs.journal import now_ms
from deit.runs.outcome import finished
from deit.runs.sweep_directory import SweepDirectory
from deit.secrets import redact, with_credentials
from deit.sweeps import trial_results
from deit.sweeps.reporting import summary
from deit.sweeps.reporting.links import places
from deit.tracking import uri as store
from deit.tracking.mlflow_errors import Refused, RunGone, Unavailable

TAG = "sweep.report"


def publish(sweep: SweepDirectory) -> str | None:
    """Send the files; returns the address of the run's page, or None if no trial was sent.

    Raises Unavailable, Refused or RunGone if MLflow does not accept it.
    """
    there = places(sweep.read_trials())
    if there.config is None or there.uri is None:
        return None
    info = sweep.read_info()
    if Path(info["folder"]).is_dir():
        os.chdir(info["folder"])  # a relative SQLite path is relative to it
    with open(sweep.path / ".publish.lock", "w") as lock:
        locks.hold(lock)  # two at once would create two runs
        return _send(sweep, with_credentials(there.uri), there.config.tracking.experiment, info)


def _send(sweep: SweepDirectory, uri: str, experiment: str, info: dict[str, Any]) -> str:
    from deit.tracking import remote  # imports MLflow

    client = remote.connect(uri)
    experiment_id = remote.find_experiment(client, uri, experiment)
    tags = {
        TAG: sweep.id,
        "sweep.directory": str(sweep.path),
        "sweep.command": summary.command(info),
        "mlflow.source.name": source_name(words_in(info)),
        "mlflow.source.type": "LOCAL",
    }
    found = trial_results.read(sweep)
    if verdict := found.verdict():
        tags |= {"sweep.best": redact(verdict), "mlflow.note.content": summary.note(found)}
    known = remote.find_tagged(client, [experiment_id], TAG, sweep.id)
    if known:
        run = remote.RemoteRun(client, uri, str(known[0].info.run_id))
    else:
        run = remote.RemoteRun.create(
            client, uri, experiment_id, f"sweep-{sweep.id[-6:]}", tags, started=int(1000 * info["created"])
        )
    run.describe({}, tags)
    for path in (sweep.summary_csv, sweep.summary_md, sweep.report, sweep.trials):
        if path.exists():
            run.put_text(path.read_text(encoding="utf-8"), path.name)
    run.end(finished().mlflow_status, now_ms())
    return store.run_url(uri, experiment_id, run.run_id)


def main(arguments: list[str]) -> int:
    """Publish the sweep in ``arguments``; returns the exit code: 0, 1 if MLflow does not accept it, 2 for wrong usage."""
    if len(arguments) != 1:
        print("usage: python -m deit.sweeps.reporting.publish SWEEP_DIR", file=sys.stderr)
        return 2
    sweep = SweepDirectory(arguments[0])
    if not sweep.info.is_file():
        print(f"{arguments[0]}: not the directory of a sweep, sweep.json is missing.", file=sys.stderr)
        return 2
    try:
        url = publish(sweep)
    except (Unavailable, Refused, RunGone, UserError, OSError) as error:
        reason = redact(str(error).strip().partition("\n")[0])
        print(f"MLflow did not accept the report of the sweep ({reason}); it is in {sweep}. ", end="", file=sys.stderr)
        print(f"Send it later: python -m deit.sweeps.reporting.publish {sweep}", file=sys.stderr)
        return 1
    print("None of its trials is in MLflow, so nothing is sent." if url is None else f"report in MLflow: {url}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
