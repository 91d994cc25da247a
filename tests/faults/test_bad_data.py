"""Bad images in a data set: what is read, what is refused, and that leaving images out stays exact and repeatable."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import ROOT
from composition import composed
from launching import launch
from PIL import Image

from deit.config.schema import RunConfig
from deit.data.datasets import check_images, open_dataset
from deit.data.decode import FORMATS, decode, decode_pillow
from deit.data.loader import EvalLoader, TrainLoader
from deit.errors import BAD, BadImage, UserError
from deit.files import read_json
from deit.runs.bad_images import BadImages
from deit.runs.directory import RunDirectory
from deit.runs.journal import read

MOST = 10**6  # pixels


def picture(number: int = 0, mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    pixels = np.stack([x * 5 + 11 * number, y * 7, (x + y) * 3], -1).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(side: int) -> bytes:
    """A PNG that claims side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    head = side.to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


JPEG, PNG = encoded(picture(), "JPEG"), encoded(picture(), "PNG")
TRANSPARENT = picture(mode="P")
TRANSPARENT.info["transparency"] = bytes(range(256))
TURNED = Image.Exif()
TURNED[0x0112] = 6  # rotate by 90 degrees
GOOD = {
    "jpeg": JPEG,
    "progressive": encoded(picture(), "JPEG", progressive=True),
    "restarts": encoded(picture(), "JPEG", restart_marker_blocks=2),
    "grey jpeg": encoded(picture(mode="L"), "JPEG"),
    "cmyk jpeg": encoded(picture(mode="CMYK"), "JPEG"),
    "turned jpeg": encoded(picture(), "JPEG", exif=TURNED),
    "jpeg with a tail": JPEG + b"\0 trailing bytes",
    "png": PNG,
    "grey png": encoded(picture(mode="L"), "PNG"),
    "grey and alpha png": encoded(picture(mode="LA"), "PNG"),
    "rgba png": encoded(picture(mode="RGBA"), "PNG"),
    "palette png": encoded(picture(mode="P"), "PNG"),
    "transparent palette png": encoded(TRANSPARENT, "PNG"),
    "bilevel png": encoded(picture(mode="1"), "PNG"),
    "cmyk tiff": encoded(picture(mode="CMYK"), "TIFF"),
    "gif": encoded(picture(), "GIF", save_all=True, append_images=[picture(9)]),
    "webp": encoded(picture(), "WEBP", save_all=True, append_images=[picture(9)], lossless=True),
    "ppm": encoded(picture(), "PPM"),
    "bmp": encoded(picture(), "BMP"),
}
MARKED = bytearray(JPEG)
MARKED[-2:] = b"\xff\x14"  # OpenCV alone would take it: all its rows are there
WRONG = {
    "nothing": (b"", "empty"),
    "text": (b"<html>not found</html>", "no image"),
    "zeros": (bytes(1000), "no image"),
    "program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image"),  # Pillow would call Ghostscript
    "cut jpeg": (JPEG[:-100], "damaged"),
    "head of a jpeg": (JPEG[:200], "damaged"),
    "odd end of a jpeg": (bytes(MARKED), "damaged"),
    "cut png": (PNG[:-60], "damaged"),
    "cut gif": (GOOD["gif"][:900], "damaged"),
    "bomb": (bomb(30_000), "too large"),
    "large jpeg": (encoded(picture(size=(2000, 501)), "JPEG"), "too large"),
    "strip": (encoded(picture(size=(2001, 2)), "JPEG"), "too long"),
}


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("name", GOOD)
def test_modes_and_formats_are_what_the_reference_reads(name: str) -> None:
    """torchvision's pil_loader, which timm's data sets use as well: convert("RGB"), no rotation, the first frame."""
    expected = np.asarray(Image.open(io.BytesIO(GOOD[name])).convert("RGB"))
    assert expected.shape == (30, 40, 3) and expected.std() > 0
    for decoder in (decode, decode_pillow):
        np.testing.assert_array_equal(decoder(GOOD[name], name, MOST, "none"), expected)


