"""data.on_bad_image: which images take the place of bad ones, exactly and repeatably."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from broken_images import BROKEN, TRAIN, VAL, broken_folder, configured

from deit.data.datasets import check_images, open_dataset
from deit.data.loader import EvalLoader, TrainLoader
from deit.errors import BadImage, UserError


def test_oversized_file_is_not_read(tree: Path) -> None:
    with open(tree / "train/a/00.jpg", "r+b") as file:
        file.truncate(10**12)  # a hole: no disk is that large
    with pytest.raises(BadImage, match=r"a/00\.jpg: .*a file of 1,000,000,000,000 bytes") as caught:
        open_dataset(configured(tree).data, True).image(0)
    assert caught.value.kind == "too large"


def shown(batches: list) -> list:
    return [(b.images.tobytes(), b.labels.tolist(), b.indices.tolist(), [bad.file for bad in b.bad]) for b in batches]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return broken_folder(tmp_path / "images")


@pytest.mark.parametrize("how", ["skip", "replace"])
def test_replacement_of_a_bad_image_depends_only_on_the_seed(how: str, tree: Path) -> None:
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


def test_first_bad_image_is_an_error_by_default(tree: Path) -> None:
    config = configured(tree)
    with pytest.raises(BadImage, match=r"train/(a|b)/0\d\.\w+: not readable as an image"):
        list(TrainLoader(config, open_dataset(config.data, True), 0, 1).epoch(0))
    with pytest.raises(BadImage, match=r"val/"):
        list(EvalLoader(config, open_dataset(config.data, False), 0, 1))


@pytest.mark.parametrize("how", ["skip", "replace"])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_counts_each_good_image_once(how: str, world: int, tree: Path) -> None:
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
def test_run_ends_if_all_images_are_bad(how: str, tried: int, tree: Path) -> None:
    for path in tree.glob("train/*/*"):
        path.write_bytes(b"broken")
    config = configured(tree, f"data.on_bad_image={how}")
    data = open_dataset(config.data, True)
    with pytest.raises(UserError, match=rf"{tried} images in a row cannot be used, .*task=check_data") as caught:
        list(TrainLoader(config, data, 0, 1).epoch(0))
    assert caught.value.exit_code == 1
    with pytest.raises(UserError, match="none of the 40 checked images can be used"):
        check_images(data, how)


def test_failing_disk_is_not_a_bad_image(tree: Path) -> None:
    config = configured(tree, "data.on_bad_image=skip")
    data = open_dataset(config.data, False)
    (tree / "val/a/00.jpg").unlink()
    with pytest.raises(UserError, match=r"val/a/00\.jpg: cannot be read"):
        list(EvalLoader(config, data, 0, 1))
