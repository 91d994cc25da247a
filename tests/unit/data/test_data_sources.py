"""Sources of images: folders, CIFAR files, digits, synthetic images; and every mistake in them."""

import io
import json
import os
import shutil
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from deit import notes
from deit.config.schema import DataConfig
from deit.data import decode as decoding
from deit.data.datasets import check_images, open_dataset
from deit.data.decode import decode, decode_noting, decode_pillow
from deit.data.source import ArrayDataset, evenly, limited
from deit.errors import BadImage, UserError

MOST = 10**6  # pixels


def data(source, **changes) -> DataConfig:
    """A data configuration that accepts what is found."""
    sizes = {"num_classes": None, "train_size": None, "val_size": None, "train_limit": None, "val_limit": None}
    return DataConfig(**{"name": source, "source": source, "root": None, **sizes, **changes})


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(mode="RGB", size=(40, 30)) -> Image.Image:
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return Image.fromarray(np.stack([x * 5, y * 7, (x + y) * 3], -1).astype(np.uint8)).convert(mode)


@pytest.fixture
def folder(tmp_path):
    """Three classes for training and two of them for validation, among files that are no images."""
    names = {"train/dog": ["b.jpg", "a.PNG"], "train/ant": ["x.webp"], "train/cat": ["1.bmp", "10.JPEG", "2.jpeg"]}
    names |= {"val/cat": ["v.jpg"], "val/ant": ["w.png", "u.png"]}
    for place, files in names.items():
        (tmp_path / place).mkdir(parents=True)
        for file in files:
            kind = {"jpg": "JPEG", "jpeg": "JPEG"}.get(file.split(".")[1].lower(), file.split(".")[1].upper())
            picture().save(tmp_path / place / file, kind)
    (tmp_path / "train/dog/.hidden.jpg").write_bytes(b"junk")
    (tmp_path / "train/dog/notes.txt").write_text("no image")
    (tmp_path / "train/.cache").mkdir()
    (tmp_path / "train/README").write_text("no class")
    return tmp_path


def refused(config, train=True) -> str:
    with pytest.raises(UserError) as caught:
        open_dataset(config, train)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_folder_is_listed_in_order(folder):
    train = open_dataset(data("imagefolder", root=str(folder)), True)
    assert train.classes == ["ant", "cat", "dog"]
    assert train.labels.tolist() == [0, 1, 1, 1, 2, 2] and train.labels.dtype == np.int64
    assert [train.describe(i) for i in range(len(train))] == [
        str(folder / "train" / name)
        for name in ("ant/x.webp", "cat/1.bmp", "cat/10.JPEG", "cat/2.jpeg", "dog/a.PNG", "dog/b.jpg")
    ]
    for index in range(len(train)):
        image = train.image(index)
        assert image.shape == (30, 40, 3) and image.dtype == np.uint8
        assert np.abs(image.astype(int) - np.asarray(picture())).mean() < 20


def test_validation_uses_the_labels_of_training(folder):
    val = open_dataset(data("imagefolder", root=str(folder), num_classes=3, val_size=3), False)
    assert val.classes == ["ant", "cat", "dog"]
    assert val.labels.tolist() == [0, 0, 1]
    assert val.describe(0).endswith("val/ant/u.png")


