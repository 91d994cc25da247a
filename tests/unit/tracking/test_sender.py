"""The store of a copied run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from composition import composed

from deit.errors import UserError
from deit.runs import directory
from deit.runs.create import create
from deit.tracking import sender


def test_copied_run_does_not_write_into_the_store_of_the_original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, copy = tmp_path / "first", tmp_path / "copy"
    for folder in (first, copy):
        folder.mkdir()
    monkeypatch.chdir(first)
    config = composed("experiment=quickstart", "tracking=mlflow")
    run = create(config, [], {"working_directory": str(first)})
    monkeypatch.chdir(tmp_path)  # the path of the run does not depend on the working directory
    assert sender.store_of(run, config) == f"sqlite:///{first}/mlflow.db"
    shutil.copytree(first / "runs", copy / "runs")
    monkeypatch.chdir(copy)
    with pytest.raises(UserError) as caught:
        sender.store_of(directory.RunDirectory(copy / run.path.relative_to(first)), config)
    for named in (f"tracked in sqlite:///{first}/mlflow.db", f"tracking.uri=sqlite:///{copy}/mlflow.db"):
        assert named in str(caught.value)
