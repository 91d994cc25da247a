"""ImageNet's original tars, with a few images: packed like class folders of the same files, and all that is rejected."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from deit.data.datasets import open_dataset
from deit.errors import UserError
from deit.packing import imagenet_tars
from deit.packing.imagenet_tars import DEVKIT, META, TRAIN, TRUTH, VAL

WNIDS = ("n02119789", "n01440764", "n03000684")  # in the order of their labels, which is not that of their names
GROUP = "n00001740"  # a group of classes, which has a label but no images
ACCEPT = ("data.num_classes=null", "data.train_size=null", "data.val_size=null")
TRUTHS = (2, 1, 3, 1)


def jpeg(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as out:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def devkit(labels: tuple[int | str, ...] = TRUTHS) -> bytes:
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O"), ("children", "O")]
    rows = [(label, wnid, "word", "gloss", 0, []) for label, wnid in enumerate(WNIDS, 1)]
    mat = io.BytesIO()
    savemat(mat, {"synsets": np.array([*rows, (4, GROUP, "all", "gloss", 3, [1, 2, 3])], kinds).reshape(-1, 1)})
    truth = "".join(f"{label}\n" for label in labels).encode()
    return tar({f"ILSVRC2012_devkit_t12/{META}": mat.getvalue(), f"ILSVRC2012_devkit_t12/{TRUTH}": truth}, "w:gz")


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """The three files, and class folders of the same images as ``images``."""
    folder, inner = tmp_path / "my downloads #1", {}
    folder.mkdir()
    for label, wnid in enumerate(WNIDS):
        images = {f"{wnid}_{number}.JPEG": jpeg(50 * label + number) for number in (7, 10, 2)}
        inner[f"{wnid}.tar"] = tar(images)
        for name, content in images.items():
            path = tmp_path / "images/train" / wnid / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    val = {f"ILSVRC2012_val_{number:08d}.JPEG": jpeg(200 + number) for number in (3, 1, 2, 4)}
    for name, content in val.items():
        path = tmp_path / "images/val" / WNIDS[TRUTHS[int(name[15:23]) - 1] - 1] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / TRAIN).write_bytes(tar(inner))
    (folder / VAL).write_bytes(tar(val))
    (folder / DEVKIT).write_bytes(devkit())
    return folder


Command = Callable[..., object]


def pack(command: Command, *more: str) -> object:
    return command("task=pack", "data=imagenet", *ACCEPT, *more)


def shas(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_shards_are_those_of_class_folders(downloads: Path, command) -> None:
    outcome = pack(command, f"task.source='{downloads}'", "task.output=of tars")
    assert outcome.code == 0 and "of tars/train: 9 images" in outcome.out and "of tars/val: 4 images" in outcome.out
    assert pack(command, f"data.root={downloads.parent}/images", "task.output=of_folders").code == 0
    assert shas(Path("of tars")) == shas(Path("of_folders"))
    dry = pack(command, f"task.source='{downloads}'", "task.output=more", "dry_run=true")
    assert dry.code == 0 and f"9 images of {downloads}/{TRAIN} and 4 images of {downloads}/{VAL}" in " ".join(dry.out.split())


def test_mindrecord_is_packed_from_within_the_tars(downloads: Path, command, composed_data) -> None:
    assert pack(command, f"task.source='{downloads}'", "task.output=records", "task.format=mindrecord").code == 0
    for train in (True, False):
        there = open_dataset(composed_data(downloads.parent / "images"), train)
        here = open_dataset(composed_data(Path("records").absolute()), train)
        assert [here.content(i) for i in range(len(here))] == [there.content(i) for i in range(len(there))]
        assert here.classes == there.classes and np.array_equal(here.labels, there.labels)


@pytest.fixture
def composed_data() -> Callable[[Path], object]:
    from composition import composed

    return lambda root: composed("data=imagefolder", f"data.root={root}").data


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def cut(name: str, count: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:count]) and None


IMAGE = {f"{WNIDS[0]}_1.JPEG": jpeg(1)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / DEVKIT).unlink(), f"there is no {DEVKIT}; the folder must contain"),
        (cut(TRAIN, 3000), f"{TRAIN} ends within {WNIDS[0]}.tar; download it again"),
        (cut(VAL, 700), "ends within ILSVRC2012_val_00000003.JPEG"),
        (write(VAL, b"<html>sign in</html>" * 100), f"{VAL} is damaged or ends too early"),
        (cut(DEVKIT, 100), f"{DEVKIT} cannot be read"),
        (write(TRAIN, tar({"../n01440764.tar": b""})), "contains '../n01440764.tar', which is not the plain name of a file"),
        (write(TRAIN, tar({"n01440764.tar": tar({"/etc/x.JPEG": b"x"})})), "'/etc/x.JPEG', which is not the plain name"),
        (write(TRAIN, tar({"x.tar": b""})), "contains x.tar; expected: a tar per class"),
        (write(TRAIN, tar({f"{WNIDS[0]}.tar": tar(IMAGE)})), f"has no {WNIDS[1]}.tar, but {META}"),
        (write(VAL, tar({"ILSVRC2012_val_00000005.JPEG": b"x"})), "which has none of the 4 labels"),
        (write(VAL, tar({})), "contains no images"),
        (write(DEVKIT, devkit((1, 4))), "line 2: '4' is no label of a class"),
        (write(DEVKIT, devkit((1, "x"))), "line 2: 'x' is no label of a class"),
        (write(DEVKIT, tar({f"kit/{TRUTH}": b"1\n"}, "w:gz")), f"contains no {META}"),
        (write(DEVKIT, tar({f"kit/{TRUTH}": b"1\n", f"kit/{META}": b"junk"}, "w:gz")), f"{META} of"),
    ],
)
def test_invalid_input_is_rejected(downloads: Path, command, change: Callable[[Path], None], told: str) -> None:
    change(downloads)
    outcome = pack(command, f"task.source='{downloads}'", "task.output=out")
    assert outcome.code == 2 and told in outcome.err and "Traceback" not in outcome.err
    assert not list(Path().glob("out*"))


def test_links_in_a_tar_are_refused(downloads: Path, command) -> None:
    with tarfile.open(downloads / VAL, "w") as out:
        link = tarfile.TarInfo("ILSVRC2012_val_00000001.JPEG")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        out.addfile(link)
    outcome = pack(command, f"task.source='{downloads}'", "task.output=out")
    assert outcome.code == 2 and "'ILSVRC2012_val_00000001.JPEG', which is not a file" in outcome.err


def test_the_counts_of_imagenet_are_checked(downloads: Path, command) -> None:
    outcome = command("task=pack", "data=imagenet", f"task.source='{downloads}'", "task.output=out")
    assert outcome.code == 2 and f"data.num_classes is 1000, but {downloads}/{TRAIN} has 3 classes" in outcome.err
    outcome = pack(command, f"task.source='{downloads}'", "task.output=out", "data.root=x")
    assert outcome.code == 2 and "data.root has no effect with task.source" in outcome.err


def test_files_of_original_size_are_compared_by_checksum(downloads: Path, command, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (downloads / VAL).stat().st_size
    right = hashlib.md5((downloads / VAL).read_bytes()).hexdigest()
    monkeypatch.setattr(imagenet_tars, "ORIGINALS", {VAL: (size, "0" * 32)})
    outcome = pack(command, f"task.source='{downloads}'", "task.output=out")
    assert outcome.code == 2 and f"has the MD5 {right}, ImageNet's own has 0000" in outcome.err
    monkeypatch.setattr(imagenet_tars, "ORIGINALS", {VAL: (size, right)})
    assert pack(command, f"task.source='{downloads}'", "task.output=out").code == 0


def test_downloads_in_data_root_are_recognised(downloads: Path, composed_data) -> None:
    told = "task=pack data=imagenet task.source=FOLDER_OF_THE_TARS"
    with pytest.raises(UserError, match=f"{downloads} contains tars of ImageNet.*{told}"):
        open_dataset(composed_data(downloads), True)
    flat = downloads.parent / "images"
    shutil.rmtree(flat / "val")
    (flat / "val").mkdir()
    (flat / "val/ILSVRC2012_val_00000001.JPEG").write_bytes(jpeg(1))
    with pytest.raises(UserError, match="val contains validation images of ImageNet without class folders"):
        open_dataset(composed_data(flat), False)
    shutil.rmtree(flat / "train")
    (flat / "train").mkdir()
    (flat / "train/n01440764.tar").write_bytes(b"")
    with pytest.raises(UserError, match="train contains tars of ImageNet"):
        open_dataset(composed_data(flat), True)
