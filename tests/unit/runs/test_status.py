"""status.json."""

from __future__ import annotations

from pathlib import Path

from new_runs import new_run

from deit.runs import status
from deit.runs.outcome import FAILED


def test_status_round_trip(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    assert status.read(run).state == status.CREATED
    status.write(run, status.Status(state=FAILED, message="why", exit_code=1, progress={"step": 3}))
    found = status.read(run)
    assert (found.state, found.message, found.exit_code, found.progress, found.ended) == ("failed", "why", 1, {"step": 3}, True)
    for torn in ("", '{"state": "fai', "\0\0\0", "[]"):  # by a loss of power
        run.status.write_text(torn)
        assert status.read(run) == status.Status()
