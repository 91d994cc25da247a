"""The launcher's messages about a shipper that cannot send."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

from composition import composed

from deit.runs import directory
from deit.tracking import progress
from deit.tracking import uri as store
from deit.tracking.shipper_process import Shipper


def test_outage_and_recovery_are_one_line_each(tmp_path: Path) -> None:
    config = composed("experiment=quickstart", "hardware=cpu", "tracking.uri=http://node01:5000")
    run = directory.create(tmp_path / "runs", "quickstart")
    shipper = Shipper(run, config)

    def look(trouble: str | None) -> str | None:
        progress.write(run, dataclasses.replace(progress.Progress(store.identity("http://node01:5000")), trouble=trouble))
        shipper._look = 0.0
        return shipper.news()

    assert look("refused") is None  # nothing is tracked, so nothing is said
    shipper.process = subprocess.Popen(["true"])
    shipper.process.wait()
    said = [look(trouble) for trouble in (None, "refused", None, "refused", "refused", "refused", "slow", None, None)]
    assert [line is not None for line in said] == [False, False, False, False, True, False, False, True, False]
    assert said[4] == "MLflow accepts no metrics at present (refused); the run keeps them and retries"
    assert said[7] == "MLflow accepts metrics again; nothing is lost"
