"""`task=compare`: its statistics against published figures, and a real comparison, stopped and gone on with."""

from __future__ import annotations

import csv
import dataclasses
import itertools
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
from PIL import Image
from scipy import stats

from deit.commands.compare_models import find_models, labels
from deit.commands.table import prepare
from deit.comparison import answers, output_files, results, statistics
from deit.comparison.answers import Answers
from deit.config import frozen
from deit.engine.recorder import Mute
from deit.errors import UserError
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


# ------------------------------------------------------------------------------------------------ statistics


def test_wilson_intervals_are_the_published_ones() -> None:
    # Newcombe, Statistics in Medicine 17:857 (1998), table I, method 3.
    published = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0, 0.1611), (1, 29): (0.0061, 0.1718)}
    for counts, limits in published.items():
        found = statistics.wilson(*counts)
        assert (found.low, found.high) == pytest.approx(limits, abs=5e-5)
    for right, images in ((0, 1), (1, 1), (3, 7), (499, 500), (38_211, 50_000)):
        found, expected = statistics.wilson(right, images), stats.binomtest(right, images).proportion_ci(method="wilson")
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_intervals_of_paired_differences() -> None:
    # Complete response before and after consolidation (Cavo et al. 2012), in Fagerland, Lydersen and Laake, Statistical
    # Analysis of Contingency Tables (2017), chapter 8: Newcombe's interval -0.1186 to -0.0046.
    found = statistics.paired_difference(59, 6, 16, 80)
    assert (found.low, found.high) == pytest.approx((-0.1186, -0.0046), abs=5e-5)
    turned = statistics.paired_difference(59, 16, 6, 80)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-12)
    # Without a correlation (here a margin of 0) the sides stand at right angles.
    found, one, other = statistics.paired_difference(0, 10, 0, 0), statistics.wilson(10, 10), statistics.wilson(0, 10)
    assert found.low == pytest.approx(1 - np.hypot(1 - one.low, other.high), abs=1e-12)
    equal = statistics.paired_difference(300, 0, 0, 55)
    assert equal.low < 0 < equal.high == -equal.low < 0.01


def test_mcnemar_is_the_textbooks_and_scipy_s() -> None:
    # Approval of the president (Agresti 1990), the example of R's mcnemar.test: 16.818, p = 4.115e-05.
    test = statistics.mcnemar(150, 86)
    assert (test.name, test.statistic, test.p) == (
        "chi-squared",
        pytest.approx(16.818, abs=5e-4),
        pytest.approx(4.115e-5, rel=2e-4),
    )
    # Cavo et al. 2012: exact conditional 0.052479. Two culture media (Armitage and Berry 1994): 0.0129.
    for counts, p in (((6, 16), 0.052479), ((12, 2), 0.0129)):
        test = statistics.mcnemar(*counts)
        assert (test.name, test.statistic, test.p) == ("exact", None, pytest.approx(p, abs=5e-5))
    assert statistics.mcnemar(0, 0).p == statistics.mcnemar(4, 4).p == statistics.mcnemar(20, 20).p == 1
    for first, second in itertools.product((0, 1, 5, 12, 13, 40, 700), repeat=2):
        test, number = statistics.mcnemar(first, second), first + second
        if number < 25:
            expected = stats.binomtest(first, number).pvalue if number else 1
        else:
            expected = stats.chi2.sf(max(abs(first - second) - 1, 0) ** 2 / number, 1)
        assert test.p == pytest.approx(expected, rel=1e-9) and test.name == ("exact" if number < 25 else "chi-squared")


