"""Teachers: who is recognised, what they answer, what is refused, and whole trainings with them."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from composition import composed
from launching import launch, metrics, only_run, same_weights
from mindspore import Tensor, nn
from safetensors.numpy import save_file

from deit.config.schema import ModelConfig, RunConfig
from deit.data.datasets import open_dataset
from deit.data.loader import TrainLoader
from deit.engine.loss import build_loss, mean_of_heads
from deit.engine.network import build_network
from deit.engine.state import TrainState
from deit.engine.step import TrainStep
from deit.engine.step_inputs import BatchInputs, StepInputs, batch_inputs
from deit.engine.teacher import Teaching, build_teaching
from deit.errors import UserError
from deit.inference.model_source import teacher_order
from deit.models.recognise import recognise
from deit.models.regnet import build_regnet
from deit.models.regnet_shapes import Block, RegNetY, folded, is_regnet, read_regnet, regnet_shapes
from deit.models.shapes import parameter_shapes
from deit.models.weights import load_weights
from deit.randomness import generator
from deit.runs import checkpoint, status
from deit.runs.directory import RunDirectory
from deit.runs.journal import read
from deit.weights.naming import to_timm
from deit.weights.read import description, read_shapes, read_weights

# Small enough for a second a step, with erasing and mixing, which the teacher must see too.
STUDENT = (
    "experiment=quickstart",
    "model.img_size=16",
    "model.embed_dim=16",
    "model.depth=1",
    "model.num_heads=2",
    "model.distilled=true",
    "augment.mixup_prob=1",
    "augment.reprob=1",
    "data.batch_size=8",
)
TINY_REGNET = RegNetY(
    stem_width=8,
    blocks=(
        Block("s1.b1", inputs=8, width=16, group_width=4, se_width=2),
        Block("s2.b1", inputs=16, width=24, group_width=8, se_width=4),
        Block("s2.b2", inputs=24, width=24, group_width=8, se_width=6),
    ),
    num_classes=10,
)


def drawn(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """Weights that let a random network tell images apart."""
    weights = {}
    for name, shape in shapes.items():
        values = generator(seed, f"test:{name}").standard_normal(shape, np.float32)
        if name.endswith(("gamma", "bn.weight")):
            values = 1 + 0.1 * values
        elif name.endswith("running_var"):
            values = np.exp(0.2 * values)
        elif len(shape) == 1:
            values = 0.1 * values
        else:
            values = values * np.float32(np.prod(shape[1:]) ** -0.5)
        weights[name] = values.astype(np.float32)
    return weights


def regnet_file(path: Path, regnet: RegNetY = TINY_REGNET) -> Path:
    counters = {f"{block.name}.conv1.bn.num_batches_tracked": np.array(7, np.int64) for block in regnet.blocks}
    save_file(drawn(regnet_shapes(regnet)) | counters, path)
    return path


def deit(**changes: Any) -> ModelConfig:
    return dataclasses.replace(composed(*STUDENT, "distill=hard", "distill.teacher=t").model, **changes)


# --------------------------------------------------------------------------------- which network a file is of


def test_a_regnet_is_read_from_its_names_and_shapes() -> None:
    shapes = regnet_shapes(TINY_REGNET)
    assert is_regnet(shapes)
    shuffled = dict(sorted(shapes.items(), reverse=True)) | {"stem.bn.num_batches_tracked": ()}
    assert read_regnet(shuffled, "file") == TINY_REGNET


def changed(name: str, shape: tuple[int, ...] | None) -> dict[str, tuple[int, ...]]:
    shapes = regnet_shapes(TINY_REGNET) | {name: shape}
    return {name: shape for name, shape in shapes.items() if shape is not None}


@pytest.mark.parametrize(
    ("shapes", "word"),
    [
        (changed("s1.b1.conv1.bn.running_mean", None), "s1.b1.conv1.bn.running_mean is missing"),
        (changed("s2.b2.se.fc1.weight", None), "s2.b2.se.fc1"),
        (changed("s2.b1.downsample.conv.weight", None), "s2.b1.downsample.conv.weight is missing"),
        (changed("s2.b1.conv3.conv.weight", (24, 16, 1, 1)), "(24, 16, 1, 1) instead of (24, 24, 1, 1)"),
        (changed("final_conv.conv.weight", (4, 4, 1, 1)), "final_conv.conv.weight is unknown"),
        (changed("s2.b2.conv2.conv.weight", (24, 7, 3, 3)), "block s2.b2 does not fit"),
        (changed("stem.conv.weight", (9, 3, 3, 3)), "stem"),
        (changed("s1.b1.conv1.conv.weight", ()), "s1.b1.conv1.conv.weight"),
        (changed("head.fc.weight", (10,)), "head.fc.weight"),
    ],
)
def test_other_regnets_are_refused(shapes: dict[str, tuple[int, ...]], word: str) -> None:
    with pytest.raises(UserError, match="not a RegNetY") as error:
        read_regnet(shapes, "file")
    assert str(error.value).startswith("file:") and word in str(error.value)


@pytest.mark.parametrize(
    "option", ["deit_tiny", "deit_small_distilled", "deit_base_384", "deit_base_distilled_384", "deit3_large_384", "deit3_huge"]
)
def test_published_deits_are_known_by_their_shapes(option: str) -> None:
    distilled = ("distill=hard", "distill.teacher=t") if "distilled" in option else ()
    model = composed(f"model={option}", *distilled, "hardware=cpu").model
    found, classes = recognise(parameter_shapes(model, 1000), {}, "file")
    assert isinstance(found, ModelConfig)
    same = (
        "img_size",
        "patch_size",
        "embed_dim",
        "depth",
        "num_heads",
        "mlp_ratio",
        "distilled",
        "no_embed_class",
        "init_values",
    )
    assert [getattr(found, key) for key in same] == [getattr(model, key) for key in same] and classes == 1000


def test_what_a_file_says_of_itself_goes_before_a_guess() -> None:
    model = deit(embed_dim=128, num_heads=4)  # by its width alone it would have two heads
    told = description(dataclasses.asdict(model), 10, "mindspore")
    assert recognise(parameter_shapes(model, 10), told, "file") == (model, 10)
    assert recognise(parameter_shapes(model, 10), {}, "file")[0].num_heads == 2


@pytest.mark.parametrize(
    ("shapes", "metadata", "word"),
    [
        ({"conv1.weight": (64, 3, 7, 7), "fc.weight": (1000, 2048)}, {}, "neither those of a DeiT nor of a RegNetY"),
        ({}, {}, "neither those of a DeiT nor of a RegNetY"),
        (parameter_shapes(deit(), 10), {}, "how many attention heads"),
        (parameter_shapes(deit(), 10), {"model": "{", "num_classes": "10"}, "damaged"),
        (parameter_shapes(deit(), 10), {"model": '{"depth": 1}', "num_classes": "10"}, "damaged"),
        (parameter_shapes(deit(), 10), {"model": "[]", "num_classes": "10"}, "damaged"),
        (parameter_shapes(deit(), 10), description(dataclasses.asdict(deit(depth=2)), 10, "timm"), "blocks.1"),
        (parameter_shapes(deit(embed_dim=64), 10) | {"blocks.0.attn.q_norm.weight": (64,)}, {}, "blocks.0.attn.q_norm.weight"),
        (parameter_shapes(deit(embed_dim=64), 10) | {"blocks.0.ls1.gamma": (64,)}, {}, "blocks.0.ls2.gamma"),
        (parameter_shapes(deit(embed_dim=64), 10) | {"pos_embed": (1, 7, 64)}, {}, "pos_embed"),
        (parameter_shapes(deit(embed_dim=64), 10) | {"patch_embed.proj.weight": (64,)}, {}, "patch_embed.proj.weight"),
    ],
)
def test_other_networks_are_refused(shapes: dict[str, tuple[int, ...]], metadata: dict[str, str], word: str) -> None:
    with pytest.raises(UserError) as error:
        recognise(shapes, metadata, "file")
    assert str(error.value).startswith("file:") and word in str(error.value)


# ------------------------------------------------------------------------------------------ what a teacher answers


def student(teacher: Path, *more: str) -> RunConfig:
    return composed(*STUDENT, "distill=soft", f"distill.teacher={teacher}", *more)


def teaching_of(config: RunConfig) -> Teaching:
    teaching = build_teaching(config)
    assert teaching is not None
    return teaching


def training_batch(config: RunConfig) -> BatchInputs:
    """The first batch of a training as the step and the teacher get it."""
    batch = next(TrainLoader(config, open_dataset(config.data, train=True), 0, 1).epoch(0))
    return batch_inputs(config, batch, 0, 0)


def teacher_network(config: RunConfig, model: ModelConfig, seed: int = 3) -> nn.Cell:
    network = build_network(config, model=model)
    load_weights(network, drawn(parameter_shapes(model, 10), seed))
    return network


def exported(network: nn.Cell, path: Path, batch: int | None, size: int = 16) -> Path:
    ms.export(network, Tensor(shape=[batch, 3, size, size], dtype=ms.float32), file_name=str(path), file_format="MINDIR")
    return path.with_suffix(".mindir")


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize("kind", ["regnet", "checkpoint", "timm", "mindir", "mindir of a fixed batch", "mindir of two heads"])
def test_a_teacher_answers_for_the_erased_and_mixed_images(kind: str, tmp_path: Path) -> None:
    config = student(tmp_path)
    if kind == "regnet":
        network: nn.Cell = build_regnet(TINY_REGNET)
        load_weights(network, folded(drawn(regnet_shapes(TINY_REGNET)), TINY_REGNET))
        file = regnet_file(tmp_path / "regnet.safetensors")
    else:
        # Names are those of the student and values are not: each graph must keep to its own.
        model = deit(embed_dim=64 if kind == "timm" else 24, num_heads=1, distilled=kind in ("timm", "mindir of two heads"))
        network = teacher_network(config, model)
        weights = drawn(parameter_shapes(model, 10), seed=3)
        if kind == "timm":
            file = tmp_path / "deit.safetensors"
            save_file(to_timm(weights), file)
        elif kind == "checkpoint":
            run = RunDirectory(tmp_path / "run")
            state = {"model": dataclasses.asdict(model), "num_classes": 10}
            file = (
                checkpoint.write(run, 1, {"model": drawn(parameter_shapes(model, 10)), "ema": weights}, state)
                / "ema.safetensors"
            )
        else:
            file = exported(network, tmp_path / "deit", 8 if "fixed" in kind else None)
    config = student(file)
    teaching, batch = teaching_of(config), training_batch(config)
    assert teaching.batch == (8 if "fixed" in kind else None)
    images, _ = teaching.teacher.inputs(*batch)
    wanted = mean_of_heads(network(images)).asnumpy()
    assert np.ptp(wanted, axis=0).max() > 1e-2  # it does tell images apart
    np.testing.assert_allclose(teaching.teacher(*batch).asnumpy(), wanted, atol=1e-6)


@pytest.mark.usefixtures("graph_mode")
def test_the_step_distills_from_the_answers_and_leaves_the_teacher_alone(tmp_path: Path) -> None:
    config = student(regnet_file(tmp_path / "regnet.safetensors"))
    teaching, batch, state = teaching_of(config), training_batch(config), TrainState(config)
    before = teaching.teacher(*batch)
    images, targets = teaching.teacher.inputs(*batch)
    loss = build_loss(config.loss, config.distill)
    wanted = float(loss(state.network(images), before, targets).asnumpy())
    step = TrainStep(config, state.network, state.average, loss, state.optimizer, state.loss_scale, None, 1, True)
    inputs = StepInputs(
        *batch, drop_path=None, dropout_key=None, first=Tensor(True), lr=Tensor(1e-2, ms.float32), teacher_logits=before
    )
    answered = step(*inputs)
    assert float(answered[0].asnumpy()) == pytest.approx(wanted, rel=1e-5)
    np.testing.assert_array_equal(teaching.teacher(*batch).asnumpy(), before.asnumpy())
    assert not any("teacher" in name or "stem" in name for part in state.parts().values() for name in part)


def named_teacher(file: Path, classes: list[str], size: int = 16) -> Path:
    model = deit(img_size=size, embed_dim=24, num_heads=1)
    save_file(drawn(parameter_shapes(model, 10)), file, description(dataclasses.asdict(model), 10, "mindspore", classes))
    return file


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize("form", ["weights", "mindir"])
def test_a_teacher_of_other_labels_is_reordered_by_name(form: str, tmp_path: Path) -> None:
    config = student(named_teacher(tmp_path / "t.safetensors", list("9876543210")))
    classes = open_dataset(config.data, train=True).classes
    assert config.distill.teacher is not None
    order = teacher_order(Path(config.distill.teacher), "distill.teacher", classes)
    assert order == list(range(9, -1, -1))
    if form == "mindir":
        weights = read_weights(tmp_path / "t.safetensors")
        network = build_network(config, model=deit(embed_dim=24, num_heads=1))
        load_weights(network, weights)
        config = student(exported(network, tmp_path / "t", None))
    plain, named = teaching_of(config), build_teaching(config, order)
    assert named is not None
    batch = training_batch(config)
    wanted = plain.teacher(*batch).asnumpy()[:, ::-1]
    np.testing.assert_array_equal(named.teacher(*batch).asnumpy(), wanted)
    images, _ = named.teacher.inputs(*batch)
    np.testing.assert_array_equal(mean_of_heads(named.network(images)).asnumpy(), wanted)


@pytest.mark.usefixtures("graph_mode")
def test_half_precision_is_the_teachers_too(tmp_path: Path) -> None:
    file = regnet_file(tmp_path / "regnet.safetensors")
    full, half = student(file), student(file, "precision=o2")
    exact, rounded = (teaching_of(config).teacher(*training_batch(config)).asnumpy() for config in (full, half))
    assert rounded.dtype == np.float32 and not np.array_equal(rounded, exact)
    np.testing.assert_allclose(rounded, exact, atol=2e-2)


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("batch", ["batch size 4", "data.batch_size is 8", "data.batch_size=4"]),
        ("classes", ["the teacher has 7 classes", "data.num_classes is 10"]),
        ("size", ["FLOAT [-1, 3, 32, 32]", "[B, 3, 16, 16]"]),
        ("features", ["returns [-1, 1, 16]", "logits [B, classes]"]),
        ("damaged", ["damaged or not a MINDIR"]),
        ("empty", ["takes nothing"]),
    ],
)
def test_a_mindir_that_does_not_fit_is_refused(what: str, words: list[str], tmp_path: Path) -> None:
    class Flat(nn.Cell):
        """As much of a network as the message needs."""

        def __init__(self, outputs: int) -> None:
            super().__init__()
            self.outputs = outputs

        def construct(self, images: Tensor) -> Tensor:
            logits = images[:, 0, 0, : self.outputs] * 2
            return logits.expand_dims(1) if self.outputs == 16 else logits

    file = tmp_path / "net.mindir"
    if what == "damaged":
        file.write_bytes(b"\xff" * 100)
    elif what == "empty":
        file.write_bytes(b"")
    else:
        outputs = {"classes": 7, "features": 16}.get(what, 10)
        exported(Flat(outputs), file.with_suffix(""), 4 if what == "batch" else None, 32 if what == "size" else 16)
    with pytest.raises(UserError) as error:
        build_teaching(student(file))
    assert str(error.value).startswith(f"distill.teacher={file}")
    for word in words:
        assert word in str(error.value)


# ------------------------------------------------------------------------------------- found before anything starts

BEFORE: list[tuple[Callable[[Path], object], str, list[str]]] = [
    (lambda folder: None, "regnety_160", ["regnety_160-a5fe301d.pth", "https://", "weights_dir"]),
    (lambda folder: None, "regnety_16", ["no such file", "'regnety_160'"]),
    (lambda folder: None, "t.mindir", ["distill.teacher=t.mindir", "no such file"]),
    (lambda folder: (folder / "t.pth").write_bytes(b"torn"), "t.pth", ["distill.teacher=t.pth", "t.pth"]),
    (lambda folder: (folder / "t.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{"), "t.safetensors", ["truncated"]),
    (
        lambda folder: regnet_file(folder / "t.safetensors", dataclasses.replace(TINY_REGNET, num_classes=7)),
        "t.safetensors",
        ["data.num_classes=7", "the student 10"],
    ),
    (
        lambda folder: save_file({"conv1.weight": np.zeros((4, 3, 7, 7), np.float32)}, folder / "t.safetensors"),
        "t.safetensors",
        ["neither those of a DeiT nor of a RegNetY", "conv1.weight", "MINDIR"],
    ),
    (
        lambda folder: named_teacher(folder / "t.safetensors", list("abcdefghij"), 32),
        "t.safetensors",
        ["was trained on other classes: only the teacher has a, b, c, d, e and 5 more; only the data has 0, 1, 2"],
    ),
]


@pytest.mark.parametrize(("prepare", "teacher", "words"), BEFORE, ids=[case[1] for case in BEFORE])
def test_a_teacher_that_cannot_teach_is_refused(
    prepare: Callable[[Path], object], teacher: str, words: list[str], command: Callable[..., Any], tmp_path: Path
) -> None:
    prepare(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    outcome = command(
        "experiment=quickstart", "hardware=cpu", "model.distilled=true", "distill=hard", f"distill.teacher={teacher}"
    )
    assert outcome.code == 2 and "Traceback" not in outcome.err
    for word in ("distill.teacher", *words):
        assert word in outcome.err, outcome.err
    assert sorted(tmp_path.rglob("*")) == before


# ------------------------------------------------------------------------------------------------ whole trainings

TRAINING = (
    *(text for text in STUDENT if not text.startswith("data.")),
    "data.train_limit=128",
    "data.val_limit=100",
    "schedule.epochs=3",
    "schedule.warmup_epochs=1",
    "schedule.eval_every=3",
    "schedule.max_steps=16",
    "tracking=none",
    "tracking.log_every=1",
    "distill=hard",
)


def events(run: RunDirectory, event: str) -> list[dict[str, Any]]:
    return [record for _, record in read(run.journal) if record.get("event") == event]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Sixteen steps taught by ``regnet.safetensors``, in ``one``: the folder, and what was said."""
    folder = tmp_path_factory.mktemp("taught")
    file = regnet_file(folder / "regnet.safetensors")
    ended = launch(
        folder, *TRAINING, f"distill.teacher={file}", "augment.mixup_prob=0", "hardware=cpu", "data.batch_size=16", "name=one"
    )
    assert ended.returncode == 0, ended.stderr
    return folder, ended.stdout