@pytest.mark.parametrize("name", WRONG)
def test_both_decoders_refuse_the_same(name: str) -> None:
    content, kind = WRONG[name]
    for decoder in (decode, decode_pillow):
        with pytest.raises(BadImage, match=r"^a/b\.jpg: not readable as an image \(.+\)\.$") as caught:
            decoder(content, "a/b.jpg", MOST, "none")
        assert caught.value.kind == kind and kind in BAD
        assert "Ghostscript" not in str(caught.value) and "EPS" not in FORMATS


def test_damage_anywhere_means_the_same_to_both_decoders() -> None:
    """Bytes changed, cut out and cut off, at random: accepted by both with the same pixels, or by none."""
    rng = np.random.default_rng(0)
    accepted = refused = 0
    for name in ("jpeg", "progressive", "restarts", "grey jpeg", "cmyk jpeg"):
        for trial in range(400):
            content = bytearray(GOOD[name])
            place = int(rng.integers(3, len(content)))
            if trial % 4 == 0:
                del content[place:]
            elif trial % 4 == 1:
                del content[place : place + int(rng.integers(1, 100))]
            else:
                content[place] = rng.integers(0, 256) if trial % 4 == 2 else 255
            found = []
            for decoder in (decode, decode_pillow):
                try:
                    found.append(decoder(bytes(content), name, MOST, "none"))
                except BadImage as bad:
                    found.append(bad.kind)
            if isinstance(found[0], str) or isinstance(found[1], str):
                refused += 1
                assert found[0] == found[1]
            else:
                accepted += 1
                np.testing.assert_array_equal(found[0], found[1])
    assert min(accepted, refused) > 300


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    """30,000 x 30,000 pixels are 2.7 GB, for which the address space has no room."""
    (tmp_path / "bomb.png").write_bytes(bomb(30_000))
    code = (
        "import resource, sys; from deit.data.decode import decode, decode_pillow; from deit.errors import BadImage\n"
        "now = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (now + (200 << 20),) * 2)\n"
        "for decoder in (decode, decode_pillow):\n"
        "    try: decoder(open(sys.argv[1], 'rb').read(), 'x', 178956970, 'none')\n"
        "    except BadImage as bad: print(bad)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "bomb.png")], capture_output=True, text=True, cwd=ROOT, timeout=600
    )
    assert ended.stdout.count("30000 x 30000 are 900,000,000 pixels, more than data.max_pixels=178956970") == 2, ended.stderr


def test_a_file_larger_than_any_such_image_is_not_read(tree: Path) -> None:
    with open(tree / "train/a/00.jpg", "r+b") as file:
        file.truncate(10**12)  # a hole: no disk is that large
    with pytest.raises(BadImage, match=r"a/00\.jpg: .*a file of 1,000,000,000,000 bytes") as caught:
        open_dataset(configured(tree).data, True).image(0)
    assert caught.value.kind == "too large"


# ------------------------------------------------------------------------------------ leaving images out of a data set

BROKEN = ("train/a/03.jpg", "train/a/04.jpg", "train/b/07.png", "val/b/02.jpg", "val/a/05.png")
TRAIN, VAL = 40, 21


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """40 images to train on and 21 to evaluate, of two classes; three of the former and two of the latter are broken."""
    root = tmp_path / "images"
    number = 0
    for split, counts in (("train", (20, 20)), ("val", (11, 10))):
        for name, count in zip("ab", counts, strict=True):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                number += 1
                suffix, kind = ((".jpg", "JPEG"), (".png", "PNG"))[i % 7 in (0, 5) and i > 0]
                (root / split / name / f"{i:02}{suffix}").write_bytes(encoded(picture(number), kind))
    for name, content in zip(BROKEN, (JPEG[:-100], b"", b"text", JPEG[:-50], PNG[:60]), strict=True):
        assert (root / name).exists()
        (root / name).write_bytes(content)
    return root


