"""Packed images: the same data set as the class folders, readable by other programs, rejected if damaged."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import LAUNCH
from composition import composed
from launching import launch
from PIL import Image

from deit.config.schema import DataConfig, RunConfig
from deit.data.datasets import check_images, open_dataset
from deit.data.loader import EvalLoader, TrainLoader
from deit.data.packed import INDEX
from deit.data.shard import Source, write_tar
from deit.errors import UserError
from deit.files import read_json
from deit.inference.images import find_images
from deit.inference.labelled import open_tree
from deit.inference.reading import batches
from deit.runs import status
from deit.runs.directory import RunDirectory

FORMATS = ("tar", "mindrecord")
LONG = "long" * 40 + ".jpg"  # more than the 100 bytes of a plain tar header
ODD = ("dog/a.png", "dog/a.b.jpg", "dog/two words.JPEG", "dog/täglich.jpg", f"dog/{LONG}", os.fsdecode(b"dog/\xff\xfe.jpg"))
EMPTY, CUT = "cat/empty.jpg", "cat/cut.jpg"


def picture(rng: np.random.Generator, kind: str) -> bytes:
    height, width = rng.integers(30, 70, 2)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with every kind of name and two bad images, as ``images`` and packed in both formats next to it."""
    rng = np.random.default_rng(0)
    top = tmp_path_factory.mktemp("packed")
    names = [f"train/{name}/{i:03d}.{kind}" for name in ("ant", "cat", "dog") for i, kind in enumerate(["jpg", "png"] * 42)]
    names += [f"train/{name}" for name in (*ODD, EMPTY, CUT)]
    names += [f"val/{name}/{i}.jpg" for name in ("dog", "ant") for i in range(9)]
    for name in names:
        path = top / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = picture(rng, "PNG" if name.endswith("png") else "JPEG")
        path.write_bytes({EMPTY: b"", CUT: content[:-50]}.get(name.removeprefix("train/"), content))
    (top / "images/train/dog/notes.txt").write_text("no image")
    packing = [
        subprocess.Popen(
            [sys.executable, str(LAUNCH), *pack(top, form), "task.shard_mb=1"], stdout=subprocess.PIPE, text=True, cwd=top
        )
        for form in FORMATS
    ]
    for form, process in zip(FORMATS, packing, strict=True):
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        assert f"{form}/train: 260 images, " in said and said.count("MB, in") == 1 and f"data.root={form}" in said
        assert ("reads 2 of these images as parts" in said) == (form == "tar")  # a.png and a.b.jpg are one sample to it
    return top


def pack(top: Path, form: str) -> list[str]:
    return ["task=pack", "data=imagefolder", f"data.root={top}/images", f"task.format={form}", f"task.output={top}/{form}"]


def recipe(root: Path, *more: str) -> RunConfig:
    return composed("data=imagefolder", f"data.root={root}", "model=deit_micro", "data.batch_size=8", *more)


def test_packed_data_set_equals_the_class_folders(folder: Path) -> None:
    for train in (True, False):
        there = open_dataset(recipe(folder / "images").data, train)
        for form in FORMATS:
            found = open_dataset(recipe(folder / form, f"data.format={form}").data, train)
            assert found.classes == there.classes == ["ant", "cat", "dog"] and len(found.shards) > train
            np.testing.assert_array_equal(found.labels, there.labels)
            assert found.labels.dtype == np.int64
            for index in range(len(there)):
                assert found.content(index) == there.content(index)
                shard, _, name = found.describe(index).partition(":")
                assert name == there.name(index) == found.name(index) and Path(shard).is_file()