def test_a_regnet_teaches_one_and_two_processes_alike(taught: tuple[Path, str]) -> None:
    """The same global batch and teacher: the same losses and weights, and the teacher counted over all images."""
    folder, said = taught
    trained = sum(np.prod(shape) for name, shape in regnet_shapes(TINY_REGNET).items() if ".running_" not in name)
    assert f"teacher: RegNetY of 3 blocks, widths 16, 24, {trained:,} parameters, top-1" in said
    teacher = f"distill.teacher={folder / 'regnet.safetensors'}"
    ended = launch(folder, *TRAINING, teacher, "augment.mixup_prob=0", "hardware=cpu2", "data.batch_size=8", "name=two")
    assert ended.returncode == 0, ended.stderr
    one, two = only_run(folder, "one"), only_run(folder, "two")
    first, second = metrics(one), metrics(two)
    assert len(first["train/loss"]) == 16
    np.testing.assert_allclose(first["train/loss"], second["train/loss"], rtol=1e-5)
    for name in ("teacher/top1", "teacher/top5", "val/top1"):
        assert first[name] == second[name]
    assert [step for step, _ in first["teacher/loss"]] == [0]
    (introduced,) = events(one, "teacher")
    assert introduced["images"] == 100 and introduced["top1"] == first["teacher/top1"][0][1]
    assert status.read(one).results["teacher"]["top1"] == introduced["top1"]
    same_weights(checkpoint.complete(one)[-1], checkpoint.complete(two)[-1], atol=2e-5)