def configured(tree: Path, *changes: str) -> RunConfig:
    return composed(
        "data=imagefolder",
        f"data.root={tree}",
        "model=deit_micro",
        "model.img_size=32",
        "model.patch_size=8",
        "data.batch_size=4",
        "data.eval_batch_size=4",
        "data.num_classes=2",
        "augment.repeats=1",
        "hardware=cpu",
        "tracking=none",
        *changes,
    )


def shown(batches: list) -> list:
    return [(b.images.tobytes(), b.labels.tolist(), b.indices.tolist(), [bad.file for bad in b.bad]) for b in batches]


@pytest.mark.parametrize("how", ["skip", "replace"])
def test_what_takes_the_place_of_a_bad_image_depends_on_nothing_but_the_seed(how: str, tree: Path) -> None:
    def epoch(epoch: int, start: int = 0, **changes: object) -> list:
        config = configured(tree, f"data.on_bad_image={how}", *(f"{key}={value}" for key, value in changes.items()))
        loader = TrainLoader(config, open_dataset(config.data, True), 0, 1)
        return list(loader.epoch(epoch, start))

    alone = epoch(0, **{"data.workers": 0})
    for workers in (1, 4):
        assert shown(epoch(0, **{"data.workers": workers})) == shown(alone)
    config = configured(tree, f"data.on_bad_image={how}")
    loader = TrainLoader(config, open_dataset(config.data, True), 0, 1)
    assert [loader.taken(0, number).tolist() for number in range(len(alone))] == [b.indices.tolist() for b in alone]
    assert shown(epoch(0, start=5)) == shown(alone)[5:]
    assert shown(epoch(1)) != shown(alone) != shown(epoch(0, seed=1))

    config = configured(tree)
    data = open_dataset(config.data, True)
    order = TrainLoader(config, data, 0, 1).order.epoch(0)[0]
    bad = {data.describe(index): index for index in range(TRAIN) if data.describe(index).endswith(BROKEN)}
    assert len(bad) == 3 and {b.file for batch in alone for b in batch.bad} == set(bad)
    for batch, indices in zip(alone, order, strict=True):
        assert len(batch.images) == 4 and not set(batch.indices) & set(bad.values())
        np.testing.assert_array_equal(batch.labels, data.labels[batch.indices])
        kept = np.isin(indices, list(bad.values()), invert=True)
        np.testing.assert_array_equal(batch.indices[kept], indices[kept])
        for row in np.flatnonzero(~kept):
            assert batch.images[row].any()
            if how == "skip":  # by the next good one of the batch, seen from the row on
                following = [index for index in np.roll(indices, -row) if index not in bad.values()]
                assert batch.indices[row] == following[0]


def test_the_default_ends_at_the_first_bad_image(tree: Path) -> None:
    config = configured(tree)
    with pytest.raises(BadImage, match=r"train/(a|b)/0\d\.\w+: not readable as an image"):
        list(TrainLoader(config, open_dataset(config.data, True), 0, 1).epoch(0))
    with pytest.raises(BadImage, match=r"val/"):
        list(EvalLoader(config, open_dataset(config.data, False), 0, 1))


@pytest.mark.parametrize("how", ["skip", "replace"])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_an_evaluation_counts_each_good_image_once(how: str, world: int, tree: Path) -> None:
    config = configured(tree, f"data.on_bad_image={how}", "data.workers=2")
    data = open_dataset(config.data, False)
    seen, bad = [], []
    for rank in range(world):
        loader = EvalLoader(config, data, rank, world)
        batches = list(loader)
        assert shown(batches) == shown(list(loader))  # a second time, too
        for batch in batches:
            seen += batch.indices[batch.valid].tolist()
            bad += [b.file for b in batch.bad]
            assert (batch.indices[~batch.valid] == -1).all() and not batch.images[~batch.valid].any()
    expected = [index for index in range(VAL) if not data.describe(index).endswith(BROKEN)]
    assert sorted(seen) == expected and len(expected) == VAL - 2
    assert sorted(bad) == [str(tree / "val/a/05.png"), str(tree / "val/b/02.jpg")]