@pytest.mark.parametrize(
    "more", [("augment=deit_repeated", "data.on_bad_image=skip"), ("augment.backend=pil", "data.on_bad_image=replace")]
)
def test_packed_batches_are_bit_identical(folder: Path, more: tuple[str, ...]) -> None:
    def batches(root: Path, workers: int, rank: int) -> list[list[np.ndarray | None]]:
        config = recipe(root, f"data.workers={workers}", "data.eval_batch_size=4", *more)
        found: list[list[np.ndarray | None]] = []
        bad = []
        for batch in TrainLoader(config, open_dataset(config.data, True), rank, 2).epoch(1):
            found.append([batch.images, batch.labels, batch.indices, batch.boxes, batch.noise])
            bad += [(Path(image.file).name, image.kind, image.reason) for image in batch.bad]
        for part in EvalLoader(config, open_dataset(config.data, False), rank, 2):
            found.append([part.images, part.labels, part.valid, part.indices])
        assert len(found) == 16 + 3
        return [*found, [np.array(bad)]]

    for rank in (0, 1):
        wanted = batches(folder / "images", 2, rank)
        for form, workers in (("tar", 3), ("mindrecord", 0)):
            for ours, theirs in zip(batches(folder / form, workers, rank), wanted, strict=True):
                for one, other in zip(ours, theirs, strict=True):
                    np.testing.assert_array_equal(one, other)


def test_tar_restores_the_class_folders(folder: Path) -> None:
    labels = {"ant": b"0", "cat": b"1", "dog": b"2"}
    found: dict[str, bytes] = {}
    for shard in sorted((folder / "tar/train").glob("*.tar")):
        with tarfile.open(shard, errors="surrogateescape") as archive:
            members = archive.getmembers()
            assert len({member.name for member in members}) == len(members)  # WebDataset refuses doubles
            for member in members:
                file = archive.extractfile(member)
                assert file is not None and member.mode == 0o644
                if member.name.endswith(".cls"):
                    assert file.read() == labels[member.name.partition("/")[0]]
                else:
                    found[member.name] = file.read()
    root = folder / "images/train"
    paths = [path for path in root.rglob("*") if path.is_file() and path.suffix != ".txt"]
    assert found == {str(path.relative_to(root)): path.read_bytes() for path in paths}


def test_mindspore_reads_the_mindrecord_shards(folder: Path) -> None:
    import mindspore.dataset

    there = open_dataset(recipe(folder / "images").data, True)
    shards = sorted(str(path) for path in (folder / "mindrecord/train").glob("*.mindrecord"))
    assert all(Path(path).stat().st_mode & 0o044 for path in shards)
    rows = mindspore.dataset.MindDataset(shards, shuffle=False).create_dict_iterator(num_epochs=1, output_numpy=True)
    seen = 0
    for number, row in enumerate(rows):
        content = there.content(number)
        assert row["image"].tobytes() == (content or b"\0") and row["label"] == there.labels[number] and row["index"] == number
        name = os.fsencode(there.describe(number)).decode(errors="replace")
        assert name.endswith("/" + str(row["file_name"]))
        seen += 1
    assert seen == len(there) == 260


def copied(folder: Path, tmp_path: Path, form: str = "tar") -> Path:
    return Path(shutil.copytree(folder / form, tmp_path / "copy"))


def refused(root: Path, *more: str) -> str:
    with pytest.raises(UserError) as caught:
        open_dataset(recipe(root, *more).data, True)
    assert caught.value.exit_code == 2
    return str(caught.value)


def change_description(root: Path, change: Callable[[dict], object]) -> None:
    said = read_json(root / "dataset.json")
    change(said)
    (root / "dataset.json").write_text(json.dumps(said))


