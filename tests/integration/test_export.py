"""`task=export`: every format gives the logits of the checkpoint, at any batch size, and nothing unverified is kept."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import ROOT, Outcome
from composition import freeze
from safetensors.numpy import load_file

from deit.commands.table import prepare
from deit.config import frozen
from deit.config.schema import RunConfig
from deit.errors import UserError
from deit.exports import description
from deit.files import whole_folder, write_json
from deit.installation import install_command
from deit.models.initialisation import initial_weights
from deit.models.shapes import parameter_shapes
from deit.runs import checkpoint, directory
from deit.runs.directory import RunDirectory
from deit.weights.pos_embed import resize

SMALL = ("experiment=quickstart", "model.embed_dim=16", "model.num_heads=2", "tracking=none", "data.val_limit=40")
SMALL += ("data.eval_batch_size=16", "data.workers=0")
DISTILLED = ("model.distilled=true", "distill=hard", "distill.teacher=nobody")
STEP = 7
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)  # no multiple of a fixed batch of 4


def weights_of(config: RunConfig, seed: int) -> dict[str, np.ndarray]:
    """Random weights, larger than initial ones so that the attention is not uniform and the classes differ."""
    found = initial_weights(parameter_shapes(config.model, 10), seed, config.model.init_values)
    larger = {name: 20 if name.startswith("head") else 5 for name, value in found.items() if value.ndim > 1}
    return {name: value * np.float32(larger.get(name, 1)) for name, value in found.items()}


def make_run(folder: Path, *typed: str) -> RunDirectory:
    """A run with one checkpoint, as a training leaves it."""
    config = freeze(*SMALL, *typed, f"runs_dir={folder}")
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, num_classes=10))
    run = directory.create(config.runs_dir, config.name)
    frozen.save(config, run.config)
    best = {
        prefix: {"checkpoint": checkpoint.folder_name(STEP), "step": STEP, "epoch": 1, "loss": 1.5, "top1": top1, "top5": 99.0}
        for prefix, top1 in (("val", 50.0), ("val_ema", 60.0))
    }
    model = dataclasses.asdict(config.model)
    parts = {"model": weights_of(config, 1), "ema": weights_of(config, 2)}
    checkpoint.write(run, STEP, parts, {"model": model, "num_classes": 10, "best": best, "last": best})
    write_json(run.best, best)
    return run


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("distilled"), *DISTILLED)


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("grey"), "model.in_chans=1", "data.mean=[0.3]", "data.std=[0.4]")


@pytest.fixture(scope="module")
def layer_scaled(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return make_run(tmp_path_factory.mktemp("layer_scaled"), "model.init_values=0.5", "model.no_embed_class=true")


def export(run: RunDirectory, *typed: str) -> tuple[Path, description.Description]:
    """What the worker does for `task=export run=RUN`, in this process."""
    from deit.engine.recorder import Mute
    from deit.tasks.context import Context
    from deit.tasks.export import run as export_task

    config = prepare(freeze("task=export", f"run={run.path}", *typed))
    own = directory.create(run.path.parent / "of_exports", "export")
    folder = Path(export_task(Context(own, config, Mute()))["folder"])
    return folder, description.read(folder, "here")


@functools.cache
def answers_of(run: RunDirectory, part: str) -> np.ndarray:
    """What a checkpoint's network answers on ``pixels_of`` its run, in float32."""
    from deit.exports.predictor import open_network

    config = frozen.load(run.config)
    config = dataclasses.replace(config, precision=dataclasses.replace(config.precision, level="O0"))
    config = dataclasses.replace(config, hardware=dataclasses.replace(config.hardware, target="cpu"))
    weights = checkpoint.read_part(run.checkpoints / checkpoint.folder_name(STEP), part)
    return open_network(config, weights, [str(i) for i in range(10)], None, "here")(pixels_of(run))


def pixels_of(run: RunDirectory) -> np.ndarray:
    """PIXELS with the channels of the network."""
    return PIXELS[..., : frozen.load(run.config).model.in_chans]


