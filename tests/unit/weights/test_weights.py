"""Files of weights: what is refused, their names, and how weights of one model fit another.

That they are read rightly is held against torch in ``tests/fidelity/test_weights.py``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import re
import shlex
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from command import ROOT
from composition import composed
from fidelity import FIXTURES
from safetensors.numpy import save_file
from torch_files import archive, number, numbers, state, tensor
from torch_files import text as pickled_text

from deit.compose import groups
from deit.config.schema import ModelConfig
from deit.errors import UserError
from deit.files import write_json
from deit.lookup.weight_files import find_weights
from deit.models.initialisation import initial_weights
from deit.models.shapes import parameter_count, parameter_shapes
from deit.runs import checkpoint, directory
from deit.runs.directory import RunDirectory
from deit.weights import official, pth
from deit.weights.find import files_of_checkpoint
from deit.weights.fit import compare, fit
from deit.weights.naming import to_mindspore, to_timm
from deit.weights.official import OFFICIAL
from deit.weights.pos_embed import resize
from deit.weights.read import description, grid_of, read_shapes, read_weights
from deit.weights.whole import require_exact

PLAIN = FIXTURES / "weights_plain.pth"


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        read_weights(path)
    message = str(error.value)
    assert str(path) in message and "\n" not in message
    return message


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


# ------------------------------------------------------------------------------------------- hostile and damaged files


def test_handwritten_file_is_read(file: Path) -> None:
    """What the tests below change is well-formed."""
    found = read_weights(
        archive(file, state(tensor(), tensor(shape=(3, 2), stride=(1, 3)), tensor(shape=(), stride=(), offset=5)))
    )
    np.testing.assert_array_equal(found["a"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["b"], [[0, 3], [1, 4], [2, 5]])
    assert found["c"] == 5


class Harm:
    """Pickled, a call of os.system."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return os.system, (f"touch {shlex.quote(str(self.trace))}",)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("read", [read_weights, read_shapes])
def test_foreign_code_is_rejected_by_name_and_not_run(file: Path, legacy: bool, read: Callable) -> None:
    trace = file.with_name("trace")
    content = pickle.dumps({"a": 1, "b": Harm(trace)}, protocol=2)
    if legacy:
        before = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
        file.write_bytes(b"".join(pickle.dumps(value, protocol=2) for value in before) + content + pickle.dumps([], protocol=2))
    else:
        archive(file, content)
    with pytest.raises(UserError, match=f"names '{os.system.__module__}.system'.*nothing of it was executed"):
        read(file)
    assert not trace.exists()
    pickle.loads(content)  # the file is what it is taken for
    assert trace.exists()


@pytest.mark.parametrize("protocol", [0, 3, 4, 5])
def test_other_pickles_are_rejected_without_being_run(file: Path, protocol: int) -> None:
    trace = file.with_name("trace")
    archive(file, pickle.dumps({"a": Harm(trace)}, protocol=protocol))
    assert "nothing of it was executed" in refused(file)
    assert not trace.exists()


def test_pickled_module_is_rejected() -> None:
    message = refused(FIXTURES / "weights_whole_module.pth")
    assert "torch.nn.modules" in message and "torch.save(" in message


HUGE = 1 << 40