def test_a_resumed_student_keeps_its_teacher(taught: tuple[Path, str], tmp_path: Path) -> None:
    """Another teacher is refused, also under the old name; the old one is taken from a new place."""
    shutil.copytree(taught[0], tmp_path, dirs_exist_ok=True)
    run = only_run(tmp_path, "one")
    moved, other = tmp_path / "moved.safetensors", tmp_path / "other.safetensors"
    (tmp_path / "regnet.safetensors").rename(moved)
    save_file(drawn(regnet_shapes(TINY_REGNET), seed=1), other)
    more = (f"resume={run.path}", "schedule.max_steps=18")
    refused = launch(tmp_path, *more, f"distill.teacher={other}")
    assert refused.returncode == 2 and "the teacher of this run was RegNetY" in refused.stderr, refused.stderr
    ended = launch(tmp_path, *more, f"distill.teacher={moved}")
    assert ended.returncode == 0, ended.stderr
    assert len(metrics(run)["train/loss"]) == 18
    assert len(events(run, "teacher")) == 1 and "teacher" in status.read(run).results


def test_the_heads_of_a_student_are_evaluated_by_themselves(taught: tuple[Path, str], tmp_path: Path) -> None:
    run = only_run(taught[0], "one")
    ended = launch(tmp_path, "task=evaluate", f"run={run.path}", "task.heads=true", "tracking=none")
    assert ended.returncode == 0, ended.stderr
    results = status.read(only_run(tmp_path, "one")).results
    assert list(results) == ["val", "val_cls", "val_dist", "val_ema", "val_ema_cls", "val_ema_dist"]
    assert results["val"]["top1"] == status.read(run).results["best"]["val"]["top1"]
    assert len({results[f"val{head}"]["loss"] for head in ("", "_cls", "_dist")}) == 3
    assert "raw, class head" in ended.stdout and "EMA, distillation head" in ended.stdout