def test_damage_is_reported_before_the_start(folder: Path, tmp_path: Path) -> None:
    root = copied(folder, tmp_path)
    shard, index, description = root / "train/00000.tar", root / "train" / INDEX, root / "dataset.json"
    whole = {path: path.read_bytes() for path in (shard, index, description)}

    def restore() -> None:
        for path, content in whole.items():
            path.write_bytes(content)

    shard.write_bytes(whole[shard][:-5000])
    size = len(whole[shard])
    assert f"the shard {shard} has {size - 5000:,} bytes, but dataset.json says {size:,}" in refused(root)
    shard.unlink()
    assert f"the shard {shard} cannot be opened (No such file or directory)" in refused(root)
    restore()
    index.write_bytes(whole[index][:-1] + b"x")
    assert f"{index} differs from its SHA-256 in dataset.json" in refused(root)
    index.unlink()
    assert f"{index} cannot be read (No such file" in refused(root)
    for field, row, value in (("offset", 7, size), ("length", 0, 2**62), ("shard", 3, 99), ("label", 2, 3), ("offset", 1, -1)):
        restore()
        rows = np.load(index)
        rows[field][row] = value
        np.save(index, rows)
        digest = hashlib.sha256(index.read_bytes()).hexdigest()
        change_description(root, lambda said, digest=digest: said["splits"]["train"].update(index_sha256=digest))
        assert f"{index} places image {row} beyond its shard" in refused(root)
    index.write_bytes(b"no index")
    digest = hashlib.sha256(b"no index").hexdigest()
    change_description(root, lambda said: said["splits"]["train"].update(index_sha256=digest))
    assert f"{index} is not an index" in refused(root)
    restore()
    for change, message in (
        (lambda said: said.update(packed=2), "has version 2 of packed data, this program reads version 1"),
        (lambda said: said.update(format="zip"), "has the format 'zip'; this program reads tar and mindrecord"),
        (lambda said: said["splits"].pop("val"), "is damaged (KeyError: 'val')"),
        (lambda said: said["splits"]["val"]["shards"][0].update(file="../../x.tar"), "names a shard '../../x.tar'"),
        (lambda said: said["splits"]["train"].update(images=259), "is not an index of 259 images"),
    ):
        restore()
        change_description(root, change)
        assert message in refused(root)
    description.write_text("{")
    assert "dataset.json is not JSON" in refused(root)


def test_wrong_data_format_is_rejected(folder: Path, tmp_path: Path) -> None:
    assert "data.format is tar, but" in refused(folder / "images", "data.format=tar")
    said = refused(folder / "tar", "data.format=mindrecord")
    assert said == f"data.format is mindrecord, but {folder}/tar contains tar shards (dataset.json); give data.format=tar."
    assert "contains tar shards" in refused(folder / "tar", "data.format=folder")
    foreign = Path(shutil.copytree(folder / "images", tmp_path / "images"))
    (foreign / "dataset.json").write_text('{"name": "somebody else\'s"}')
    assert len(open_dataset(recipe(foreign).data, True)) == 260
    (foreign / "dataset.json").write_text("somebody else's")
    assert "data.format=folder ignores it" in refused(foreign)
    assert len(open_dataset(recipe(foreign, "data.format=folder").data, True)) == 260


def test_changed_shard_is_detected(folder: Path, tmp_path: Path, command: Callable) -> None:
    root = copied(folder, tmp_path, "mindrecord")
    data = open_dataset(recipe(root).data, False)
    place = int(data.offset[4])
    shard = root / "val/00000.mindrecord"
    content = bytearray(shard.read_bytes())
    content[place + 30] ^= 255
    shard.write_bytes(content)
    outcome = command("task=check_data", "data=imagefolder", f"data.root={root}", "task.output=report.json")
    assert outcome.code == 1 and "val: shards that differ from what task=pack wrote: 1" in outcome.out
    found = read_json(tmp_path / "report.json")["splits"]
    assert found["val"]["damaged_shards"] == [str(shard)] and found["train"]["damaged_shards"] == []
    assert [Path(bad["file"]).name for bad in found["train"]["bad"]] == ["cut.jpg", "empty.jpg"]
    os.truncate(shard, place)  # while it is open
    with pytest.raises(UserError, match=r"00000\.mindrecord:ant/4\.jpg: the shard ends within this image") as caught:
        data.image(4)
    assert caught.value.exit_code == 1


