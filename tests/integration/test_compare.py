"""`task=compare`: a real comparison that is stopped and resumed, its files and its MLflow run."""

from __future__ import annotations

import csv
import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import LAUNCH, Outcome
from composition import composed, freeze
from empty_store import add_empty_store
from PIL import Image

from deit.commands.compare_models import find_models
from deit.commands.table import prepare
from deit.comparison import answers, output_files
from deit.config import frozen
from deit.engine.recorder import Mute
from deit.files import write_json
from deit.models.shapes import parameter_shapes
from deit.runs import checkpoint, directory, status
from deit.runs.directory import RunDirectory
from deit.runs.outcome import FINISHED
from deit.tasks.compare import run as compare_task
from deit.tasks.context import Context
from deit.tracking import progress, uri

CLASSES = [f"kind_{number}" for number in range(7)]
PER_CLASS = 9
SMALL = ("experiment=quickstart", "data=imagefolder", "model.embed_dim=16", "model.depth=2", "model.num_heads=2")
SMALL += ("data.eval_batch_size=20", "data.batch_size=2", "data.workers=1", "data.crop_pct=0.9")


def make_run(folder: Path, seed: int, classes: list[str], *typed: str) -> RunDirectory:
    """A run with one checkpoint of weights drawn at random, large enough to distinguish the images."""
    rng = np.random.default_rng(seed)
    config = composed(*SMALL, f"data.root={folder / 'data'}", f"seed={seed}", "tracking.uri=sqlite:///mlflow.db", *typed)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, num_classes=len(classes)))
    run = directory.create(folder / "runs", "quickstart")
    frozen.save(config, run.config)

    def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
        scale = 0.02 if len(shape) == 1 or "token" in name else 0.3
        return np.ones(shape, np.float32) if name.endswith("gamma") else rng.normal(0, scale, shape).astype(np.float32)

    shapes = parameter_shapes(config.model, len(classes))
    weights = {part: {name: drawn(name, shape) for name, shape in shapes.items()} for part in ("model", "ema")}
    state = {"model": dataclasses.asdict(config.model), "num_classes": len(classes), "classes": classes}
    written = checkpoint.write(run, 5, weights, state)
    write_json(run.best, {prefix: {"checkpoint": written.name} for prefix in ("val", "val_ema")})
    return run


@dataclasses.dataclass
class Place:
    """Images in data/, two runs of different seeds in runs/, the first one's export in onnx/."""

    folder: Path
    first: RunDirectory
    second: RunDirectory
    evaluated: list[dict[str, Any]]  # what task=evaluate finds of the two

    @property
    def onnx(self) -> Path:
        return self.folder / "onnx"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    import mindspore as ms

    from deit.tasks.evaluate import run as evaluate_task
    from deit.tasks.export import run as export_task

    folder = tmp_path_factory.mktemp("compare")
    rng = np.random.default_rng(0)
    for split, count in (("train", 1), ("val", PER_CLASS)):
        for name in CLASSES:
            (folder / "data" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (5, 6, 3), np.uint8)
                image = Image.fromarray(pixels).resize((40, 36), Image.Resampling.BICUBIC)
                image.save(folder / "data" / split / name / f"{number}.png")
    add_empty_store(folder)
    runs = [make_run(folder, seed, CLASSES) for seed in (0, 1)]
    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)

    def task(run: RunDirectory, *typed: str) -> Context:
        return Context(directory.create(folder / "made", "task"), prepare(composed(f"run={run.path}", *typed)), Mute())

    evaluated = [evaluate_task(task(run, "task=evaluate", "hardware=cpu")) for run in runs]
    export_task(task(runs[0], "task=export", "task.format=onnx", f"task.output={folder / 'onnx'}"))
    ms.set_context(mode=ms.PYNATIVE_MODE)
    return Place(folder, *runs, evaluated)


@dataclasses.dataclass
class Compared:
    run: RunDirectory
    stopped: str  # what was printed by the first start, and its exit code
    code: int
    outcome: Outcome  # of the second