def test_one_head_is_not_evaluated_twice(command: Callable[..., Any]) -> None:
    outcome = command("task=evaluate", "model=deit_tiny", "checkpoint=a.safetensors", "task.heads=true")
    assert outcome.code == 2 and "task.heads has no effect without model.distilled" in outcome.err


@pytest.mark.usefixtures("graph_mode")
def test_a_mindir_teaches_and_a_wrong_one_ends_with_one_message(tmp_path: Path) -> None:
    network = teacher_network(student(tmp_path), deit(distilled=False))
    file = exported(network, tmp_path / "teacher", 16)
    ended = launch(tmp_path, *TRAINING, "data.batch_size=16", f"distill.teacher={file}", "schedule.max_steps=2")
    assert ended.returncode == 0, ended.stderr
    assert "teacher: MINDIR, top-1" in ended.stdout
    refused = launch(tmp_path, *TRAINING, "data.batch_size=32", f"distill.teacher={file}", "name=refused")
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "has batch size 16, but data.batch_size is 32" in refused.stderr


def test_a_checkpoint_describes_the_teacher_it_becomes(tmp_path: Path) -> None:
    """A student's own checkpoint folder is recognised as the distilled model it holds."""
    run = RunDirectory(tmp_path)
    model = deit()
    state = {"model": dataclasses.asdict(model), "num_classes": 10}
    folder = checkpoint.write(run, 1, {"model": drawn(parameter_shapes(model, 10))}, state)
    shapes, metadata = read_shapes(folder / "model.safetensors")
    assert recognise(shapes, metadata, "file") == (model, 10)