@pytest.mark.parametrize(
    ("described", "told"),
    [
        (state(tensor(offset=1)), "reaches beyond"),
        (state(tensor(stride=(4, 1))), "reaches beyond"),
        (state(tensor(offset=-1)), "size"),
        (state(tensor(stride=(-3, 1), offset=3)), "size"),
        (state(tensor(shape=(2, 3, 1))), "3 axes and 2 strides"),
        (state(tensor(shape=(1,) * 40, stride=(0,) * 40)), "40 axes"),
        (state(tensor(shape=(HUGE,), stride=(0,))), "reaches beyond"),  # one number, a million million times
        (state(tensor(shape=(HUGE,), stride=(1,), numel=HUGE)), "many times the file"),
        (state(tensor(shape=(7,), stride=(1,), numel=7)), "has 24 bytes in the file"),
        (state(tensor(shape=(1 << 60,), stride=(1,), numel=1 << 60)), "size"),
        (state(tensor(numel=5, shape=(5,), stride=(1,))), "has 24 bytes in the file"),
        (state(tensor(key="1")), "archive/data/1"),
        (state(tensor(key="../data.pkl")), "data.pkl"),
        (state(number(3)), "no weights"),
        (state(), "no weights"),
        (b"\x80\x02]q\x00.", "no weights"),
        (b"\x80\x02}(" + pickled_text("a"), "damaged"),
        (b"\x80\x02" + b"t.", "damaged"),  # a tuple from a mark that is not there
        (b"\x80\x02h\x07.", "damaged"),  # a memo that is not there
        (b"\x80\x02}" + b")" + b"\x85" * 100_000 + b"Ns.", "damaged"),  # hashing this key would overflow the stack
        (b"\x80\x02(lp0\n.", "opcode LIST"),
        (b"\x80\x02}U\x01a.", "opcode SHORT_BINSTRING"),
        (state(b"ctorch._utils\n_rebuild_tensor_v2\n" + numbers((1, 2, 3)) + b"R"), "damaged"),
        (state(b"ccollections\nOrderedDict\n(" + pickled_text("x") + b"tR"), "damaged"),
    ],
)
def test_inconsistent_file_is_rejected(file: Path, described: bytes, told: str) -> None:
    assert told in refused(archive(file, described))


def test_tensors_larger_than_their_storage_are_rejected(file: Path) -> None:
    storage = np.zeros(100_000, np.float32).tobytes()
    many = state(*[tensor(numel=100_000, shape=(100_000,), stride=(1,))] * 20)
    assert "many times the file" in refused(archive(file, many, _0=storage))


def test_oversized_pickle_is_rejected(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pth, "_MOST_PICKLE", 100)
    assert "larger than 100 bytes" in refused(archive(file, state(tensor())))


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_compressed_archive_is_rejected(file: Path, compression: int) -> None:
    """A megabyte of zeros in a thousand bytes; torch never compresses."""
    archive(file, state(tensor(numel=1 << 18)), compression, _0=bytes(1 << 20))
    assert file.stat().st_size < 10_000 and "must be stored" in refused(file)