def test_holm_and_kappa() -> None:
    assert statistics.holm([0.02, 0.01, 0.04, 0.03]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert statistics.holm([0.9, 0.6]) == [1, 1] and statistics.holm([0.3]) == [0.3]
    for table, expected in (((20, 5, 10, 15), 0.4), ((45, 15, 25, 15), 0.1304), ((25, 35, 5, 35), 0.2593)):
        first, second = np.repeat([[0, 0], [0, 1], [1, 0], [1, 1]], table, axis=0).T
        assert statistics.kappa(first, second) == pytest.approx(expected, abs=5e-5)
    assert statistics.kappa(np.zeros(5, int), np.zeros(5, int)) == 1


def answered(right: list[bool], names: str = "abcdefghij") -> Answers:
    """Answers to images of class 0; the wrong ones are 1."""
    rank = np.where(right, 0, 1)
    return Answers(np.array(list(names)), np.zeros(len(right), int), rank, rank, np.ones(len(right)))


def test_what_is_not_shown_is_said_in_words() -> None:
    one, two, three = answered([True] * 8 + [False] * 2), answered([True] * 5 + [False] * 5), answered([False] * 10)
    first, second, third = results.pairs(["a", "b", "c"], [one, two, three])
    assert (first.only_first_right, first.only_second_right, first.p, first.difference) == (3, 0, 0.25, 30)
    assert first.verdict == "not significant, p = 0.25" and first.agreement == 70
    # 2 / 2^8 is below 0.05 for a pair by itself, and after Holm for the first of three.
    assert (second.p, second.p_holm) == (0.0078125, 0.0234375)
    assert second.verdict == "a is better, p = 0.023"
    assert third.p == 0.0625 and third.p_holm == 0.125 and third.verdict == "not significant, p = 0.12"
    assert results.pairs(["a", "b"], [one, one])[0].verdict == "the same prediction for every image"
    assert [results.shown_p(p) for p in (1.0, 0.051, 0.0049, 0.0004)] == ["1.00", "0.051", "0.0049", "< 0.001"]
    with pytest.raises(UserError, match="c was predicted by only one of them") as raised:
        results.check_same_images(["a", "b"], [answered([True] * 2, "ab"), answered([True] * 3, "abc")])
    assert raised.value.exit_code == 1


def test_what_is_not_finite_is_no_answer() -> None:
    logits = np.array([[1, 1, 0], [0, 1, 5], [1, np.nan, 0]], np.float32)
    found = answers.judge(["a", "b", "c"], np.array([1, 2, 0]), logits)
    assert found.predicted.tolist() == [0, 2, answers.NONE] and found.right.tolist() == [False, True, False]
    assert found.loss[1] == pytest.approx(np.log(np.exp([-5, -4, 0]).sum())) and np.isnan(found.loss[2])
    text = output_files.disagreements(["one", "two"], [found, dataclasses.replace(found, predicted=np.array([0, 2, 2]))], "xyz")
    assert text == "image,label,one,two\nc,x,(none),z\n"


def test_labels_are_short_and_distinct() -> None:
    run = {"model": "deit_tiny", "seed": "seed=0", "format": "MindSpore", "run": "1a2b3c", "path": "runs/1"}
    assert labels([run, run | {"model": "deit_small"}]) == ["deit_tiny", "deit_small"]
    assert labels([run, run | {"seed": "seed=1"}, run | {"format": "onnx"}]) == [
        "seed=0 MindSpore",
        "seed=1 MindSpore",
        "seed=0 onnx",
    ]
    assert labels([run, run | {"run": "4d5e6f", "path": "runs/2"}]) == ["1a2b3c", "4d5e6f"]
    assert labels([run, run, {"model": "deit_tiny"}]) == ["seed=0 #1", "seed=0 #2", "model"]


# ---------------------------------------------------------------------------------------- a real comparison


def make_run(folder: Path, seed: int, classes: list[str], *typed: str) -> RunDirectory:
    """A run with one checkpoint of weights drawn at random, large enough that images are told apart."""
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
    """Three models compared; stopped by SIGTERM while the second answers, and gone on with."""
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


def test_a_stopped_comparison_goes_on_with_the_model_that_is_not_done(compared: Compared) -> None:
    assert compared.code == 143 and f"launch.py resume={directory.shown(compared.run.path)}" in compared.stopped.replace(
        "resume=runs/", f"resume={compared.run.path.parents[1]}/"
    )
    assert compared.outcome.code == 0, compared.outcome.err
    assert compared.outcome.out.count("already finished") == 1
    assert status.read(compared.run).state == FINISHED
    assert [path.name for path in sorted((compared.run.path / "models").iterdir())] == ["1", "2", "3"]


def test_accuracies_are_those_of_the_evaluation(place: Place, compared: Compared) -> None:
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


def test_mlflow_has_it_in_the_experiment_of_the_data(place: Place, compared: Compared) -> None:
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


def test_a_model_s_own_run_in_mlflow_is_named_with_its_page_on_a_server(place: Place, tmp_path: Path) -> None:
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
def test_a_tree_of_class_folders_and_what_cannot_be_read_in_it(place: Place, tmp_path: Path) -> None:
    for name in CLASSES[:3]:
        (tmp_path / "tree" / name).mkdir(parents=True)
        for file in (place.folder / "data" / "val" / name).iterdir():
            (tmp_path / "tree" / name / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tree" / "kind_1" / "broken.png").write_bytes(b"no image")
    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    typed = (f"task.models=[{place.second.path},{place.onnx}]", f"task.input={tmp_path / 'tree'}", "hardware=cpu")
    (own, other) = find_models(prepare(composed("task=compare", *typed)))
    task = dataclasses.replace(own.config.task, classes=str(tmp_path / "names.txt"))  # as the launcher hands them on
    context = Context(directory.create(tmp_path / "made", "part"), dataclasses.replace(own.config, task=task), Mute())
    shown = compare_task(context)
    found = answers.read(context.run.path / answers.FILE)
    assert shown["images"] == len(found) == 27 and found.names[0] == "kind_0/0.png"
    assert found.labels.tolist() == np.repeat([0, 1, 2], 9).tolist() and "broken.png" in context.run.bad_images.read_text()
    assert other.source == place.onnx and other.config.data.crop_pct == 0.9


# ------------------------------------------------------------------------------------------------- mistakes


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


def test_mistakes_end_in_one_message_and_leave_nothing(
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


def test_what_is_typed_without_runs_composes() -> None:
    config = freeze("task=compare", "task.models=[x.onnx,y.onnx]", "task.input=photos")
    assert config.task.input == "photos" and config.hardware.target == "auto"  # type: ignore[attr-defined]