def test_folder_with_another_layout_is_rejected(folder, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    assert refused(data("imagefolder")).startswith("data.root is null, but data.source=imagefolder")
    assert f"data.root: there is no folder {empty}/none" in refused(data("imagefolder", root=f"{empty}/none"))
    assert f"data.root: {empty} contains no folder train/" in refused(data("imagefolder", root=str(empty)))
    assert f"data.root: {empty} contains no folder val/" in refused(data("imagefolder", root=str(empty)), False)
    (empty / "train").mkdir()
    assert f"data.root: {empty} contains no folder val/" in refused(data("imagefolder", root=str(empty)))
    (empty / "val").mkdir()
    assert f"data.root: {empty}/train contains no class folders" in refused(data("imagefolder", root=str(empty)))
    config = data("imagefolder", root=str(folder))
    (folder / "val/cow").mkdir()
    assert f"data.root: {folder}/val/cow is a class that {folder}/train does not have" in refused(config, False)
    (folder / "train/cow").mkdir()
    assert f"data.root: {folder}/train/cow contains no images; files that end in .jpg" in refused(config)
    (folder / "train/cow").rmdir()
    assert f"data.root: {folder}/val/cow is a class" in refused(config, False)


def test_left_out_files_are_counted_and_named(folder, capsys, monkeypatch):
    """Images are read at any depth, as in torchvision and in a prediction; what is not read is said once."""
    monkeypatch.setattr(notes, "_said", set())
    (folder / "train/dog/more/deep").mkdir(parents=True)
    picture().save(folder / "train/dog/more/deep/c.jfif", "JPEG")
    picture().save(folder / "train/loose.jpg")
    (folder / "train/cat/gone.png").symlink_to("nowhere.png")
    (folder / "train/dog/again").symlink_to(folder / "train")  # an endless loop
    for junk in ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", ".ipynb_checkpoints"):
        (folder / "train" / junk).mkdir()
        picture().save(folder / "train" / junk / "x.jpg")
    train = open_dataset(data("imagefolder", root=str(folder)), True)
    assert train.classes == ["ant", "cat", "dog"]
    assert train.describe(6) == f"{folder}/train/dog/more/deep/c.jfif" and len(train) == 7
    assert train.left_out.loose == ["loose.jpg"] and train.left_out.broken == ["cat/gone.png"]
    check_images(train, "error")
    check_images(train, "error")
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    for part in (
        "images outside class folders (1): loose.jpg",
        "files without an image extension (2): dog/again, dog/notes.txt",
        "broken links (1): cat/gone.png",
    ):
        assert part in told


def test_empty_validation_class_is_allowed_and_reported(folder):
    (folder / "val/dog").mkdir()
    val = open_dataset(data("imagefolder", root=str(folder)), False)
    assert val.classes == ["ant", "cat", "dog"] and len(val) == 3
    assert val.left_out.lines() == ["classes without an image (1): dog"]


def test_names_in_nfc_and_nfd_are_one_class(folder):
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    for split, name in (("train", nfc), ("val", nfd)):
        (folder / split / name).mkdir()
        picture().save(folder / split / name / "x.png")
    val = open_dataset(data("imagefolder", root=str(folder)), False)
    assert val.classes == ["ant", nfc, "cat", "dog"] and nfd in val.describe(2) and val.image(2).shape == (30, 40, 3)
    (folder / "val" / nfc).mkdir()
    assert f"two folders called {nfc}, which differ only in their Unicode form" in refused(
        data("imagefolder", root=str(folder)), False
    )


def test_undecodable_file_name_becomes_text(folder):
    for split in ("train", "val"):
        place = os.fsencode(folder / split) + b"/caf\xe9"
        Path(os.fsdecode(place)).mkdir()
        picture().save(os.fsdecode(place + b"/x.png"))
    val = open_dataset(data("imagefolder", root=str(folder)), False)
    assert val.classes == ["ant", "caf\\xe9", "cat", "dog"] and val.image(2).shape == (30, 40, 3)
    json.dumps(val.classes, ensure_ascii=False).encode()  # as model.json has them


@pytest.mark.parametrize("other", ["validation", "Valid", "test"])
def test_folder_with_a_similar_name_is_suggested(folder, other):
    (folder / "val").rename(folder / other)
    told = refused(data("imagefolder", root=str(folder)))
    assert f"contains {other}/ but no val/; rename it: mv '{folder / other}' '{folder / 'val'}'" in told


def test_flat_split_is_reported(folder):
    (folder / "val").rename(folder / "old")
    (folder / "val").mkdir()
    picture().save(folder / "val/1.JPEG")
    told = refused(data("imagefolder", root=str(folder)), False)
    assert f"{folder}/val contains no class folders" in told and "It contains 1 images without a label" in told


def test_single_class_is_rejected_before_the_start(folder):
    for name in ("ant", "cat"):
        shutil.rmtree(folder / "train" / name)
    with pytest.raises(UserError, match="train: contains one class, dog; a classifier needs at least two"):
        check_images(open_dataset(data("imagefolder", root=str(folder)), True), "error")


def test_an_evaluation_needs_no_training_images(folder):
    shutil.rmtree(folder / "train")
    val = open_dataset(data("imagefolder", root=str(folder)), False)
    assert val.classes == ["ant", "cat"] and len(val) == 3
    assert "contains no folder train/" in refused(data("imagefolder", root=str(folder)))


def test_a_class_map_gives_the_labels(folder):
    names = folder / "names.txt"
    names.write_text("dog\nbird\nant\ncat\n")
    train = open_dataset(data("imagefolder", root=str(folder), class_map=str(names), num_classes=4), True)
    assert train.classes == ["dog", "bird", "ant", "cat"] and train.labels.tolist() == [2, 3, 3, 3, 0, 0]
    names.write_text("dog\nant\n")
    assert f"data.class_map={names}: lacks cat" in refused(data("imagefolder", root=str(folder), class_map=str(names)))
    names.write_text("dog\nant\ncat\ndog\n")
    assert "names dog more than once" in refused(data("imagefolder", root=str(folder), class_map=str(names)))
    assert "not readable as a list of names" in refused(data("imagefolder", root=str(folder), class_map=f"{names}.gone"))


def test_wrong_counts_are_rejected(folder):
    root = {"root": str(folder)}
    assert refused(data("imagefolder", **root, num_classes=1000)).startswith(
        f"data.num_classes is 1000, but {folder}/train has 3 classes; data.num_classes=null"
    )
    assert refused(data("imagefolder", **root, train_size=7)) == (
        f"data.train_size is 7, but {folder}/train has 6 training images; data.train_size=null accepts what is found."
    )
    assert refused(data("imagefolder", **root, val_size=4), False) == (
        f"data.val_size is 4, but {folder}/val has 3 validation images; data.val_size=null accepts what is found."
    )
    assert refused(data("digits", num_classes=12)) == "data.num_classes is 12, but digits has 10 classes."
    assert "data.train_size is 5, but digits has 1442 training images" in refused(data("digits", train_size=5))


def test_sizes_are_checked_before_limits(folder):
    config = data("imagefolder", root=str(folder), train_size=6, train_limit=3)
    limited_set = open_dataset(config, True)
    assert [limited_set.describe(i).split("/")[-1] for i in range(3)] == ["x.webp", "10.JPEG", "a.PNG"]
    assert "data.train_size is 3, but" in refused(data("imagefolder", root=str(folder), train_size=3, train_limit=3))


def test_limits_keep_the_classes_even():
    periodic = ArrayDataset(np.zeros((1000, 1, 1, 3), np.uint8), np.arange(1000) % 10, [str(i) for i in range(10)], "periodic")
    few = limited(periodic, 100)
    assert np.bincount(few.labels).tolist() == [10] * 10
    assert limited(periodic, 1000) is periodic and limited(periodic, None) is periodic
    digits = open_dataset(data("digits", train_limit=140, val_limit=20), True)
    assert len(digits) == 140 and np.bincount(digits.labels).min() >= 13
    assert evenly(10, 4).tolist() == [0, 2, 5, 7] and evenly(3, 9).tolist() == [0, 1, 2]


def test_modes_become_rgb_as_in_pillow():
    colour = picture()
    files = {
        "grey": encoded(picture("L"), "JPEG"),
        "grey png": encoded(picture("L"), "PNG"),
        "palette": encoded(colour.convert("P"), "PNG"),
        "alpha": encoded(picture("RGBA"), "PNG"),
        "progressive": encoded(colour, "JPEG", progressive=True, quality=95),
    }
    turned = Image.Exif()
    turned[0x0112] = 6  # "rotate by 90 degrees", which the references do not do
    files["orientation"] = encoded(colour, "JPEG", exif=turned)
    for name, content in files.items():
        expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        assert expected.shape == (30, 40, 3)
        for read in (decode, decode_pillow):
            np.testing.assert_array_equal(read(content, name, MOST, "none"), expected)
    cmyk = encoded(picture("CMYK"), "JPEG")
    np.testing.assert_array_equal(decode(cmyk, "cmyk", MOST, "none"), decode_pillow(cmyk, "cmyk", MOST, "none"))


GREY16 = np.array([[0, 128 * 257, 65535]], np.uint16)


@pytest.mark.parametrize(
    ("image", "format", "treated"),
    [
        (Image.fromarray(GREY16), "PNG", "16-bit grey"),
        (Image.fromarray(GREY16), "TIFF", "16-bit grey"),
        (Image.fromarray(GREY16.astype(">u2")), "TIFF", "16-bit grey"),
        (Image.fromarray(GREY16), "PPM", "16-bit grey"),
        (Image.fromarray(GREY16.astype(np.int32)), "TIFF", "16-bit grey"),
        (Image.fromarray(GREY16.astype(np.float32) / 65535), "TIFF", "float grey"),
        (Image.fromarray(GREY16.astype(np.float32) / 257), "TIFF", "float grey"),
        (Image.fromarray((GREY16 // 257).astype(np.uint8)), "PNG", None),
    ],
)
def test_values_of_more_than_eight_bits_are_scaled(image, format, treated):
    """timm's convert("RGB") makes them white, or black."""
    found = decode_noting(encoded(image, format), "x", MOST, "white")
    assert found.treated == treated and found.pixels.tolist() == [[[0] * 3, [128] * 3, [255] * 3]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([[0, 200]], np.int32), "32-bit integers from 0 to 200"),
        (np.array([[0, 70000]], np.int32), "32-bit integers from 0 to 70000"),
        (np.array([[-1, 3000]], np.int32), "32-bit integers from -1"),
        (np.array([[0, 300]], np.float32), "floats from 0 to 300"),
        (np.array([[-0.5, 1]], np.float32), "floats from -0.5 to 1"),
        (np.array([[np.nan, 1]], np.float32), "floats from nan"),
    ],
)
def test_unknown_value_range_is_rejected(values, said):
    with pytest.raises(BadImage, match=said) as caught:
        decode(encoded(Image.fromarray(values), "TIFF"), "x.tif", MOST, "white")
    assert caught.value.kind == "unknown range"


def transparent_files():
    """The same three pixels, black, half transparent black, and transparent black, in each way that a file can store them."""
    rgba = np.array([[[0, 0, 0, 255], [0, 0, 0, 128], [0, 0, 0, 0]]], np.uint8)
    image = Image.fromarray(rgba)
    palette = Image.new("P", (3, 1))
    palette.putpalette([0] * 9)
    palette.putdata([0, 1, 2])
    return {
        "rgba": encoded(image, "PNG"),
        "grey": encoded(image.convert("LA"), "PNG"),
        "palette": encoded(palette, "PNG", transparency=bytes([255, 128, 0])),
        "webp": encoded(image, "WEBP", lossless=True, exact=True),
        "tiff": encoded(image, "TIFF"),
        "animation": encoded(image, "PNG", save_all=True, append_images=[picture("RGBA").resize((3, 1))]),
    }


@pytest.mark.parametrize("name", transparent_files())
def test_transparent_pixels_show_the_background(name):
    content = transparent_files()[name]
    for background, expected in (("white", [0, 127, 255]), ("black", [0, 0, 0]), ("none", [0, 0, 0])):
        found = decode_noting(content, name, MOST, background)
        assert found.pixels[0, :, 1].tolist() == expected
        assert found.treated == "transparent"


def test_one_transparent_colour_and_an_opaque_alpha():
    gif = Image.new("P", (2, 1))
    gif.putpalette([0, 0, 0, 0, 255, 0])
    gif.putdata([0, 1])
    for content in (encoded(gif, "GIF", transparency=0), encoded(gif.convert("RGB"), "PNG", transparency=(0, 0, 0))):
        found = decode_noting(content, "x", MOST, "white")
        assert (found.pixels.tolist(), found.treated) == ([[[255, 255, 255], [0, 255, 0]]], "transparent")
    opaque = decode_noting(encoded(picture("RGBA"), "PNG"), "x", MOST, "white")
    np.testing.assert_array_equal(opaque.pixels, np.asarray(picture("RGBA").convert("RGB")))
    assert opaque.treated is None


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_other_modes_equal_pillow(mode):
    content = encoded(picture().convert(mode), "JPEG" if mode in ("CMYK", "YCbCr") else "TIFF")
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    np.testing.assert_array_equal(decode_pillow(content, "x", MOST, "white"), expected)
    deep = (np.asarray(picture()).astype(np.uint16) * 257)[..., ::-1]
    _, png = cv2.imencode(".png", deep)  # 16-bit colours, which Pillow reads as 8
    np.testing.assert_array_equal(decode(png.tobytes(), "x", MOST, "white"), np.asarray(picture()))


def test_warnings_of_pillow_name_the_file(capsys, monkeypatch):
    monkeypatch.setattr(notes, "_said", set())
    entry = (262).to_bytes(2, "little") + (3).to_bytes(2, "little")  # the kind of colours, a short: one, not two
    content = encoded(picture("L"), "TIFF")
    assert entry + (1).to_bytes(4, "little") in content
    content = content.replace(entry + (1).to_bytes(4, "little"), entry + (2).to_bytes(4, "little"))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = decoding._show
        decode(content, "pics/p.tif", MOST, "none")
        decode(content, "pics/q.tif", MOST, "none")
    said = capsys.readouterr().err
    assert said.startswith("note: pics/p.tif: Metadata Warning, tag 262") and len(said.splitlines()) == 1


@pytest.mark.parametrize("read", [decode, decode_pillow])
def test_unreadable_images_are_reported(read):
    jpeg, png = encoded(picture(), "JPEG"), encoded(picture(), "PNG")
    cases = {
        jpeg[:-100]: "image file is truncated",
        jpeg[:100]: "Truncated",
        png[: len(png) // 2]: "truncated",
        b"": "the file is empty",
        b"<html>not found</html>": "no known format",
    }
    for content, reason in cases.items():
        with pytest.raises(UserError, match=rf"^pics/a\.jpg: not readable as an image \(.*{reason}.*\)\.$") as caught:
            read(content, "pics/a.jpg", MOST, "white")
        assert caught.value.exit_code == 1


def test_check_images_finds_the_broken_one(folder):
    config = data("imagefolder", root=str(folder))
    check_images(open_dataset(config, True), "error")
    broken = folder / "train/cat/10.JPEG"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(UserError, match=r"cat/10\.JPEG: not readable as an image") as caught:
        check_images(open_dataset(config, True), "error")
    assert caught.value.exit_code == 2
    check_images(open_dataset(config, True), "error", most=1)  # looks at the first only
    broken.unlink()
    dataset = open_dataset(config, True)
    (folder / "train/cat/1.bmp").unlink()
    with pytest.raises(UserError, match=r"cat/1.bmp: cannot be read \(No such file or directory\)"):
        check_images(dataset, "skip")  # a disk that fails is no bad image


def cifar_records(rng, count, label_bytes):
    labels = rng.integers(0, 10, (count, label_bytes), dtype=np.uint8)
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return labels, images, np.hstack([labels, images.transpose(0, 3, 1, 2).reshape(count, -1)]).tobytes()


@pytest.mark.parametrize("inside", [True, False])
def test_cifar10_round_trip(tmp_path, inside):
    rng = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    parts = [cifar_records(rng, 3 + i, 1) for i in range(6)]
    for name, (_, _, content) in zip([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], parts, strict=True):
        (folder / f"{name}.bin").write_bytes(content)
    (folder / "batches.meta.txt").write_text("airplane automobile bird cat deer\ndog frog horse ship truck\n\n")
    config = data("cifar10", root=str(folder if inside else tmp_path), num_classes=10, train_size=25, val_size=8)
    train, val = open_dataset(config, True), open_dataset(config, False)
    assert train.classes[3] == "cat"
    assert train.labels.tolist() == np.concatenate([labels[:, 0] for labels, _, _ in parts[:5]]).tolist()
    images = np.concatenate([images for _, images, _ in parts[:5]])
    for index in range(25):
        np.testing.assert_array_equal(train.image(index), images[index])
    np.testing.assert_array_equal(val.image(7), parts[5][1][7])
    assert train.describe(4) == f"{folder}[4]"


def test_cifar100_takes_the_fine_label(tmp_path):
    labels, images, content = cifar_records(np.random.default_rng(1), 5, 2)
    (tmp_path / "train.bin").write_bytes(content)
    train = open_dataset(data("cifar100", root=str(tmp_path)), True)
    assert train.labels.tolist() == labels[:, 1].tolist()
    assert len(train.classes) == 100 and train.classes[99] == "99"
    np.testing.assert_array_equal(train.image(2), images[2])


def test_damaged_cifar_files_are_rejected(tmp_path):
    config = data("cifar100", root=str(tmp_path))
    assert refused(data("cifar10")).startswith(
        "data.root is null, but data.source=cifar10 reads the files of cifar-10-batches-bin"
    )
    message = refused(config)
    assert f"data.root: there is no file {tmp_path}/train.bin; data.source=cifar100 needs train.bin, test.bin" in message
    for length in (0, 3073, 3074 * 2 - 1):
        (tmp_path / "train.bin").write_bytes(bytes(length))
        assert f"train.bin has {length} bytes, which is not a multiple of the record size, 3074 bytes" in refused(config)
    (tmp_path / "train.bin").write_bytes(bytes([0, 100]) + bytes(3072))
    assert "train.bin has the label 100, but labels are below 100" in refused(config)


def test_digits_split():
    train, val = open_dataset(data("digits"), True), open_dataset(data("digits"), False)
    assert (len(train), len(val)) == (1442, 355)
    assert np.bincount(train.labels).tolist() == [143, 146, 142, 147, 145, 146, 145, 144, 140, 144]
    assert np.bincount(val.labels).tolist() == [35, 36, 35, 36, 36, 36, 36, 35, 34, 36]
    names = [part.describe(i) for part in (train, val) for i in range(len(part))]
    assert len(set(names)) == 1797 and names[0] == "digits[0]"
    image = train.image(0)
    assert image.shape == (32, 32, 3) and image.dtype == np.uint8
    assert (image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all()
    assert image.max() > 240 and image[:2, :2].max() < 10  # white on black
    assert train.classes == list("0123456789")


def test_sources_without_a_folder_reject_data_root():
    for source in ("digits", "synthetic"):
        config = data(source, root="./data", num_classes=10, train_size=8)
        assert refused(config) == f"data.root is ./data, but data.source={source} reads no folder; set data.root=null."


def test_synthetic_needs_its_numbers():
    assert refused(data("synthetic", num_classes=4)).startswith("data.train_size is null, but data.source=synthetic")
    assert refused(data("synthetic", num_classes=4, train_size=8), False).startswith("data.val_size is null")
    assert refused(data("synthetic", train_size=8)).startswith("data.num_classes is null, but data.source=synthetic")


def test_synthetic_can_be_learned():
    config = data("synthetic", num_classes=7, train_size=70, val_size=35)
    train, val = open_dataset(config, True), open_dataset(config, False)
    assert np.bincount(train.labels).tolist() == [10] * 7
    images = np.stack([train.image(i) for i in range(70)]).astype(np.float64)
    assert images.shape == (70, 64, 64, 3)
    np.testing.assert_array_equal(train.image(5), train.image(5))
    assert not np.array_equal(train.image(0), val.image(0)) and not np.array_equal(train.image(0), train.image(1))
    means = np.stack([images[train.labels == label].mean(0) for label in range(7)])
    found = [np.square(means - val.image(i)).sum((1, 2, 3)).argmin() for i in range(35)]
    assert found == val.labels.tolist()
    assert images[0].std() > 30  # and not only a colour