@pytest.fixture(scope="module")
def compared(place: Place) -> Compared:
    """Three models compared; stopped by SIGTERM during the second, and resumed."""
    words = ["task=compare", f"task.models=[{place.first.path},{place.second.path},onnx/model.onnx]", "hardware=cpu"]
    command = [sys.executable, str(LAUNCH)]
    started = subprocess.Popen(
        [*command, *words], cwd=place.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        end = time.monotonic() + 300
        while time.monotonic() < end and started.poll() is None:
            parts = [RunDirectory(path) for path in sorted(place.folder.glob("runs/compare/*/models/*"))]
            if len(parts) == 2 and status.read(parts[1]).worker_pid is not None:
                break
            time.sleep(0.05)
        started.send_signal(signal.SIGTERM)
        said, _ = started.communicate(timeout=300)
    finally:
        started.kill()
    (run,) = map(RunDirectory, place.folder.glob("runs/compare/*"))
    ended = subprocess.run([*command, f"resume={run.path}"], cwd=place.folder, capture_output=True, text=True, timeout=300)
    return Compared(run, said, started.returncode, Outcome(ended.returncode, ended.stdout, ended.stderr))


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_stopped_comparison_resumes_with_the_unfinished_model(compared: Compared) -> None:
    assert compared.code == 143 and f"launch.py resume={directory.shown(compared.run.path)}" in compared.stopped.replace(
        "resume=runs/", f"resume={compared.run.path.parents[1]}/"
    )
    assert compared.outcome.code == 0, compared.outcome.err
    assert compared.outcome.out.count("already finished") == 1
    assert status.read(compared.run).state == FINISHED
    assert [path.name for path in sorted((compared.run.path / "models").iterdir())] == ["1", "2", "3"]


def test_accuracies_equal_task_evaluate(place: Place, compared: Compared) -> None:
    found = json.loads((compared.run.path / "compare.json").read_text())
    first, second, onnx = found["models"]
    assert [model["label"] for model in found["models"]] == ["seed=0 MindSpore", "seed=1 MindSpore", "seed=0 onnx"]
    for model, evaluated in ((first, place.evaluated[0]), (second, place.evaluated[1]), (onnx, place.evaluated[0])):
        expected = evaluated["val_ema"]
        assert (model["top1"], model["top5"], model["images"]) == (expected["top1"], expected["top5"], expected["images"])
        assert model["loss"] == pytest.approx(expected["loss"], rel=1e-4) and model["ms_per_image"] > 0
        assert model["top1_low"] < model["top1"] < model["top1_high"]
    assert first["top1"] != second["top1"] and first["parameters"] == second["parameters"] > 0 and onnx["gmacs"] > 0
    assert (first["computed_by"], onnx["computed_by"]) == ("MindSpore", "onnx")
    assert onnx["megabytes"] == (place.onnx / "model.onnx").stat().st_size / 1e6

    pairs = {(pair["first"], pair["second"]): pair for pair in found["pairs"]}
    own = pairs["seed=0 MindSpore", "seed=0 onnx"]
    assert own["verdict"] == "the same prediction for every image" and own["agreement"] == 100 and own["kappa"] == own["p"] == 1
    other = pairs["seed=0 MindSpore", "seed=1 MindSpore"]
    assert (
        other["difference"] == pytest.approx(first["top1"] - second["top1"])
        and other["low"] < other["difference"] < other["high"]
    )
    disagreed = rows(compared.run.path / "disagreements.csv")
    assert len(disagreed) == round(63 * (1 - other["agreement"] / 100)) > 0
    right = [sum(row[name] == row["label"] for row in disagreed) for name in ("seed=0 MindSpore", "seed=1 MindSpore")]
    assert right == [other["only_first_right"], other["only_second_right"]]
    assert disagreed[0]["image"].startswith("kind_") and disagreed[0]["label"] in CLASSES
    assert [row["label"] for row in rows(compared.run.path / "compare.csv")] == [model["label"] for model in found["models"]]
    assert len(rows(compared.run.path / "pairs.csv")) == 3
    assert Image.open(compared.run.path / "compare.png").size[0] > 900
    out = compared.outcome.out
    assert f"{first['top1']:.2f} [{first['top1_low']:.2f}, {first['top1_high']:.2f}]" in out
    assert "the same prediction for every image" in out and "p corrected for 3 pairs (Holm)" in out


def test_comparison_is_in_the_mlflow_experiment_of_the_data(place: Place, compared: Compared) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("imagefolder")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    found = json.loads((compared.run.path / "compare.json").read_text())
    assert run.info.status == "FINISHED" and run.info.run_name == f"compare-{compared.run.id[-6:]}"
    assert run.data.metrics["compare/seed_0 onnx/top1"] == found["models"][2]["top1"]
    assert run.data.metrics["pairs/seed_0 MindSpore vs seed_1 MindSpore/p_holm"] == found["pairs"][0]["p_holm"]
    assert run.data.tags["task"] == "compare" and run.data.tags["compare.seed_0 onnx.model"] == str(place.onnx)
    assert str(place.second.path) in run.data.params["task.models"] and "model.depth" not in run.data.params
    assert set(output_files.FILES) <= {item.path for item in client.list_artifacts(run.info.run_id)}


def test_mlflow_run_of_each_model_is_linked(place: Place, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(place.folder / "data")
    run = make_run(tmp_path, 4, CLASSES, "tracking.uri=http://mlflow.example:5000")
    server = uri.identity("http://mlflow.example:5000")
    progress.write(run, progress.Progress(server, experiment_id="7", run_id="a" * 32))
    config = composed("task=compare", f"task.models=[{run.path},{place.onnx}]", "hardware=cpu")
    served, exported = find_models(prepare(config))
    page = f"http://mlflow.example:5000/#/experiments/7/runs/{'a' * 32}?workflowType=machine_learning"
    assert served.mlflow == {"mlflow_run": "a" * 32, "mlflow_url": page}
    assert exported.run is not None and exported.run.path == place.first.path and exported.mlflow == {}


@pytest.mark.usefixtures("graph_mode")
def test_class_folders_with_unreadable_images_are_compared(place: Place, tmp_path: Path) -> None:
    for name in CLASSES[:3]:
        (tmp_path / "tree" / name).mkdir(parents=True)
        for file in (place.folder / "data" / "val" / name).iterdir():
            (tmp_path / "tree" / name / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tree" / "kind_1" / "broken.png").write_bytes(b"no image")
    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    typed = (f"task.models=[{place.second.path},{place.onnx}]", f"task.input={tmp_path / 'tree'}", "hardware=cpu")
    (own, other) = find_models(prepare(composed("task=compare", *typed)))
    task = dataclasses.replace(own.config.task, classes=str(tmp_path / "names.txt"))  # as the launcher passes them
    context = Context(directory.create(tmp_path / "made", "part"), dataclasses.replace(own.config, task=task), Mute())
    shown = compare_task(context)
    found = answers.read(context.run.path / answers.FILE)
    assert shown["images"] == len(found) == 27 and found.names[0] == "kind_0/0.png"
    assert found.labels.tolist() == np.repeat([0, 1, 2], 9).tolist() and "broken.png" in context.run.bad_images.read_text()
    assert other.source == place.onnx and other.config.data.crop_pct == 0.9


WRONG = [
    (["task.models=[{a}]"], ["task.models", "two models or more"]),
    ([], ["task.models is []", "two models or more"]),
    (["task.models=[last,{b}]"], ["names", "twice"]),
    (["task.models=[{a},{a}/checkpoints/step_00000005/ema.safetensors]"], ["are the same model", "each once"]),
    (["task.models=[{a},nowhere]"], ["task.models: nowhere", "no such file or folder"]),
    (["task.models=[{a},x.onnx]"], ["task.models: x.onnx", "model.json"]),
    (["task.models=[{a},{other}]"], ["only the first has kind_6", "only the second has lion", "in the same order"]),
    (["task.models=[{a},{turned}]"], ["the same names in another order", "label 0 is kind_0 in the first and kind_6"]),
    (["task.models=[{a},{b}]", "task.input={val}/kind_1"], ["task.input", "no labels"]),
    (["task.models=[{a},{b}]", "task.input={val}/kind_1/0.png"], ["task.input", "labels come from class folders"]),
    (["task.models=[{a},{b}]", "data=digits"], ["other classes than the data in digits", "7 and 10 classes"]),
    (["task.models=[{a},{b}]", "run={a}"], ["run=", "task.models selects what to compare"]),
    (["task.models=[{a},{b}]", "model.depth=3"], ["model.depth has no effect"]),
    (["task.models=[{a},{b}]", "data.crop_pct=1"], ["data.crop_pct has no effect", "has its own"]),
    (["task.models=[{a},{b}]", "hardware.cards=2"], ["hardware.cards has no effect"]),
    (["task.models=[{lone}/model.safetensors,{lone}/other.safetensors]"], ["data.root", "task.input=FOLDER uses"]),
]  # fmt: skip


def test_mistakes_end_with_one_message_and_write_nothing(
    place: Place, command: Callable[..., Outcome], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    apart = tmp_path_factory.mktemp("others")
    (apart / "data").symlink_to(place.folder / "data")
    other = make_run(apart, 2, [*CLASSES[:6], "lion"])
    turned = make_run(apart, 3, CLASSES[::-1])
    for source, name in (("model", "model"), ("ema", "other")):
        file = place.first.checkpoints / "step_00000005" / f"{source}.safetensors"
        (apart / f"{name}.safetensors").write_bytes(file.read_bytes())
    known = {"a": place.first.path, "b": place.second.path, "val": place.folder / "data" / "val", "other": other.path}
    known |= {"turned": turned.path, "lone": apart}
    for typed, said in WRONG:
        words = [word.format_map(known) for word in typed]
        outcome = command("task=compare", f"runs_dir={place.folder / 'runs'}", "hardware=cpu", *words)
        assert outcome.code == 2 and all(part in outcome.err for part in said), (words, outcome)
        errors = [line for line in outcome.err.splitlines() if not line.startswith("note: ")]
        assert len(errors) == 1 and "Traceback" not in outcome.err, outcome.err
    assert not list(tmp_path.iterdir()) and len(list(place.folder.glob("runs/compare/*"))) <= 1


def test_comparison_without_runs_composes() -> None:
    config = freeze("task=compare", "task.models=[x.onnx,y.onnx]", "task.input=photos")
    assert config.task.input == "photos" and config.hardware.target == "auto"  # type: ignore[attr-defined]