@pytest.mark.versions
@pytest.mark.parametrize(
    ("run", "typed", "folder", "tolerance"),
    [
        ("plain", ("task.format=mindir",), "mindir_ema", 1e-5),
        (
            "distilled",
            ("task.format=mindir", "task.batch=4", "task.preprocess_in_graph=true"),
            "mindir_ema_pixels_batch4",
            1e-5,
        ),
        ("plain", ("task.format=mindir", "task.precision=float16"), "mindir_ema_float16", 2e-2),
        ("plain", ("task.format=onnx",), "onnx_ema", 1e-5),
        ("plain", ("task.format=onnx", "task.preprocess_in_graph=true", "task.weights=raw"), "onnx_raw_pixels", 1e-5),
        ("distilled", ("task.format=onnx", "task.batch=4"), "onnx_ema_batch4", 1e-5),
        ("layer_scaled", ("task.format=onnx",), "onnx_ema", 1e-5),
        ("grey", ("task.format=onnx", "task.preprocess_in_graph=true"), "onnx_ema_pixels", 1e-5),
        ("grey", ("task.format=mindir",), "mindir_ema", 1e-5),
        ("distilled", ("task.format=onnx", "task.precision=float16"), "onnx_ema_float16", 2e-2),
        ("distilled", ("task.format=safetensors", "task.weights=raw"), "safetensors_raw", 1e-6),
        ("plain", ("task.format=safetensors", "task.precision=float16"), "safetensors_ema_float16", 2e-2),
    ],
    ids=lambda value: value if isinstance(value, str) and "_" in value else "",
)
def test_every_format_gives_the_logits_of_the_checkpoint(
    run: str, typed: tuple[str, ...], folder: str, tolerance: float, request: pytest.FixtureRequest, graph_mode: None
) -> None:
    from deit.exports.predictor import open_export

    source: RunDirectory = request.getfixturevalue(run)
    path, described = export(source, *typed)
    assert path == source.exports / folder
    assert sorted(file.name for file in path.iterdir()) == ["model.json", f"model.{described.export_format}"]
    assert described.verification is not None and described.verification.images == 40
    assert described.verification.max_difference <= tolerance
    part = {"raw": "model", "ema": "ema"}[described.weights]
    state = checkpoint.read_state(source.checkpoints / checkpoint.folder_name(STEP))
    assert described.verification.against.split()[-1] == state["files"][f"{part}.safetensors"]["sha256"]
    assert described.metrics is not None and described.metrics.top1 == {"raw": 50.0, "ema": 60.0}[described.weights]
    assert described.run is not None and (described.run.id, described.run.step) == (source.id, STEP)

    predictor = open_export(path, "here")
    images, expected = pixels_of(source), answers_of(source, part)
    found = predictor(images)
    assert found.dtype == np.float32 and np.abs(expected).max() > 0.5
    np.testing.assert_allclose(found, expected, atol=max(tolerance, 1e-5))
    np.testing.assert_allclose(predictor(images[:1]), expected[:1], atol=max(tolerance, 1e-5))


def test_mindir_of_any_batch_can_teach(plain: RunDirectory, graph_mode: None, tmp_path: Path) -> None:
    from deit.engine.mindir import load_mindir

    folder, described = export(plain, "task.format=mindir", f"task.output={tmp_path / 'teacher'}", "task.images=2")
    assert described.batch is None
    loaded = load_mindir(folder / "model.mindir", (32, 32), "here")
    assert (loaded.batch, loaded.num_classes) == (None, 10)


def test_onnx_runs_without_mindspore(plain: RunDirectory, tmp_path: Path, graph_mode: None) -> None:
    export(plain, "task.format=onnx", f"task.output={tmp_path / 'x'}", "task.images=3")
    np.save(tmp_path / "images.npy", PIXELS)
    code = (
        "import sys, pathlib, numpy as np\n"
        "from deit.exports.predictor import open_export\n"
        "answers = open_export(pathlib.Path('x'), 'here')(np.load('images.npy'))\n"
        "np.save('answers.npy', answers)\n"
        "print(*sorted({'mindspore', 'hydra', 'mlflow'} & set(sys.modules)))"
    )
    environment = {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == ""
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), answers_of(plain, "ema"), atol=1e-5)


