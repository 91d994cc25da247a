"""The binary files of CIFAR-10 and CIFAR-100."""

import numpy as np
import pytest
from data_sources import data, refused

from deit.data.datasets import open_dataset


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