def test_bad_packed_images_are_found_before_the_start(folder: Path) -> None:
    data = open_dataset(recipe(folder / "tar", "data.max_pixels=100").data, True)
    with pytest.raises(UserError, match=r"/tar/train/00000\.tar:ant/000\.jpg: .*data\.on_bad_image=skip leaves"):
        check_images(data, "error")
    with pytest.raises(UserError, match="none of the 256 checked images can be used"):
        check_images(data, "skip")
    one = dataclasses.replace(recipe(folder / "tar").data, max_pixels=1)
    large = open_dataset(one, True)
    large.length[0] = 2 << 20
    with pytest.raises(UserError, match="a file of 2,097,152 bytes"):
        large.image(0)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_open_file_limit_is_raised_for_many_shards(folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_files() + 1, hard))
        assert open_dataset(recipe(folder / "tar").data, True).content(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    before = open_files()
    for _ in range(3):
        open_dataset(recipe(folder / "tar").data, True)
    assert open_files() <= before


# ------------------------------------------------------------------------------------------------------------- task=pack


def test_pack_rejects(folder: Path, tmp_path: Path, command: Callable) -> None:
    here = pack(folder, "tar")[:-1]
    dry = command(*here, "task.output=out", "dry_run=true")
    assert dry.code == 0 and "out: tar shards of at most 256 MB, of 260 images" in dry.out
    for arguments, said in (
        ((*here, f"task.output={folder}/tar"), "already exists"),
        ((*here, "task.output=no/where"), f"the folder {tmp_path}/no does not exist"),
        ((*here, "task.output=out", f"data.root={folder}/tar"), "is already packed"),
        ((*here, "task.output=out", "data.train_size=5"), "data.train_size is 5"),
        ((*here, "task.output=out", "data.train_limit=5"), "data.train_limit has no effect with task=pack"),
        ((*here, "task.output=out", "checkpoint=x"), "uses only images"),
        (("task=pack", "data=digits", "task.output=out"), "data.source is digits, but task=pack packs image files"),
        (("data=digits", "data.format=tar"), "data.format has no effect with data.source=digits"),
        (("-m", *here, "task.output=a,b"), "task=pack makes no run"),
    ):
        outcome = command(*arguments)
        assert outcome.code == 2 and said in outcome.err, (arguments, outcome.err)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="had 3 bytes, now it has"):
        write_tar(tmp_path / "x.tar", [Source(0, 0, "a/b", __file__, 3)], lambda count: None)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Enough bytes to be killed in between; nothing decodes them."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 60), ("val", 2)):
        for number in range(count):
            path = tmp_path / f"images/{split}/{'ab'[number % 2]}/{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(rng.bytes(900_000))
    return tmp_path


def stopped(top: Path, form: str, signal_number: int) -> subprocess.Popen[str]:
    """A pack that was sent a signal when its first shard was done and others were not."""
    arguments = [*pack(top, form), "task.shard_mb=1", "data.workers=1"]
    while True:
        end = time.monotonic() + 300
        process = subprocess.Popen([sys.executable, str(LAUNCH), *arguments], cwd=top, stderr=subprocess.PIPE, text=True)
        while not list((top / f"{form}.part/.pack").glob("train-*.json")) and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.001)
        process.send_signal(signal_number)
        process.wait(300)
        if not (top / form).exists():
            break
        shutil.rmtree(top / form)  # it was done before this process had its turn
    assert not (top / f"{form}.part/dataset.json").exists()
    return process


def test_killed_packing_is_resumed(large: Path, command: Callable) -> None:
    assert stopped(large, "tar", signal.SIGKILL).returncode == -signal.SIGKILL
    other = command(*pack(large, "tar"), "task.shard_mb=2")
    assert other.code == 2 and "tar.part has shards of an unfinished task=pack" in other.err
    again = command(*pack(large, "tar"), "task.shard_mb=1")
    assert again.code == 0 and "tar.part: resuming after " in again.out and " of 62 shards" in again.out
    assert sorted(path.name for path in (large / "tar").iterdir()) == ["dataset.json", "train", "val"]
    (large / "once").mkdir()  # an empty folder may be there
    assert command(*pack(large, "tar"), "task.shard_mb=1", "task.output=once").code == 0
    assert read_json(large / "once/dataset.json") == read_json(large / "tar/dataset.json")
    assert sorted(path.name for path in large.iterdir()) == ["images", "once", "tar"]