def test_another_image_size_resizes_the_position_embedding(plain: RunDirectory, graph_mode: None) -> None:
    folder, described = export(plain, "task.format=safetensors", "model.img_size=64", "task.images=4")
    assert folder.name == "safetensors_ema_64px" and described.preprocessing.img_size == 64
    assert described.metrics is None  # those of the run are of smaller images
    trained = checkpoint.read_part(plain.checkpoints / checkpoint.folder_name(STEP), "ema")
    stored = load_file(folder / "model.safetensors")
    np.testing.assert_array_equal(stored["pos_embed"], resize(trained["pos_embed"], 1, 8))
    np.testing.assert_array_equal(stored["head.weight"], trained["head.weight"])


@pytest.mark.parametrize("typed", [("task.format=onnx", "task.preprocess_in_graph=true"), ("task.format=mindir",)])
def test_a_rectangular_export_from_square_weights(plain: RunDirectory, graph_mode: None, typed: tuple[str, ...]) -> None:
    from deit.exports.predictor import open_export

    folder, described = export(plain, "model.img_size=[32,48]", "task.images=4", *typed)
    assert folder.name.endswith("_32x48px") and described.preprocessing.size == (32, 48) and described.metrics is None
    assert described.input.shape == ([None, 32, 48, 3] if described.preprocessing.in_graph else [None, 3, 32, 48])
    assert described.verification is not None and described.verification.max_difference < 1e-5
    predictor = open_export(folder, "here")
    assert predictor(np.zeros((2, 32, 48, 3), np.uint8)).shape == (2, 10)
    with pytest.raises(UserError, match=r"expected are uint8 \[N, 32, 48, 3\]"):
        predictor(np.zeros((2, 48, 32, 3), np.uint8))


@pytest.mark.parametrize("typed", [("task.format=onnx",), ("task.format=mindir", "task.precision=float16")])
def test_a_calibrated_export_divides_the_logits(distilled: RunDirectory, graph_mode: None, typed: tuple[str, ...]) -> None:
    from deit.exports.predictor import open_export

    folder, described = export(distilled, "task.calibrate=true", *typed)
    assert folder.name.endswith("_calibrated") and described.verification is not None
    found = described.calibration
    assert found is not None and found.images == 40 and found.temperature != 1
    assert found.nll_after < found.nll_before
    assert description.read(folder, "here").calibration == found
    expected = answers_of(distilled, "ema") / found.temperature
    np.testing.assert_allclose(open_export(folder, "here")(PIXELS), expected, atol=1e-5 if "onnx" in typed[0] else 2e-2)


