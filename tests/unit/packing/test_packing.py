"""The plan of a packing, its shards and its index, from class folders."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from composition import composed

from deit.config.schema import DataConfig
from deit.config.tasks import PackTask
from deit.data import packed
from deit.data.datasets import open_dataset
from deit.data.folder import ImageFolder
from deit.errors import UserError
from deit.files import write_json
from deit.packing import shard_plan, shards
from deit.packing.packed_index import write_index
from deit.packing.shard_plan import Job, Split
from deit.progress_bar import progress_bars

TASK = PackTask("pack", "tar", "out", 1)


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    for split, count in (("train", 5), ("val", 2)):
        for label in ("ant", "bee"):
            (tmp_path / "in" / split / label).mkdir(parents=True)
            for number in range(count):
                (tmp_path / "in" / split / label / f"{number}.jpg").write_bytes(os.urandom(1000 + 100 * number))
    return composed("data=imagefolder", f"data.root={tmp_path / 'in'}").data


@pytest.fixture
def splits(data: DataConfig) -> dict[str, Split]:
    found = {}
    with progress_bars() as bars:
        for split in packed.SPLITS:
            folder = open_dataset(data, train=split == "train")
            assert isinstance(folder, ImageFolder)
            found[split] = shard_plan.measured(folder, split, 2, bars)
    return found


@pytest.mark.parametrize(
    ("sizes", "most", "rows"),
    [
        ([], 10, [range(0)]),
        ([4, 4, 4], 8, [range(2), range(2, 3)]),
        ([4, 4, 4], 100, [range(3)]),
        ([50, 1, 50], 10, [range(1), range(1, 2), range(2, 3)]),  # an image larger than a shard is a shard
        ([10, 10], 10, [range(1), range(1, 2)]),
    ],
)
def test_shards_are_cut_in_order(sizes: list[int], most: int, rows: list[range]) -> None:
    jobs = shard_plan.cut("val", np.array(sizes, np.int64), most)
    assert [job.rows for job in jobs] == rows and [job.number for job in jobs] == list(range(len(rows)))
    assert jobs[0].file("tar") == "00000.tar"


def test_missing_file_is_reported(data: DataConfig) -> None:
    folder = open_dataset(data, train=True)
    assert isinstance(folder, ImageFolder)
    Path(folder.describe(3)).unlink()
    with progress_bars() as bars, pytest.raises(UserError, match=r"3\.jpg: cannot be read \(No such file"):
        shard_plan.measured(folder, "train", 1, bars)


def test_other_images_need_another_folder(tmp_path: Path, splits: dict[str, Split]) -> None:
    part = tmp_path / "out.part"
    (part / shard_plan.STATE).mkdir(parents=True)
    for _ in range(2):
        shard_plan.same_plan(part, TASK, splits)
    later = {split: Split(images.folder, images.names, images.stats + np.array([0, 1])) for split, images in splits.items()}
    for task, images in ((dataclasses.replace(TASK, shard_mb=2), splits), (TASK, later)):
        with pytest.raises(UserError, match="have changed; remove it"):
            shard_plan.same_plan(part, task, images)


def test_written_shards_are_indexed_and_read_back(tmp_path: Path, data: DataConfig, splits: dict[str, Split]) -> None:
    part = tmp_path / "out"
    for name in (shard_plan.STATE, *packed.SPLITS):
        (part / name).mkdir(parents=True)
    jobs = [job for split, images in splits.items() for job in shard_plan.cut(split, images.sizes, 3000)]
    assert len(jobs) > 3 and shard_plan.done(part, jobs, "tar") == {}
    with progress_bars() as bars:
        shards.write(part, jobs, splits, data, "tar", -1, bars)
    assert shard_plan.done(part, jobs, "tar").keys() == set(jobs)
    (part / jobs[0].split / jobs[0].file("tar")).write_bytes(b"cut")
    assert shard_plan.done(part, jobs, "tar").keys() == set(jobs[1:])  # it is written again
    with progress_bars() as bars:
        shards.write(part, jobs[:1], splits, data, "tar", -1, bars)
    described = write_index(part, jobs, splits, "tar")
    assert {split: there.images for split, there in described.splits.items()} == {"train": 10, "val": 4}
    whole = dataclasses.replace(data, root=str(part), format="tar")
    for train, split in ((True, "train"), (False, "val")):
        there = open_dataset(whole, train)
        assert there.classes == ["ant", "bee"] and there.labels.tolist() == splits[split].folder.labels.tolist()


def test_an_index_needs_all_images(tmp_path: Path, splits: dict[str, Split]) -> None:
    jobs = [Job("train", 0, range(9)), Job("val", 0, range(4))]
    for job in jobs:
        job.record(tmp_path).parent.mkdir(exist_ok=True)
        write_json(job.record(tmp_path), {"bytes": 1, "sha256": "0", "offsets": list(job.rows)})
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match="train: does not contain all 10 images"):
        write_index(tmp_path, jobs, splits, "tar")


def test_image_that_differs_when_read_back_is_rejected(
    tmp_path: Path, data: DataConfig, splits: dict[str, Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (shard_plan.STATE, "val"):
        (tmp_path / name).mkdir()
    honest = shards.write_tar

    def flips_a_bit(path: Path, *arguments: object) -> object:
        written = honest(path, *arguments)  # type: ignore[arg-type]
        with open(path, "r+b") as file:
            file.seek(written.offsets[0])
            first = file.read(1)[0]
            file.seek(written.offsets[0])
            file.write(bytes([first ^ 1]))
        return written

    monkeypatch.setattr(shards, "write_tar", flips_a_bit)
    job = Job("val", 0, range(4))
    with progress_bars() as bars, pytest.raises(UserError, match="differs when read back; the disk or memory may be faulty"):
        shards.write(tmp_path, [job], {"val": splits["val"]}, data, "tar", -1, bars)
    assert not job.record(tmp_path).exists()