def test_interrupted_packing_leaves_no_process(large: Path, command: Callable) -> None:
    process = stopped(large, "mindrecord", signal.SIGINT)
    assert process.returncode == 130 and process.stderr is not None
    assert "mindrecord.part keeps " in process.stderr.read()
    assert writers(large) == []
    assert command(*pack(large, "mindrecord"), "task.shard_mb=1").code == 0
    assert command("task=check_data", "data=imagefolder", "data.root=mindrecord").code == 1  # noise is no image
    assert sorted(path.name for path in large.iterdir()) == ["images", "mindrecord"]


def writers(top: Path) -> list[str]:
    """The processes that write MindRecord for a pack that was started in ``top``; other tests may have theirs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if (path.parent / "cwd").readlink() == top:
                found.append(path.read_bytes().decode(errors="replace"))
        except OSError:  # gone meanwhile, or another user's
            continue
    return [line for line in found if "deit.data.mindrecord_shard" in line]


def test_training_on_shards_equals_training_on_folders(folder: Path, tmp_path: Path) -> None:
    arguments = ("experiment=quickstart", "data=imagefolder", "data.on_bad_image=skip", "data.eval_batch_size=16")
    arguments += ("model.img_size=32", "model.embed_dim=16", "model.depth=1", "model.num_heads=2", "data.batch_size=32")
    arguments += ("schedule.epochs=1", "schedule.warmup_epochs=0", "tracking=none", "augment.repeats=1")
    forms, results = ("images", "mindrecord"), []
    for form in forms:  # one after the other: the second reads the steps that the first has compiled
        ended = launch(tmp_path, *arguments, f"data.root={folder}/{form}", f"runs_dir={tmp_path}/{form}")
        assert ended.returncode == 0, ended.stderr
        (path,) = (tmp_path / form).glob("*/*/config.yaml")
        run = RunDirectory(path.parent)
        (weights,) = run.checkpoints.glob("step_*/model.safetensors")
        results.append((hashlib.sha256(weights.read_bytes()).hexdigest(), status.read(run).results))
    assert results[0] == results[1]


def test_prediction_reads_packed_images(folder: Path, tmp_path: Path) -> None:
    config = recipe(folder, "data.workers=2")
    for split, known in (("val", ["cat", "dog", "ant"]), ("train", None), ("val", None)):
        there = find_images(f"{folder}/images/{split}", "task.input", known, 3)
        wanted = list(batches(there, config, 50))
        for form in FORMATS:
            images = find_images(f"{folder}/{form}/{split}", "task.input", known, 3)
            assert (images.names, images.folders) == (there.names, there.folders)
            assert (images.labels is None) == (images.remark is not None) == (split == "val" and known is None)
            np.testing.assert_array_equal(images.labels, there.labels)
            for ours, theirs in zip(batches(images, config, 50), wanted, strict=True):
                np.testing.assert_array_equal(ours.images, theirs.images)
                assert ours.rows == theirs.rows and ours.unreadable.keys() == theirs.unreadable.keys()
                for number, reason in ours.unreadable.items():
                    assert images.names[number] in reason
    tree = open_tree(f"{folder}/tar/val", "task.input", ["cat", "dog", "ant"], 3, DataConfig(max_pixels=10**6))
    there = open_dataset(recipe(folder / "images").data, False)
    np.testing.assert_array_equal(tree.image(11), there.image(11))
    with pytest.raises(UserError, match="contains train/ and val/; give one of them"):
        find_images(str(folder / "tar"), "task.input", None, 3)