def test_export_that_differs_is_not_kept(
    plain: RunDirectory, tmp_path: Path, graph_mode: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deit.tasks import export as task

    # float16 held to what float32 keeps: a file that is written well and answers otherwise.
    monkeypatch.setitem(task.TOLERANCE, "float16", 1e-7)
    with pytest.raises(UserError, match=r"on 40 images logits differ by up to .* Nothing was kept") as raised:
        export(plain, "task.format=onnx", "task.precision=float16", f"task.output={tmp_path / 'x'}")
    assert raised.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_export_are_removed_by_the_next(tmp_path: Path) -> None:
    code = (
        "import pathlib, signal\n"
        "from deit.files import whole_folder\n"
        "with whole_folder(pathlib.Path('x')) as folder:\n"
        "    (folder / 'half').write_text('half')\n"
        "    print('here', flush=True)\n"
        "    signal.pause()"
    )
    environment = {"PYTHONPATH": str(ROOT)}
    killed = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None and killed.stdout.readline() == "here\n"
    (left,) = tmp_path.iterdir()
    with whole_folder(tmp_path / "x.y"):  # a name that begins alike, and a maker that lives
        killed.kill()
        killed.communicate()
        with whole_folder(tmp_path / "x") as folder:
            assert not left.exists()
            (folder / "whole").write_text("whole")
        with pytest.raises(OSError), whole_folder(tmp_path / "x") as folder:  # there meanwhile
            (folder / "whole").write_text("other")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["x", "x.y", "x/whole"]
    assert (tmp_path / "x" / "whole").read_text() == "whole"


def test_damaged_exports_are_rejected(plain: RunDirectory, tmp_path: Path, graph_mode: None) -> None:
    folder, _ = export(plain, "task.format=safetensors", f"task.output={tmp_path / 'x'}", "task.images=2")
    path, text = folder / "model.safetensors", (folder / "model.json").read_text()
    content = path.read_bytes()
    for damaged, said in ((content[:-1], "truncated"), (content[:-1] + bytes([content[-1] ^ 1]), "damaged, its SHA-256")):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=said):
            description.read(folder, "export=x")
    path.write_bytes(content)
    values = json.loads(text)
    for changed, said in (
        (values | {"format": 2}, "has format 2"),
        (values | {"classes": ["a"]}, "number of classes is 1"),
        (values | {"bytes": "1"}, "bytes is '1', but a whole number"),
        ({name: value for name, value in values.items() if name != "weights"}, "missing weights"),
    ):
        (folder / "model.json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match=said):
            description.read(folder, "export=x")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("task.format=air", "task.batch=1"), "only on a machine with an Ascend card, and this one has none"),
        (("task.format=air",), "task.format=air has a batch of one size only"),
        (("task.output=.",), "already exists"),
        (("task.output=no/where",), "create it first"),
        (("task.format=safetensors", "task.batch=4"), "task.batch has no effect with task.format=safetensors"),
        (("optim.base_lr=1",), "optim.base_lr has no effect with task=export"),
        (("hardware.cards=2",), "hardware.cards has no effect with task=export"),
        (("model.depth=3",), "model.depth was 2 in this run and cannot become 3"),
        (("model.img_size=30",), "img_size must be a multiple of patch_size"),
    ],
)
def test_mistakes_are_rejected_before_the_start(
    plain: RunDirectory, command: Callable[..., Outcome], typed: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    outcome = command("task=export", f"run={plain.path}", f"runs_dir={tmp_path}", *typed)
    assert outcome.code == 2 and said in outcome.err, outcome.err
    assert list(tmp_path.iterdir()) == []


def test_files_need_an_output_and_their_model(plain: RunDirectory, command: Callable[..., Outcome], tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes((plain.checkpoints / checkpoint.folder_name(STEP) / "ema.safetensors").read_bytes())
    common = ("task=export", f"checkpoint={file}", *SMALL)
    assert "does not belong to a run; give task.output=FOLDER" in command(*common).err
    assert "belongs to another model than deit_micro" in command(*common, "model.depth=3", "task.output=x").err
    assert "task.weights has no effect with checkpoint=FILE" in command(*common, "task.weights=raw", "task.output=x").err
    inside = plain.checkpoints / checkpoint.folder_name(STEP)
    taken = f"{plain.path} instead of checkpoint= also loads its recipe"
    assert taken in command("task=export", f"checkpoint={inside}", *SMALL, "model.depth=3").err
    assert taken in command("task=export", f"checkpoint={inside}", "data=imagefolder", "data.root=nowhere").err
    assert f"It is a checkpoint of the run {plain.path}; give run=" in command("task=export", f"run={inside}").err
    assert f"give run={plain.path}." in command("task=export", f"checkpoint={plain.path}", *SMALL).err
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_missing_packages_are_reported(
    plain: RunDirectory, command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # what Python itself puts there to forbid an import
    outcome = command("task=export", f"run={plain.path}", "task.format=onnx")
    assert outcome.code == 2
    assert f"needs onnxruntime, not installed here: {install_command('export')}" in outcome.err


def test_export_command_end_to_end(plain: RunDirectory, process: Callable[..., Outcome], tmp_path: Path) -> None:
    ended = process("task=export", f"run={plain.path}", "task.format=onnx", "task.output=digits", "runs_dir=mine")
    assert ended.code == 0, ended.err
    assert "digits/model.onnx" in ended.out
    assert f"EMA (moving average) of {plain.path}, step {STEP}, top-1 60.00 %" in ended.out
    assert "images: float32 [any, 3, 32, 32] NCHW" in ended.out
    assert "against the checkpoint on 40 validation images: largest difference" in ended.out
    assert sorted(path.name for path in (tmp_path / "digits").iterdir()) == ["model.json", "model.onnx"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits", "mine"]