@pytest.mark.parametrize("name", ["plain.pth", "legacy.pth", "timm.safetensors"])
def test_truncated_file_is_rejected(tmp_path: Path, name: str) -> None:
    content = (FIXTURES / f"weights_{name}").read_bytes()
    file = tmp_path / f"cut_{name}"
    for share in (0, 1, 10, 100, 1000, len(content) // 2, len(content) - 1000, len(content) - 1):
        file.write_bytes(content[:share])
        refused(file)


def test_flipped_bit_is_detected(file: Path) -> None:
    content = bytearray(PLAIN.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert "CRC-32" in refused(file)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>", b"", b"PK\x05\x06" + bytes(18), pickle.dumps({"a": 1})])
def test_file_not_written_by_torch_is_rejected(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    refused(file)


def test_names_with_control_characters_are_rejected(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file({"a\x1b[2Jb": np.zeros(1, np.float32)}, file)
    for read in (read_weights, read_shapes):
        with pytest.raises(UserError, match=r"called 'a\\x1b\[2Jb'"):
            read(file)


@pytest.mark.parametrize(
    ("name", "told"), [("x.ckpt", "no such file"), ("x.pth", "no such file"), ("x.safetensors", "no such file")]
)
def test_unreadable_file_is_reported(tmp_path: Path, name: str, told: str) -> None:
    for read in (read_weights, read_shapes):
        with pytest.raises(UserError, match=told):
            read(tmp_path / name)


def test_official_file_name_contains_the_sha256(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = OFFICIAL["deit_tiny_patch16_224"]
    file = tmp_path / entry.file_name
    file.write_bytes(PLAIN.read_bytes())
    assert "of this name with a1311bcf" in refused(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr(official, "_FILES", (dataclasses.replace(entry, sha256=digest[:8]),))
    right = file.rename(tmp_path / f"deit_tiny_patch16_224-{digest[:8]}.pth")
    assert read_weights(right).keys() == read_weights(PLAIN).keys()


def test_a_part_of_a_checkpoint_is_checked_and_describes_itself(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "x")
    model = dataclasses.asdict(micro())
    folder = checkpoint.write(run, 3, {"model": {"a": np.ones(3, np.float32)}}, {"model": model, "num_classes": 10})
    file = folder / "model.safetensors"
    assert read_shapes(file) == ({"a": (3,)}, description(model, 10, "mindspore", None))
    np.testing.assert_array_equal(read_weights(file)["a"], [1, 1, 1])
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert "SHA-256" in refused(file)


# ---------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", groups.groups()["model"])
def test_names_convert_in_both_directions(name: str) -> None:
    shapes = parameter_shapes(option(name), 10)
    theirs = to_timm(shapes)
    assert not any(re.search(r"norm\d*\.(gamma|beta)$", name) for name in theirs)
    assert {"norm.weight", "blocks.0.norm1.bias", "blocks.1.norm2.weight", "patch_embed.proj.weight"} <= theirs.keys()
    assert list(to_mindspore(theirs).items()) == list(shapes.items())
    assert to_mindspore(shapes) == shapes and to_timm(theirs) == theirs


def test_layer_scale_by_the_name_of_facebook() -> None:
    named = {"blocks.3.gamma_1": 1, "blocks.3.gamma_2": 2, "norm.weight": 3}
    assert to_mindspore(named) == {"blocks.3.ls1.gamma": 1, "blocks.3.ls2.gamma": 2, "norm.gamma": 3}
    assert to_timm(named) == {"blocks.3.ls1.gamma": 1, "blocks.3.ls2.gamma": 2, "norm.weight": 3}
    with pytest.raises(UserError, match=r"ls1\.gamma twice"):
        to_mindspore({"blocks.3.gamma_1": 1, "blocks.3.ls1.gamma": 1})


def test_two_names_for_one_parameter_are_rejected() -> None:
    with pytest.raises(UserError, match=r"norm\.gamma twice"):
        to_mindspore({"norm.gamma": 1, "norm.weight": 2})


# ---------------------------------------------------------------------------------------------- one model into another


def option(name: str) -> ModelConfig:
    return ModelConfig(**yaml.safe_load((groups.CONF / "model" / f"{name}.yaml").read_text(encoding="utf-8")))


def micro(**changes: object) -> ModelConfig:
    return dataclasses.replace(option("deit_micro"), embed_dim=16, num_heads=2, **changes)  # type: ignore[arg-type]


def weights(classes: int = 10, seed: int = 0, **changes: object) -> dict[str, np.ndarray]:
    model = micro(**changes)
    return initial_weights(parameter_shapes(model, classes), seed, model.init_values)


def test_same_model_is_loaded_completely() -> None:
    theirs, initial = weights(seed=1), weights()
    fitted, told = fit(to_timm(theirs), initial)
    assert told.taken == list(initial) and len(told.lines()) == 1 and not told.useless
    assert fitted.keys() == initial.keys()
    assert all(np.array_equal(fitted[name], theirs[name]) for name in initial)


def test_head_of_another_size_is_initialised() -> None:
    theirs, initial = weights(classes=1000, seed=1), weights()
    fitted, told = fit(theirs, initial)
    assert told.replaced == {"head.weight": ((1000, 16), (10, 16)), "head.bias": ((1000,), (10,))}
    np.testing.assert_array_equal(fitted["head.weight"], initial["head.weight"])
    np.testing.assert_array_equal(fitted["pos_embed"], theirs["pos_embed"])
    assert "head.weight is initial, for 10 classes instead of the file's 1000" in told.lines()


def test_another_image_size_resizes_the_position_embedding() -> None:
    theirs, initial = weights(seed=1), weights(img_size=48)
    fitted, told = fit(theirs, initial)
    np.testing.assert_array_equal(fitted["pos_embed"], resize(theirs["pos_embed"], 1, 6))
    assert told.resized == {"pos_embed": "from 4 x 4 to 6 x 6 patches"}
    assert "pos_embed resized from 4 x 4 to 6 x 6 patches" in told.lines()


def test_rectangular_grids_with_as_many_patches_are_distinguished() -> None:
    theirs, initial = weights(seed=1, img_size=[16, 48]), weights(img_size=[48, 16])
    assert theirs["pos_embed"].shape == initial["pos_embed"].shape
    fitted, told = fit(theirs, initial, grids=((2, 6), (6, 2)))
    assert told.resized == {"pos_embed": "from 2 x 6 to 6 x 2 patches"} and "pos_embed" not in told.taken
    np.testing.assert_array_equal(fitted["pos_embed"], resize(theirs["pos_embed"], 1, (6, 2), old=(2, 6)))
    assert fit(theirs, weights(img_size=[16, 48]), grids=((2, 6), (2, 6)))[1].resized == {}
    # 9 x 11 patches and the class token are as many rows as a square of 10 x 10 without it.
    theirs, initial = weights(seed=1, img_size=[72, 88]), weights(img_size=48)
    fitted, told = fit(theirs, initial, grids=((9, 11), (6, 6)))
    assert told.resized == {"pos_embed": "from 9 x 11 to 6 x 6 patches"}
    np.testing.assert_array_equal(fitted["pos_embed"][:, :1], theirs["pos_embed"][:, :1])


def test_checkpoint_of_another_aspect_ratio_is_rejected(tmp_path: Path) -> None:
    model, file = micro(img_size=[16, 48]), tmp_path / "wide.safetensors"
    told = description(dataclasses.asdict(model), 10, "mindspore")
    save_file(weights(img_size=[16, 48]), file, told)
    require_exact(file, model, 10, "checkpoint")
    assert grid_of(file) == (2, 6)
    with pytest.raises(UserError, match=r"the file says img_size=\[16, 48\], the configuration \[48, 16\]"):
        require_exact(file, micro(img_size=[48, 16]), 10, "checkpoint")


def test_distilled_weights_for_a_plain_model_drop_the_token() -> None:
    theirs, initial = weights(seed=1, distilled=True), weights(img_size=48)
    fitted, told = fit(theirs, initial)
    np.testing.assert_array_equal(fitted["pos_embed"][:, 0], theirs["pos_embed"][:, 0])
    np.testing.assert_array_equal(fitted["pos_embed"][:, 1:], resize(theirs["pos_embed"], 2, 6)[:, 2:])
    assert told.extra == ["dist_token", "head_dist.weight", "head_dist.bias"] and not told.missing
    assert "without the row of the distillation token" in told.resized["pos_embed"]
    np.testing.assert_array_equal(fitted["head.weight"], theirs["head.weight"])


def test_plain_weights_for_a_distilled_model_initialise_the_token() -> None:
    theirs, initial = weights(seed=1), weights(distilled=True)
    fitted, told = fit(theirs, initial)
    rows = fitted["pos_embed"]
    np.testing.assert_array_equal(rows[:, 0], theirs["pos_embed"][:, 0])
    np.testing.assert_array_equal(rows[:, 1], initial["pos_embed"][:, 1])
    np.testing.assert_array_equal(rows[:, 2:], theirs["pos_embed"][:, 1:])
    assert told.missing == ["dist_token", "head_dist.weight", "head_dist.bias"]
    assert told.resized["pos_embed"] == "with an initial row for the distillation token"


def test_a_position_embedding_of_the_patches_alone_is_resized() -> None:
    theirs = weights(seed=1, no_embed_class=True, init_values=1e-4)
    named = {name.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): value for name, value in theirs.items()}
    fitted, told = fit(named, weights(img_size=48, no_embed_class=True, init_values=1e-2, classes=7))
    np.testing.assert_array_equal(fitted["pos_embed"], resize(theirs["pos_embed"], 0, 6))
    np.testing.assert_array_equal(fitted["blocks.1.ls2.gamma"], theirs["blocks.1.ls2.gamma"])
    assert told.resized == {"pos_embed": "from 4 x 4 to 6 x 6 patches"} and not told.lost
    assert list(told.replaced) == ["head.weight", "head.bias"]


@pytest.mark.parametrize("distilled", [False, True])
def test_position_of_the_class_token_is_dropped_or_initialised(distilled: bool) -> None:
    alone, first = weights(seed=1, no_embed_class=True, distilled=distilled), weights(distilled=distilled)
    tokens = 1 + distilled
    fitted, told = fit(alone, first)
    np.testing.assert_array_equal(fitted["pos_embed"][:, :tokens], first["pos_embed"][:, :tokens])
    np.testing.assert_array_equal(fitted["pos_embed"][:, tokens:], alone["pos_embed"])
    assert told.resized["pos_embed"].startswith("with an initial row for the class token")
    fitted, told = fit(first, alone)
    np.testing.assert_array_equal(fitted["pos_embed"], first["pos_embed"][:, tokens:])
    assert told.resized["pos_embed"].startswith("without the row of the class token")


def test_all_other_names_are_reported() -> None:
    theirs, initial = weights(seed=1, depth=3), weights(mlp_ratio=2.0)
    del theirs["cls_token"]
    fitted, told = fit(theirs, initial)
    assert told.missing == ["cls_token"]
    assert len(told.extra) == 12 and all(name.startswith("blocks.2.") for name in told.extra)
    assert told.misshapen.keys() == {
        f"blocks.{i}.mlp.{name}" for i in (0, 1) for name in ("fc1.weight", "fc1.bias", "fc2.weight")
    }
    assert {*told.taken, *told.missing, *told.misshapen} == initial.keys()
    for name in (*told.missing, *told.misshapen):
        np.testing.assert_array_equal(fitted[name], initial[name])
    assert told.to_dict()["extra"] == told.extra
    shown = "\n".join(told.lines())
    assert "cls_token" in shown and "(12)" in shown and "(64, 16) instead of (32, 16)" in shown


def test_non_square_position_embedding_is_rejected() -> None:
    found = {name: value.shape for name, value in weights().items()} | {"pos_embed": (1, 12, 16)}
    needed = {name: value.shape for name, value in weights(img_size=48).items()}
    assert compare(found, needed).misshapen["pos_embed"] == ((1, 12, 16), (1, 37, 16))


def test_file_with_only_a_head_is_rejected() -> None:
    """The bias of a head fits every model of as many classes."""
    shapes = {name: value.shape for name, value in weights().items()}
    wider = parameter_shapes(dataclasses.replace(micro(), embed_dim=32), 10)
    told = compare(wider, shapes)
    assert told.taken == ["head.bias"] and told.useless
    assert compare({"stem.conv.weight": (32, 3, 3, 3)}, shapes).useless


def test_an_evaluation_needs_every_name_and_shape(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    theirs = to_timm(weights())
    save_file(theirs, file)
    require_exact(file, micro(), 10, "checkpoint")
    for changed, told in (
        (theirs | {"fc.bias": np.zeros(3, np.float32)}, "not in the model: fc.bias"),
        ({name: value for name, value in theirs.items() if name != "norm.weight"}, "missing: norm.gamma"),
        (theirs | {"head.bias": np.zeros(3, np.float32)}, r"head.bias \(3,\) instead of \(10,\)"),
    ):
        save_file(changed, file, description(dataclasses.asdict(micro()), 10, "timm", None))
        with pytest.raises(UserError, match=told) as error:
            require_exact(file, micro(), 10, "checkpoint")
        assert "its metadata say deit_micro with img_size 32, 10 classes" in str(error.value)


# ------------------------------------------------------------------------------------------------- where weights are


def run_with(folder: Path, best: dict[str, int], *, ema: bool = True) -> RunDirectory:
    """A run with checkpoints at steps 1 and 2, and its best ones."""
    config = composed("experiment=quickstart")
    run = directory.create(folder / "runs", "quickstart")
    from deit.config import frozen

    frozen.save(config, run.config)
    parts = {"model": {"a": np.ones(1, np.float32)}} | ({"ema": {"a": np.ones(1, np.float32)}} if ema else {})
    for step in (1, 2):
        checkpoint.write(run, step, parts, {})
    write_json(run.best, {prefix: {"checkpoint": checkpoint.folder_name(step)} for prefix, step in best.items()})
    return run


def test_find_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = composed(
        "experiment=quickstart", f"runs_dir={tmp_path}/runs", "tracking=none", "model.pretrained=x", "weights_dir=w"
    )
    averaged = run_with(tmp_path, {"val": 1, "val_ema": 2})

    def found(text: str) -> Path:
        return find_weights(text, "model.pretrained", config)

    step_1, step_2 = (averaged.checkpoints / checkpoint.folder_name(step) for step in (1, 2))
    assert found(str(averaged.path)) == found("last") == step_2 / "ema.safetensors"
    assert found(str(step_1)) == step_1 / "ema.safetensors"
    assert found(str(step_1 / "model.safetensors")) == step_1 / "model.safetensors"
    raw = run_with(tmp_path / "other", {"val": 1}, ema=False)
    assert found(str(raw.path)) == raw.checkpoints / checkpoint.folder_name(1) / "model.safetensors"

    with pytest.raises(UserError) as error:
        found("deit_small_patch16_224")
    told = str(error.value)
    for part in ("deit_small_patch16_224-cd65a155.pth", "https://dl.fbaipublicfiles.com/deit/", "88 MB", str(tmp_path / "w")):
        assert part in told
    (tmp_path / "w").mkdir()
    there = tmp_path / "w" / "deit_small_patch16_224-cd65a155.pth"
    there.write_bytes(b"")
    assert found("deit_small_patch16_224") == there

    (tmp_path / "notes.txt").write_text("")
    for text, told in (
        ("deit_smal_patch16_224", "Did you mean 'deit_small_patch16_224'"),
        ("notes.txt", "not a weight file"),
        ("w", "config.yaml is missing"),
        ("0123456789abcdef0123456789abcdef", "MLflow run id"),
    ):
        with pytest.raises(UserError, match=f"model.pretrained={text}.*{told}"):
            found(text)


def test_files_of_checkpoint(tmp_path: Path) -> None:
    config = composed("experiment=quickstart", "tracking=none")
    folder = run_with(tmp_path, {"val": 1}).checkpoints / checkpoint.folder_name(1)
    assert files_of_checkpoint(str(folder), config) == {
        "val": folder / "model.safetensors",
        "val_ema": folder / "ema.safetensors",
    }
    assert files_of_checkpoint(str(PLAIN), config) == {"val": PLAIN}
    with pytest.raises(UserError, match="checkpoint=nothing: no such file or folder"):
        files_of_checkpoint("nothing", config)


# ------------------------------------------------------------------------------------------------ the official files


@pytest.mark.parametrize("entry", OFFICIAL.values(), ids=OFFICIAL)
def test_official_files_are_of_our_models(entry: official.Official) -> None:
    if entry.model is None:
        return
    config = option(entry.model)
    assert entry.megabytes == round(4e-6 * parameter_count(config, 1000))
    assert (str(config.img_size) in entry.name) and config.distilled == ("distilled" in entry.name)
    # The headers of conf/model/ state the accuracy of the first file of their model.
    entry = next(first for first in OFFICIAL.values() if first.model == entry.model)
    header = groups.describe(groups.CONF / "model" / f"{entry.model}.yaml")
    assert f"{entry.top1:.1f} % top-1" in header


def test_the_document_has_the_official_files() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", (ROOT / "docs" / "pretrained.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name, _ in rows] == list(OFFICIAL)
    for name, row in rows:
        entry = OFFICIAL[name]
        assert row.split(" | ") == [
            f"[{entry.file_name}]({entry.url})",
            f"{entry.megabytes} MB",
            f"`{entry.sha256}`" if entry.sha256 else "not published",
            f"`model={entry.model}`" if entry.model else "teacher only",
            f"{entry.top1:.3f} / {entry.top5:.3f}"
            if entry.top5
            else f"{entry.top1:.1f} / not stated"
            if entry.top1
            else "not stated",
        ]


def test_member_shorter_than_it_claims_reads_no_other_memory(tmp_path: Path) -> None:
    """A zip archive contains its sizes twice; if they differ, a view of the claimed size would exceed the buffer."""
    content = np.arange(6, dtype=np.float32).tobytes()
    file = archive(tmp_path / "lies.pth", state(tensor(numel=1000, shape=(1000,), stride=(1,))), _0=content + bytes(8000))
    written = bytearray(file.read_bytes())
    entry = written.index(b"PK\x01\x02", written.rindex(b"archive/data.pkl"))  # the directory's entry of the storage
    struct.pack_into("<III", written, entry + 16, zlib.crc32(content), len(content), 4000)
    file.write_bytes(written)
    with zipfile.ZipFile(file) as opened:
        member = opened.infolist()[1]
        assert (member.compress_size, member.file_size, opened.read(member)) == (24, 4000, content)  # Python does not mind
    with pytest.raises(UserError, match=r"as torch\.save writes it"):
        read_weights(file)


def test_storage_shorter_than_it_claims_is_rejected(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the archive's reader hands out, a tensor's view stays within it."""
    archive(file, state(tensor()))
    whole = zipfile.ZipFile.read
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda self, name: whole(self, name)[: 20 if "data/0" in str(name) else None])
    assert "has 5 numbers, not 6" in refused(file)
