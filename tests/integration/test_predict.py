"""Prediction, pre- and postprocessing for a device, and attention maps: the results equal those of an evaluation."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from command import ROOT
from composition import composed
from mindspore import Tensor
from PIL import Image
from pixels import pixels_of

from deit.commands.table import prepare
from deit.config import frozen
from deit.config.schema import RunConfig
from deit.data.transform import EvalTransform
from deit.engine.attention import Attentions
from deit.engine.network import build_network
from deit.engine.normalize import Normalize
from deit.engine.recorder import Mute
from deit.errors import UserError
from deit.exports.predictor import normalize, preprocessing_of
from deit.files import write_json
from deit.inference import on_cpu
from deit.inference.images import find_images
from deit.models.shapes import parameter_shapes
from deit.models.weights import load_weights
from deit.runs import checkpoint, directory
from deit.runs.directory import RunDirectory
from deit.tasks.context import Context, Interrupted
from deit.tasks.evaluate import run as evaluate_task
from deit.tasks.explain import run as explain
from deit.tasks.export import run as export_task
from deit.tasks.predict import run as predict_task

CLASSES = [f"kind_{number}" for number in range(7)]
PER_CLASS = 9
TINY = ("model.embed_dim=16", "model.depth=2", "model.num_heads=2", "model.distilled=true", "distill=hard", "distill.teacher=t")
DATA = ("data=imagefolder", "data.eval_batch_size=20", "data.batch_size=2", "data.workers=1", "data.crop_pct=0.9")


def drawn(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Weights whose network answers each image otherwise."""
    if name.endswith("gamma"):
        return np.ones(shape, np.float32)
    return rng.normal(0, 0.02 if len(shape) == 1 or "token" in name else 0.3, shape).astype(np.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images of any size in data/train and data/val, and a run in runs/ whose weights are drawn at random."""
    folder = tmp_path_factory.mktemp("predict")
    rng = np.random.default_rng(0)
    for split, count in (("train", 1), ("val", PER_CLASS)):
        for label, name in enumerate(CLASSES):
            (folder / "data" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (*rng.integers(4, 9, 2), 3), np.uint8)
                size = tuple(int(side) for side in rng.integers(30, 60, 2))
                image = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
                image.save(folder / "data" / split / name / f"{label}{number}.{('png', 'jpg')[number % 2]}")
    config = composed("experiment=quickstart", *DATA, f"data.root={folder / 'data'}", *TINY, "tracking=none")
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, num_classes=len(CLASSES)))
    run = directory.create(folder / "runs", "quickstart")
    frozen.save(config, run.config)
    shapes = parameter_shapes(config.model, len(CLASSES))
    weights = {part: {name: drawn(name, shape, rng) for name, shape in shapes.items()} for part in ("model", "ema")}
    state = {"model": dataclasses.asdict(config.model), "num_classes": len(CLASSES), "classes": CLASSES}
    written = checkpoint.write(run, 5, weights, state)
    write_json(run.best, {prefix: {"checkpoint": written.name} for prefix in ("val", "val_ema")})
    return folder


def run_of(place: Path) -> RunDirectory:
    return RunDirectory(next((place / "runs" / "quickstart").iterdir()))


def context(place: Path, *overrides: str, run: bool = True) -> Context:
    """The configuration that the worker of this command gets; ``run``: for the existing run."""
    named = [f"run={run_of(place).path}"] if run else []
    config = prepare(composed(*overrides, *named, "hardware=cpu"))
    return Context(directory.create(place / "made", "predict"), config, Mute())


def predicted(place: Path, *overrides: str, **more: bool) -> tuple[dict[str, Any], Path]:
    given = context(place, "task=predict", f"task.input={place / 'data' / 'val'}", *overrides, **more)
    return predict_task(given), given.run.path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def evaluated(place: Path) -> dict[str, Any]:
    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)
    return evaluate_task(context(place, "task=evaluate"))


@pytest.fixture(scope="module")
def exports(place: Path) -> dict[str, Path]:
    """The run as ONNX and as a MINDIR of the pixels, by their format."""
    ms.set_context(mode=ms.GRAPH_MODE)
    folders = {}
    for kind, options in {"onnx": [], "mindir": ["task.preprocess_in_graph=true"]}.items():
        given = context(place, "task=export", f"task.format={kind}", f"task.output={place / kind}", *options)
        folders[kind] = Path(export_task(given)["folder"])
    return folders


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize(("weights", "prefix"), [("auto", "val_ema"), ("raw", "val")])
def test_accuracy_equals_task_evaluate(place: Path, evaluated: dict[str, Any], weights: str, prefix: str) -> None:
    results, folder = predicted(place, f"task.weights={weights}")
    expected = evaluated[prefix]
    assert 0 < expected["top1"] < expected["top5"] < 100 and expected["images"] == len(CLASSES) * PER_CLASS
    assert evaluated["val"]["top1"] != evaluated["val_ema"]["top1"]
    assert (results["top1"], results["top5"], results["images"]) == (expected["top1"], expected["top5"], expected["images"])
    assert (folder / "acc.log").read_text() == (
        f"Top1 acc: {expected['top1'] / 100:.5f}\nTop5 acc: {expected['top5'] / 100:.5f}\n"
    )
    rows = lines(folder / "predictions.jsonl")
    assert [row["image"] for row in rows][:2] == ["kind_0/00.png", "kind_0/01.jpg"]
    assert len({row["top"][0]["label"] for row in rows}) >= 3
    assert 100 * np.mean([row["top"][0]["class"] == row["class"] for row in rows]) == pytest.approx(expected["top1"])
    assert 100 * np.mean([row["label"] in [top["label"] for top in row["top"]] for row in rows]) == pytest.approx(
        expected["top5"]
    )
    with open(folder / "confusion.csv", newline="") as file:
        head, *body = list(csv.reader(file))
    matrix = np.array([row[1:] for row in body], int)
    assert head[1:] == CLASSES and matrix.sum() == len(rows) and (matrix.sum(1) == PER_CLASS).all()
    assert 100 * matrix.trace() / len(rows) == pytest.approx(expected["top1"])
    with open(folder / "per_class.csv", newline="") as file:
        own = {row["class"]: float(row["top1"]) for row in csv.DictReader(file)}
    assert [own[name] for name in CLASSES] == pytest.approx(100 * matrix.diagonal() / PER_CLASS, abs=1e-3)
    assert Image.open(folder / "confusion.png").size[0] > 400
    assert results["ms_per_image"] > 0 and results["images_per_s"] > 0 and results["warm"]


def test_onnx_prediction_equals_the_run_without_mindspore(
    place: Path, exports: dict[str, Path], evaluated: dict[str, Any]
) -> None:
    words = ["task=predict", f"task.model={exports['onnx'] / 'model.onnx'}", f"task.input={place / 'data' / 'val'}"]
    output = place / "onnx.csv"
    code = (
        "import sys; from deit.cli import main; code = main(sys.argv[1:]); "
        "assert 'mindspore' not in sys.modules and 'onnxruntime' in sys.modules; sys.exit(code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *words, f"task.output={output}", "task.topk=2"],
        cwd=place,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(place)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    assert f"top-1         {evaluated['val_ema']['top1']:.3f} %" in ended.stdout
    with open(output, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "class", "class_1", "probability_1", "class_2", "probability_2", "error"]
    assert len(rows) == len(CLASSES) * PER_CLASS and all(row["probability_1"] >= row["probability_2"] for row in rows)


@pytest.mark.usefixtures("graph_mode")
def test_export_with_preprocessing_predicts_like_the_run(
    place: Path, exports: dict[str, Path], evaluated: dict[str, Any]
) -> None:
    results, _ = predicted(place, f"task.model={exports['mindir']}", run=False)
    assert (results["top1"], results["top5"]) == (evaluated["val_ema"]["top1"], evaluated["val_ema"]["top5"])


@pytest.mark.usefixtures("graph_mode")
def test_checkpoint_uses_the_preprocessing_of_its_run(place: Path, evaluated: dict[str, Any]) -> None:
    (folder,) = checkpoint.complete(run_of(place))
    for model, prefix in ((folder, "val_ema"), (folder / "model.safetensors", "val")):
        config = prepare(composed("task=predict", f"task.model={model}", f"task.input={place / 'data' / 'val'}"))
        expected = folder / ("ema.safetensors" if prefix == "val_ema" else "model.safetensors")
        assert (config.task.model, config.data.crop_pct, config.model.embed_dim) == (str(expected), 0.9, 16)  # type: ignore[attr-defined]
    results, _ = predicted(place, f"task.model={folder}", run=False)
    assert results["top1"] == evaluated["val_ema"]["top1"]


def test_supported_inputs_of_a_prediction(place: Path, tmp_path: Path) -> None:
    val = place / "data" / "val"
    tree = find_images(str(val), "task.input", CLASSES, 7)
    assert tree.labels is not None and tree.labels.tolist() == np.repeat(np.arange(7), PER_CLASS).tolist()
    # Names of the model decide, not the place of a folder; without names the number of folders does.
    turned = find_images(str(val), "task.input", CLASSES[::-1], 7)
    assert turned.labels is not None and turned.labels[0] == 6
    assert find_images(str(val), "task.input", None, 7).folders == CLASSES
    for known, count in ((["cat", "dog"], 2), (None, 8)):
        unknown = find_images(str(val), "task.input", known, count)
        assert unknown.labels is None and "no labels" in (unknown.remark or "") and len(unknown) == 63
    flat = find_images(str(val / "kind_1"), "task.input", CLASSES, 7)
    assert flat.labels is None and flat.remark is None and flat.names[0] == "10.png" and Path(flat.files[0]).is_file()
    (tmp_path / "some.txt").write_text(f"# mine\n{val / 'kind_1' / '10.png'}\n\nabsent.jpg\n", encoding="utf-8-sig")
    listed = find_images(str(tmp_path / "some.txt"), "task.input", CLASSES, 7)
    assert listed.files == [str(val / "kind_1" / "10.png"), str(tmp_path / "absent.jpg")]
    assert len(find_images(str(val / "kind_1" / "10.png"), "task.input", None, 7)) == 1
    (tmp_path / "stray" / "kind_0").mkdir(parents=True)
    for name in ("kind_0/a.png", "cover.png"):
        (tmp_path / "stray" / name).touch()
    mixed = find_images(str(tmp_path / "stray"), "task.input", CLASSES, 7)
    assert mixed.labels is None and (mixed.remark or "").endswith("contains 1 image (cover.png) next to 1 folder (kind_0)")
    with pytest.raises(UserError, match=r"contains train/ and val/.*data/val"):
        find_images(str(place / "data"), "task.input", CLASSES, 7)
    with pytest.raises(UserError, match="there is no image"):
        (tmp_path / "empty").mkdir()
        find_images(str(tmp_path / "empty"), "task.input", CLASSES, 7)


def test_unreadable_images_are_left_out_and_reported(place: Path, process: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "mine" / name).write_bytes((place / "data" / "val" / "kind_2" / "20.png").read_bytes())
    (tmp_path / "mine" / "broken.jpg").write_bytes(b"no image")
    # Names that are no text in UTF-8, as of an old archive.
    (tmp_path / "mine" / os.fsdecode(b"\xfe.jpg")).write_bytes(b"no image")
    (tmp_path / "mine" / os.fsdecode(b"\xff.png")).write_bytes((tmp_path / "mine" / "a.png").read_bytes())
    (tmp_path / "names.txt").write_text("\n".join(f"Kind {name}" for name in "ABCDEFG"))
    outcome = process(
        "task=predict", f"task.model={run_of(place).path}", "task.input=mine", "task.classes=names.txt", "runs_dir=runs",
        "task.topk=1", "hardware=cpu",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    (run,) = (tmp_path / "runs" / "quickstart").iterdir()
    rows = lines(run / "predictions.jsonl")
    assert [row["image"] for row in rows] == ["a.png", "b.png", "broken.jpg", "\\udcfe.jpg", "\\udcff.png"]
    assert "\\udcfe.jpg: not readable as an image" in outcome.out
    assert rows[0]["top"] == rows[1]["top"] == rows[4]["top"] and rows[0]["top"][0]["class"].startswith("Kind ")
    assert "no known format" in rows[2]["error"] and f"left out      {tmp_path / 'mine' / 'broken.jpg'}" in outcome.out
    assert not (run / "acc.log").exists() and not (tmp_path / "mlflow.db").exists()


@pytest.mark.usefixtures("graph_mode")
def test_failed_prediction_leaves_no_partial_file(place: Path, tmp_path: Path) -> None:
    given = context(place, "task=predict", f"task.input={place / 'data' / 'val'}", "data.eval_batch_size=9")
    given.stop_signals.append(signal.SIGTERM)
    with pytest.raises(Interrupted):
        predict_task(given)
    assert {path.name for path in given.run.path.iterdir()} == {"checkpoints", "logs", "tracking"}
    (tmp_path / "bad.png").write_bytes(b"")
    given = context(place, "task=predict", f"task.input={tmp_path}")
    with pytest.raises(UserError, match=r"none of the 1 images could be read.*bad\.png.*empty") as raised:
        predict_task(given)
    assert raised.value.exit_code == 1 and not list(given.run.path.glob("*predictions*"))


def test_preprocess_and_postprocess_give_the_same_accuracy(
    place: Path, exports: dict[str, Path], evaluated: dict[str, Any], command: Callable[..., Any], tmp_path: Path
) -> None:
    words = [f"task.input={place / 'data' / 'val'}", "task.output=ready"]
    outcome = command("task=preprocess", f"task.model={exports['onnx']}", *words)
    assert outcome.code == 0 and "63 inputs, float32 [3, 32, 32] each" in outcome.out
    config = composed(f"run={run_of(place).path}", "task=evaluate")
    pixels = EvalTransform(config)(pixels_of(str(place / "data" / "val" / "kind_0" / "00.png")))
    expected = normalize(pixels[None], preprocessing_of(config))[0]
    assert np.array_equal(
        np.fromfile(tmp_path / "ready/inputs/00000000_kind_0_00.bin", np.float32).reshape(3, 32, 32), expected
    )

    assert on_cpu.main([str(exports["onnx"]), str(tmp_path / "ready"), str(tmp_path / "results")]) == 2
    assert on_cpu.main([str(exports["onnx"]), str(tmp_path / "ready/inputs"), str(tmp_path / "results")]) == 0
    outcome = command("task=postprocess", "task.input=ready", "task.results=results")
    assert outcome.code == 0, outcome.err
    (run,) = (tmp_path / "runs" / "deit_micro").iterdir()
    top1, top5 = (evaluated["val_ema"][key] / 100 for key in ("top1", "top5"))
    assert (run / "acc.log").read_text() == f"Top1 acc: {top1:.5f}\nTop5 acc: {top5:.5f}\n"

    result = tmp_path / "results/00000000_kind_0_00_0.bin"
    result.unlink()
    outcome = command("task=postprocess", "task.input=ready", "task.results=results")
    assert (
        outcome.code == 0
        and "images        62" in outcome.out
        and "left out      results/00000000_kind_0_00_0.bin: no result" in outcome.out
    )
    np.zeros(3, np.float32).tofile(result)
    outcome = command("task=postprocess", "task.input=ready", "task.results=results")
    assert outcome.code == 2 and "has 12 bytes, but 7 logits in float32 are 28" in outcome.err
    result.unlink()
    outcome = command("task=postprocess", "task.input=ready", "task.results=results", "task.output=/proc/x.csv")
    assert outcome.code == 1 and outcome.err.startswith("/proc/x.csv or the files in ") and outcome.err.count("\n") == 1
    assert len(list((tmp_path / "runs" / "deit_micro").iterdir())) == 2


def test_inputs_for_an_export_with_preprocessing_are_pixels(
    place: Path, exports: dict[str, Path], command: Callable[..., Any], tmp_path: Path
) -> None:
    outcome = command(
        "task=preprocess", f"task.model={exports['mindir']}", f"task.input={place / 'data/val/kind_3/30.png'}", "task.output=r"
    )
    assert outcome.code == 0 and "1 inputs, uint8 [32, 32, 3] each" in outcome.out
    assert (tmp_path / "r/inputs/00000000_kind_3_30.bin").stat().st_size == 32 * 32 * 3


@pytest.mark.usefixtures("graph_mode")
def test_attention_maps_equal_the_networks_attention(place: Path) -> None:
    config: RunConfig = context(place, "task=explain", f"task.input={place / 'data' / 'val'}").config
    network = build_network(config)
    (folder,) = checkpoint.complete(run_of(place))
    weights = checkpoint.read_part(folder, "ema")
    load_weights(network, weights)
    step = Normalize(config.data.mean, config.data.std)
    pixels = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8)
    logits, attentions = (found.asnumpy() for found in Attentions(network, step)(Tensor(pixels)))
    cls, dist = network(step(Tensor(pixels)))
    np.testing.assert_allclose(logits, (cls.asnumpy() + dist.asnumpy()) / 2, rtol=1e-5, atol=1e-5)
    assert attentions.shape == (2, 2, 2, 18, 18)
    np.testing.assert_allclose(attentions.sum(-1), 1, rtol=1e-5)

    # The first block, from its definition: softmax of q k^T / sqrt(d), after the norm.
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    patches = step(Tensor(pixels)).asnumpy().reshape(2, 3, 4, 8, 4, 8).transpose(0, 2, 4, 1, 3, 5).reshape(2, 16, -1)
    x = patches @ w["patch_embed.proj.weight"].reshape(16, -1).T + w["patch_embed.proj.bias"]
    x = np.concatenate([np.repeat(w[f"{name}_token"], 2, 0) for name in ("cls", "dist")] + [x], 1) + w["pos_embed"]
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    x = x * w["blocks.0.norm1.gamma"] + w["blocks.0.norm1.beta"]
    qkv = (x @ w["blocks.0.attn.qkv.weight"].T + w["blocks.0.attn.qkv.bias"]).reshape(2, 18, 3, 2, 8).transpose(2, 0, 3, 1, 4)
    scores = np.exp(qkv[0] @ qkv[1].swapaxes(-1, -2) / np.sqrt(8))
    np.testing.assert_allclose(attentions[0], scores / scores.sum(-1, keepdims=True), rtol=1e-3, atol=1e-5)


@pytest.mark.usefixtures("graph_mode")
def test_explain_draws_a_picture_of_each_image(place: Path, tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes((place / "data/val/kind_3/30.png").read_bytes())
    (tmp_path / "a.png").write_bytes(b"")
    given = context(place, "task=explain", f"task.input={tmp_path}", "task.images=2")
    results = explain(given)
    assert results["pictures"] == ["attention_00001_b.png"] and "a.png" in results["unreadable"][0]
    picture = np.asarray(Image.open(given.run.path / "attention_00001_b.png").convert("RGB")).astype(int)
    assert (np.ptp(picture, -1) > 60).mean() > 0.02  # the colours of the attention


WRONG = [
    (["task=predict", "task.input=x"], ["task.model", "it is null"]),
    (["task=predict", "task.model=last", "task.input=x", "checkpoint=y"], ["task.model=last", "checkpoint=y", "several"]),
    (["task=predict", "run={run}", "task.model={onnx}", "task.input={val}"], ["several", "task.model=", "run="]),
    (["task=predict", "task.model=last"], ["task.input", "not set"]),
    (["task=predict", "task.model=nothing.pth", "task.input={val}"], ["task.model=nothing.pth", "no such file"]),
    (["task=predict", "task.model=nothing.onnx", "task.input={val}"], ["task.model=nothing.onnx", "model.json"]),
    (["task=predict", "task.model={run}", "task.input=nowhere"], ["task.input", "nowhere", "no such file"]),
    (["task=predict", "task.model={run}", "task.input={val}", "task.output=p.txt"], ["task.output", ".jsonl or .csv"]),
    (["task=predict", "task.model={run}", "task.input={val}", "optim.base_lr=1"], ["optim.base_lr", "no effect"]),
    (["task=predict", "task.model={run}", "task.input={val}", "model.depth=3"], ["model.depth", "task.model"]),
    (["task=predict", "task.model={onnx}", "task.input={val}", "data.crop_pct=1"], ["data.crop_pct", "no effect"]),
    (["task=predict", "task.model={onnx}", "task.input={val}", "hardware.target=ascend"], ["hardware.target", "no effect"]),
    (["task=predict", "task.model={onnx}", "task.input={val}", "task.classes={val}"], ["task.classes", "not readable"]),
    (["task=explain", "task.model={onnx}", "task.input={val}"], ["onnx", "shows no attention"]),
    (["task=preprocess", "task.input={val}", "task.output=no/where", "model=deit_tiny"], ["task.output", "does not exist"]),
    (["task=postprocess", "task.input={val}", "task.results=x"], ["task.input", "preprocess.json"]),
    (["task=postprocess", "task.input={val}", "task.results=x", "run=last"], ["run=", "task=postprocess"]),
]  # fmt: skip


def test_mistakes_end_with_one_message_and_write_nothing(
    place: Path, exports: dict[str, Path], command: Callable[..., Any], tmp_path: Path
) -> None:
    known = {"val": place / "data" / "val", "run": run_of(place).path, "onnx": exports["onnx"]}
    run = directory.create(tmp_path / "runs", "quickstart")
    frozen.save(frozen.load(run_of(place).config), run.config)  # `last`
    before = sorted(tmp_path.rglob("*"))
    for words, said in WRONG:
        outcome = command(*(word.format(**known) for word in words))
        assert outcome.code == 2, (words, outcome)
        assert all(word in outcome.err for word in said), (words, outcome.err)
        assert "Traceback" not in outcome.err and sorted(tmp_path.rglob("*")) == before
