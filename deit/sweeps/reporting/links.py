"""Links that show the trials of a sweep side by side in MLflow's UI."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from deit.config import frozen
from deit.config.schema import RunConfig
from deit.runs.trial_record import Trial
from deit.sweeps.trial_results import Results
from deit.tracking import progress
from deit.tracking.sender import own_uri
from deit.tracking.uri import identity, run_url, ui_command, ui_url

MOST_COMPARED = 20  # runs in one link, 35 characters each


@dataclass
class Sent:
    """Link to a trial's run in MLflow."""

    experiment_id: str
    run_id: str


@dataclass
class Places:
    """The parts of a sweep that are in MLflow: the store, and the sent trials by number."""

    config: RunConfig | None  # of one of these trials; they share the store
    sent: dict[int, Sent]

    @property
    def uri(self) -> str | None:
        return self.config.tracking.uri if self.config else None

    def url(self, number: int) -> str | None:
        """The page of a trial's run; None if nothing of it was sent."""
        place = self.sent.get(number)
        return run_url(self.uri, place.experiment_id, place.run_id) if place and self.uri else None


def places(trials: Sequence[Trial]) -> Places:
    """The trials' runs in MLflow, according to their run directories; contacts no server."""
    configs = (frozen.load(trial.directory.config) for trial in trials)
    config = next((config for config in configs if config.tracking.backend == "mlflow"), None)
    if config is None:
        return Places(None, {})
    found = {}
    for trial in trials:
        done = progress.read(trial.directory, identity(own_uri(trial.directory, config)))
        if done.run_id is not None and done.experiment_id is not None:
            found[trial.number] = Sent(done.experiment_id, done.run_id)
    return Places(config if found else None, found)


def lines(found: Results, there: Places, sweep_id: str) -> list[str]:
    """Lines to print: how to open MLflow's UI, the charts of all trials, and the comparison of their runs.

    Empty if nothing was sent to MLflow. Trials in several experiments (of several data sets) have a chart link for each.
    """
    if there.uri is None:
        return []
    sent = [there.sent[row.trial.number] for row in found.ranked() if row.trial.number in there.sent]
    shown = [f"open MLflow:  {command}"] if (command := ui_command(there.uri)) else []
    experiments = list(dict.fromkeys(place.experiment_id for place in sent))
    shown += [f"charts:       {charts_url(there.uri, experiment, sweep_id)}" for experiment in experiments]
    some = sent[:MOST_COMPARED]
    if len(some) > 1:
        which = f"the best {len(some)}: " if len(some) < len(sent) else ""
        shown.append(f"compare runs: {which}{compare_url(there.uri, some)}")
    return shown


def charts_url(uri: str, experiment_id: str, sweep_id: str) -> str:
    """The charts of the runs with the tag ``sweep.id``."""
    asked = {"searchFilter": f"tags.`sweep.id`='{sweep_id}'", "compareRunsMode": "CHART"}
    return f"{ui_url(uri)}/#/experiments/{experiment_id}/runs?{_query(asked)}"


def compare_url(uri: str, runs: Sequence[Sent]) -> str:
    """The comparison of single runs: parameters, metrics and tags side by side."""
    experiments = list(dict.fromkeys(run.experiment_id for run in runs))
    lists = {"runs": [run.run_id for run in runs], "experiments": experiments}
    asked = {key: json.dumps(values, separators=(",", ":")) for key, values in lists.items()}
    return f"{ui_url(uri)}/#/compare-runs?{_query(asked)}"


def _query(asked: dict[str, str]) -> str:
    # Without workflowType the UI opens its views for language models. It comes last, because the comparison page of MLflow 3.17
    # reads its runs only at the start of the query.
    return urlencode({**asked, "workflowType": "machine_learning"}, quote_via=quote)