@pytest.mark.parametrize(("how", "tried"), [("skip", 4), ("replace", 101)])
def test_nothing_but_bad_images_ends_the_run(how: str, tried: int, tree: Path) -> None:
    for path in tree.glob("train/*/*"):
        path.write_bytes(b"broken")
    config = configured(tree, f"data.on_bad_image={how}")
    data = open_dataset(config.data, True)
    with pytest.raises(UserError, match=rf"{tried} images in a row cannot be used, .*task=check_data") as caught:
        list(TrainLoader(config, data, 0, 1).epoch(0))
    assert caught.value.exit_code == 1
    with pytest.raises(UserError, match="none of the 40 checked images can be used"):
        check_images(data, how)


def test_a_disk_that_fails_is_no_bad_image(tree: Path) -> None:
    config = configured(tree, "data.on_bad_image=skip")
    data = open_dataset(config.data, False)
    (tree / "val/a/00.jpg").unlink()
    with pytest.raises(UserError, match=r"val/a/00\.jpg: cannot be read"):
        list(EvalLoader(config, data, 0, 1))


def test_the_list_has_each_file_once_whoever_writes(tmp_path: Path) -> None:
    path = tmp_path / "bad_images.jsonl"
    first, second = BadImages(path), BadImages(path)
    one, two, three = (BadImage(f"/{name}.jpg", "damaged", "cut \n short") for name in "abc")
    first.add("train", 3, [])
    assert not path.exists() and first.count(9) == 0
    first.add("train", 3, [one, two])
    second.add("train", 3, [two])
    second.add("val", 5, [three, one])
    with open(path, "ab") as file:
        file.write(b'{"file": "/torn')  # a writer was killed here
    BadImages(path).add("val", 7, [BadImage("/d.jpg", "empty", "the file is empty")])
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(e["file"], e["split"], e["step"]) for e in entries] == [
        ("/a.jpg", "train", 3),
        ("/b.jpg", "train", 3),
        ("/c.jpg", "val", 5),
        ("/d.jpg", "val", 7),
    ]
    assert [first.count(step) for step in (2, 3, 5, 7)] == [0, 2, 3, 4]


# ----------------------------------------------------------------------------------------------------- the real command


def test_a_training_and_an_evaluation_by_two_leave_out_the_same_images(tree: Path) -> None:
    folder = tree.parent
    network = ("model=deit_micro", "model.img_size=32", "model.embed_dim=16", "model.depth=1", "model.num_heads=2")
    where = ("data=imagefolder", f"data.root={tree}", "data.eval_batch_size=4", "data.workers=2", "tracking=none")
    recipe = ("data.batch_size=4", "schedule.epochs=2", "schedule.warmup_epochs=0", "schedule.cooldown_epochs=0")
    recipe += ("tracking.log_every=5", "precision=fp32")
    broken = launch(folder, *network, *where, *recipe, "hardware=cpu")
    assert broken.returncode == 2 and "data.on_bad_image=skip" in broken.stderr and not (folder / "runs").exists()

    ended = launch(folder, *network, *where, *recipe, "hardware=cpu", "data.on_bad_image=skip", "name=trained")
    assert ended.returncode == 0, ended.stderr
    assert "5 bad images left out: bad_images.jsonl" in ended.stdout
    (path,) = (folder / "runs/trained").iterdir()
    run = RunDirectory(path)
    last = read_json(run.status)["results"]["last"]["val"]
    assert last["images"] == VAL - 2
    entries = [json.loads(line) for line in run.bad_images.read_text().splitlines()]
    expected = sorted((name.split("/")[0], str(tree / name)) for name in BROKEN)
    assert sorted((e["split"], e["file"]) for e in entries) == expected
    metrics = [(record["step"], record.get("metrics", {})) for _, record in read(run.journal)]
    counts = [(step, found["data/bad_images"]) for step, found in metrics if "data/bad_images" in found]
    first = sum(e["step"] <= 5 for e in entries if e["split"] == "train")
    assert counts == [(5, first), (10, 5), (15, 5), (20, 5)]

    by_two = launch(folder, "task=evaluate", f"run={run.path}", "task.which=last", "hardware=cpu2", "name=evaluated")
    assert by_two.returncode == 0, by_two.stderr
    (path,) = (folder / "runs/evaluated").iterdir()
    result = read_json(RunDirectory(path).status)["results"]["val"]
    assert result["images"] == VAL - 2 and result["top1"] == last["top1"]
    assert result["loss"] == pytest.approx(last["loss"], rel=1e-5)
    assert len(RunDirectory(path).bad_images.read_text().splitlines()) == 2


