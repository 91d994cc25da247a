"""What has been sent to which store."""

from __future__ import annotations

from pathlib import Path

from deit.runs import directory
from deit.tracking import progress


def test_progress_is_saved(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "x")
    server = "http://127.0.0.1:5000"
    assert progress.read(run, server) == progress.Progress(server)
    kept = progress.Progress(server, "1", "abc", {"journal": 10, "system": 20}, {"config.yaml": [1, 2]}, "finished")
    progress.write(run, kept)
    assert progress.read(run, server) == kept
    assert progress.read(run, "http://127.0.0.1:5001") == progress.Progress("http://127.0.0.1:5001")
