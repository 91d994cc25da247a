"""The links that the program prints, opened in a real Chromium with a real MLflow server: the right page, without errors."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import browse, needs_browser
from mlflow_faults import Server
from sweeps_on_disk import make_run, train

from deit.config import frozen
from deit.data.record import fingerprint
from deit.data.source import ArrayDataset
from deit.files import write_json
from deit.inference import confusion
from deit.runs.directory import RunDirectory
from deit.runs.outcome import finished
from deit.sweeps.reporting.links import Sent, charts_url, compare_url
from deit.tracking import uri as store
from deit.tracking.sender import Sender, deliver

# What MLflow shows where a page is broken or its subject is not there.
ERRORS = ("is not valid json", "something went wrong", "not found", "an error", "undefined")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server.start()
    server.kill()


def sent(folder: Path, uri: str, top1: float) -> tuple[RunDirectory, Sender]:
    """A training of a sweep as the workers leave it, in MLflow."""
    run = make_run(folder, backend="mlflow", uri=uri)
    train(run, top1)
    write_json(run.unused_keys, ["distill.alpha", "precision.dtype"])  # as the launcher writes it
    write_json(run.environment, {"sweep": {"id": "s1", "swept": {"seed": f"{top1:.0f}"}}})
    run.overrides.write_text("['experiment=quickstart', 'name=a b']")
    splits = {
        split: fingerprint(ArrayDataset(np.full((4, 8, 8, 3), shade, np.uint8), np.array([0, 0, 0, 1]), ["cat", "图"], "made"))
        for split, shade in (("train", 0), ("val", 9))
    }
    write_json(run.data, {"name": "pets", "source": "/data/pets"} | splits)
    run.figures.mkdir()
    confusion.draw(run.figures / "confusion_val.png", np.eye(2, dtype=int), ["cat", "dog"], "pets")
    write_json(run.best, {"val": {"checkpoint": "step_00000040", "step": 40, "top1": top1}})
    (run.checkpoints / "step_00000040").mkdir(parents=True)
    sender = Sender(run, frozen.load(run.config), uri)
    assert deliver(sender, finished()) is None and sender.progress.refused == {}
    return run, sender


@needs_browser
def test_every_link_opens_its_page(server: Server, tmp_path: Path) -> None:
    both = [sent(tmp_path, server.uri, top1) for top1 in (70.0, 80.0)]
    places = [Sent(str(sender.progress.experiment_id), str(sender.progress.run_id)) for _, sender in both]
    runs = [f"seed={top1} {run.id[-6:]}" for top1, (run, _) in zip((70, 80), both, strict=True)]
    page = store.run_url(server.uri, places[0].experiment_id, places[0].run_id)
    artifacts = page.replace("?", "/artifacts/figures/confusion_val.png?")
    opened = {
        page: [runs[0], "70.000 % top-1", "pets", "launch.py experiment=quickstart 'name=a b'"],
        artifacts: ["confusion_val.png", "data.json"],
        charts_url(server.uri, places[0].experiment_id, "s1"): ["2 matching runs", *runs],
        compare_url(server.uri, places): ["Comparing 2 Runs", *runs],
    }
    for address, expected in opened.items():
        dom, _ = browse(address, tmp_path, patience=25_000)
        text = html.unescape(re.sub(r"<(script|style)\b.*?</\1>|<[^>]+>", " ", dom, flags=re.S))
        text = " ".join(text.split())
        shown = [error for error in ERRORS if error in text.lower()]
        assert not shown, f"{address}: {shown}: {text}"
        assert all(word in text for word in expected), f"{address} lacks one of {expected}: {text}"


def test_page_of_a_run_shows_description_results_and_figures(tmp_path: Path) -> None:
    from deit.tracking.remote import connect

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run, sender = sent(tmp_path, uri, 70.0)
    client = connect(uri)
    there = client.get_run(sender.progress.run_id)
    inputs = {i.tags[0].value: i.dataset for i in there.inputs.dataset_inputs}
    assert set(inputs) == {"training", "validation"} and inputs["training"].name == "pets"
    assert json.loads(inputs["training"].profile)["images_per_class"] == {"cat": 3, "图": 1}
    params = there.data.params
    assert params["optim.base_lr"] == "0.002" and "null" not in params.values()
    idle = ("tracking.", "sweep.", "distill.alpha", "precision.dtype", "runs_dir", "optim.momentum")
    assert not [name for name in params if name.startswith(idle)]
    (model,) = client.search_logged_models([there.info.experiment_id])
    about = Path(model.artifact_location.removeprefix("file://")) / "MLmodel"
    assert "[-1, 3, 32, 32]" in about.read_text().replace("\\", "") and "float32" in about.read_text()
    # An edited description stays; ours follows the run.
    note = there.data.tags["mlflow.note.content"]
    assert "70.000 % top-1" in note and "digest" in note and str(run.path) in note
    for edited, kept in ((note, False), ("my own words", True)):
        client.set_tag(there.info.run_id, "mlflow.note.content", edited)
        run.overrides.write_text("['seed=3']")
        again = Sender(run, frozen.load(run.config), uri)
        assert deliver(again, finished()) is None
        now = client.get_run(there.info.run_id).data.tags["mlflow.note.content"]
        assert (now == edited) is kept and ("seed=3" in now) is not kept
