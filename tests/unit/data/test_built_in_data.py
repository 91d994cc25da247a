"""Digits and synthetic images."""

import numpy as np
from data_sources import data, refused

from deit.data.datasets import open_dataset


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