# ------------------------------------------------------------------------------------------------------ task=check_data


def test_a_data_set_is_checked(tree: Path, command: Callable) -> None:
    (tree / "val/b/copy.jpg").write_bytes((tree / "train/a/00.jpg").read_bytes())
    (tree / "train/b/[bold]twice.jpg").write_bytes((tree / "train/a/01.jpg").read_bytes())
    (tree / "train/a/Thumbs.db").write_text("x")
    (tree / "train/c").mkdir()
    (tree / "train/c/large.png").write_bytes(bomb(3000))
    arguments = ("task=check_data", "data=imagefolder", f"data.root={tree}", "data.max_pixels=8_000_000")
    before = sorted(path for path in tree.parent.rglob("*"))
    reports = []
    for workers in (0, 3):
        outcome = command(*arguments, f"data.workers={workers}", f"task.output=report{workers}.json")
        assert outcome.code == 1 and outcome.err == ""
        reports.append(read_json(tree.parent / f"report{workers}.json"))
    assert reports[0] == reports[1]
    assert sorted(path for path in tree.parent.rglob("*")) == sorted([*before, *tree.parent.glob("report?.json")])
    train, val = reports[0]["splits"]["train"], reports[0]["splits"]["val"]
    assert (train["images"], train["good"], val["images"], val["good"]) == (42, 38, 22, 20)
    assert train["bad_by_kind"] == {"damaged": 1, "empty": 1, "no image": 1, "too large": 1}
    assert [bad["file"] for bad in train["bad"] + val["bad"]] == [
        *(str(tree / name) for name in BROKEN[:3]),
        str(tree / "train/c/large.png"),
        str(tree / BROKEN[4]),
        str(tree / BROKEN[3]),
    ]
    assert train["images_of_class"] == {"a": 20, "b": 21, "c": 1} and val["images_of_class"]["c"] == 0
    assert train["width"] == {"least": 40, "median": 40.0, "most": 40}
    assert train["no_image_by_name"] == [str(tree / "train/a/Thumbs.db")]
    files = [[image["file"] for image in group] for group in reports[0]["equal_across_splits"] + reports[0]["equal_in_train"]]
    assert files == [
        [str(tree / "train/a/00.jpg"), str(tree / "val/b/copy.jpg")],
        [str(tree / "train/a/01.jpg"), str(tree / "train/b/[bold]twice.jpg")],
    ]
    assert reports[0]["equal_in_val"] == []
    for said in (
        "duplicates across training and validation",
        "train: duplicates under different classes",
        "[bold]twice.jpg",
    ):
        assert said in outcome.out


def test_a_sound_data_set_and_a_check_that_cannot_be(tree: Path, command: Callable) -> None:
    assert command("task=check_data", "data=digits").code == 0
    here = ("task=check_data", "data=imagefolder", f"data.root={tree}")
    dry = command(*here, "dry_run=true", "task.output=report.json")
    assert dry.code == 0 and "would read 40 images" in dry.out and not (tree.parent / "report.json").exists()
    (tree.parent / "there.json").touch()
    for arguments, said in (
        (("task.output=report.txt",), "a .json file"),
        (("task.output=there.json",), "already exists"),
        (("task.output=nowhere/report.json",), "the folder nowhere does not exist"),
        (("checkpoint=x",), "uses only images"),
        (("optim.base_lr=1",), "optim.base_lr has no effect with task=check_data"),
        (("data.on_bad_image=skip",), "data.on_bad_image has no effect with task=check_data"),
    ):
        outcome = command(*here, *arguments)
        assert outcome.code == 2 and said in outcome.err and outcome.out == ""
