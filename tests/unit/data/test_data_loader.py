"""The order of images and the loaders: no duplicates, no losses, the same bytes with any number of workers."""

import dataclasses
import threading

import numpy as np
import pytest
from composition import freeze
from PIL import Image

from deit.config.schema import AugmentConfig, DataConfig, RunConfig
from deit.data.datasets import open_dataset
from deit.data.loader import EvalLoader, TrainLoader
from deit.data.sampler import TrainOrder, eval_order
from deit.data.source import Dataset
from deit.errors import UserError
from deit.randomness import generator
from deit.recipe.plan import steps_per_epoch


def run(*, seed=3, size=64, accumulation_steps=1, data=None, augment=None) -> RunConfig:
    """A run on ``size`` synthetic images of side 64, shown at 24 pixels, with the recipe's augmentation."""
    config = RunConfig(seed=seed)
    config.model.img_size = 24
    config.optim.accumulation_steps = accumulation_steps
    source = {"source": "synthetic", "root": None, "num_classes": 4, "train_size": size, "val_size": size}
    shape = {"batch_size": 8, "eval_batch_size": 8, "workers": 0, "crop_pct": 0.9, "interpolation": "bicubic"}
    colours = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "train_limit": None, "val_limit": None}
    config.data = DataConfig(**{"name": "test", **source, **shape, **colours, **(data or {})})
    crop = {"backend": "opencv", "scale": [0.08, 1.0], "ratio": [0.75, 1.33], "hflip": 0.5, "color_jitter": 0.3}
    erase = {"auto_augment": "rand-m9-mstd0.5-inc1", "reprob": 0.5, "remode": "pixel", "recount": 2, "repeats": 1}
    config.augment = AugmentConfig(**{**crop, **erase, **(augment or {})})
    return config


def train_loader(config, rank=0, world=1) -> TrainLoader:
    return TrainLoader(config, open_dataset(config.data, True), rank, world)


def arrays(batch) -> list[np.ndarray]:
    return [value for value in dataclasses.asdict(batch).values() if value is not None]


def assert_same(batches, others):
    assert len(batches) == len(others) > 0
    for batch, other in zip(batches, others, strict=True):
        for a, b in zip(arrays(batch), arrays(other), strict=True):
            np.testing.assert_array_equal(a, b)


def threads_of_loaders() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("images")]


class Counted(Dataset):
    """Images of one colour, their number; remembers which were asked for, and fails at one."""

    place = "counted"

    def __init__(self, size, failing=None):
        self.labels = np.arange(size) % 3
        self.classes = ["a", "b", "c"]
        self.asked = []
        self.failing = failing

    def image(self, index):
        self.asked.append(index)
        if index == self.failing:
            raise UserError(f"{self.describe(index)}: broken", exit_code=1)
        return np.full((24, 24, 3), index, np.uint8)

    def describe(self, index):
        return f"counted[{index}]"


def test_repeated_augmentation_has_the_numbers_of_the_reference():
    n = 1281167
    # What facebookresearch/deit's RASampler does, step by step.
    every = np.repeat(generator(0, "order", 0).permutation(n), 3)
    for rank in (0, 1, 7):
        loader = TrainOrder(n, seed=0, batch_size=128, rank=rank, world=8, accumulation_steps=1, repeats=3)
        np.testing.assert_array_equal(loader.epoch(0)[0].ravel(), every[rank::8][:160128])
    assert loader.steps == 1251
    indices, repetitions = loader.epoch(0)
    assert indices.shape == repetitions.shape == (1251, 128)
    assert repetitions[0, :6].tolist() == [1, 0, 2, 1, 0, 2]  # places 7, 15, 23 ... modulo 3


def test_plain_order_does_not_depend_on_the_number_of_ranks():
    def step(number, batch_size, world):
        orders = [
            TrainOrder(100, seed=1, batch_size=batch_size, rank=r, world=world, accumulation_steps=1, repeats=1).epoch(4)[0]
            for r in range(world)
        ]
        return [int(index) for order in orders for index in order[number]]

    assert step(2, 24, 1) == step(2, 12, 2) == step(2, 6, 4)
    whole = [index for number in range(4) for index in step(number, 12, 2)]
    assert len(set(whole)) == len(whole) == 96
    assert sorted(set(range(100)) - set(whole)) != [96, 97, 98, 99]  # what is dropped differs from epoch to epoch


def test_each_epoch_and_seed_has_its_own_order():
    def order(seed, epoch):
        whole = TrainOrder(64, seed=seed, batch_size=8, rank=0, world=1, accumulation_steps=1, repeats=1)
        return whole.epoch(epoch)[0].ravel().tolist()

    orders = [order(0, 0), order(0, 1), order(1, 0)]
    assert all(sorted(each) == list(range(64)) for each in orders)
    assert orders[0] == order(0, 0) and orders[0] != orders[1] and orders[0] != orders[2]


def test_steps_are_whole_global_batches_and_whole_optimizer_steps():
    def steps(n, batch_size, world, accumulation_steps, repeats=1):
        return TrainOrder(
            n, seed=0, batch_size=batch_size, rank=0, world=world, accumulation_steps=accumulation_steps, repeats=repeats
        ).steps

    assert steps(100, 8, 1, 1) == 12
    assert steps(100, 8, 3, 1) == 4
    assert steps(100, 8, 1, 5) == 10
    assert steps(1281167, 128, 8, 1) == 1251
    assert steps(600, 8, 2, 1, repeats=3) == 32


def filled(n, batch_size, world, repeats=1, accumulation_steps=1, fill=True):
    """(indices, repetitions) of an epoch, each [steps, world, batch_size]."""
    orders = [
        TrainOrder(
            n,
            seed=0,
            batch_size=batch_size,
            rank=rank,
            world=world,
            accumulation_steps=accumulation_steps,
            repeats=repeats,
            fill=fill,
        ).epoch(2)
        for rank in range(world)
    ]
    return tuple(np.stack(each, 1) for each in zip(*orders, strict=True))


@pytest.mark.parametrize(("n", "batch_size", "world", "accumulation_steps", "steps"), [(100, 8, 3, 2, 6), (7, 4, 8, 1, 1)])
def test_a_filled_epoch_has_every_image_and_repeats_few(n, batch_size, world, accumulation_steps, steps):
    indices, repetitions = filled(n, batch_size, world, accumulation_steps=accumulation_steps)
    assert indices.shape == (steps, world, batch_size)
    counts = np.bincount(indices.ravel(), minlength=n)
    assert counts.min() >= 1 and counts.max() - counts.min() <= 1
    assert len({(int(i), int(r)) for i, r in zip(indices.ravel(), repetitions.ravel(), strict=True)}) == indices.size
    one, _ = filled(n, batch_size * world, 1, accumulation_steps=accumulation_steps)
    np.testing.assert_array_equal(indices.reshape(steps, -1), one.reshape(steps, -1))
    if n >= 64:  # the whole steps are those of the epoch that drops the rest
        dropped, _ = filled(n, batch_size, world, accumulation_steps=accumulation_steps, fill=False)
        np.testing.assert_array_equal(indices[: len(dropped)], dropped)


def test_a_set_smaller_than_a_step_is_one_step():
    for repeats in (1, 3):
        for fill in (True, False):
            indices, repetitions = filled(10, 8, 2, repeats, fill=fill)
            assert indices.shape == (1, 2, 8)
            assert len(np.unique(indices * 10 + repetitions)) == indices.size
    indices, repetitions = filled(3, 8, 2, repeats=3)
    assert np.bincount(indices.ravel()).tolist() in ([6, 6, 4], [6, 4, 6], [4, 6, 6]) and repetitions.max() == 5


@pytest.mark.parametrize("last_batch", ["drop", "fill"])
@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("images", [1, 100, 255, 600, 1000])
def test_the_plan_counts_the_steps_of_the_loader(images, repeats, last_batch):
    config = freeze(
        *("model=deit_micro", "data.batch_size=8", "optim.accumulation_steps=3", f"augment.repeats={repeats}"),
        *(f"data.last_batch={last_batch}", f"data.train_size={images}"),
    )
    order = TrainOrder(
        images, seed=0, batch_size=8, rank=0, world=1, accumulation_steps=3, repeats=repeats, fill=last_batch == "fill"
    )
    assert order.steps == 3 * steps_per_epoch(config, images) > 0


@pytest.mark.parametrize("remode", ["pixel", "rand", "const"])
@pytest.mark.parametrize("backend", ["opencv", "pil"])
def test_number_of_threads_does_not_change_the_batches(backend, remode):
    made = {}
    for workers in (0, 1, 4):
        config = run(data={"workers": workers}, augment={"backend": backend, "remode": remode})
        made[workers] = list(train_loader(config).epoch(2))
    assert_same(made[0], made[1])
    assert_same(made[0], made[4])


def test_shapes_and_types():
    config = run(augment={"recount": 3})
    dataset = open_dataset(config.data, True)
    loader = TrainLoader(config, dataset, 0, 1)
    batches = list(loader.epoch(0))
    assert len(batches) == loader.steps_per_epoch == 8
    batch = batches[0]
    assert batch.images.shape == (8, 24, 24, 3) and batch.images.dtype == np.uint8
    assert batch.labels.dtype == np.int32 and batch.indices.dtype == np.int64
    np.testing.assert_array_equal(batch.labels, dataset.labels[batch.indices])
    assert batch.boxes.shape == (8, 3, 4) and batch.boxes.dtype == np.int32
    assert batch.noise.shape == (8, 3, 24) and batch.noise.dtype == np.int32
    for boxes, rows in ((boxes, rows) for batch in batches for boxes, rows in zip(batch.boxes, batch.noise, strict=True)):
        assert len(set(rows.ravel())) == 72 if boxes.any() else not rows.any()
    share = np.mean([boxes.any() for batch in batches for boxes in batch.boxes])
    assert 0.3 < share < 0.7  # reprob is 0.5
    rand = next(train_loader(run(augment={"remode": "rand"})).epoch(0))
    assert rand.noise.shape == (8, 2, 3) and rand.noise.dtype == np.float16 and rand.noise.std() > 0.5
    const = next(train_loader(run(augment={"remode": "const"})).epoch(0))
    assert const.noise is None and const.boxes.any()
    off = next(train_loader(run(augment={"reprob": 0.0})).epoch(0))
    assert off.noise is None and off.boxes is None


def test_seed_epoch_and_repetition_change_the_augmentation():
    def one(**changes):
        epoch = changes.pop("epoch", 0)
        batches = train_loader(run(**changes)).epoch(epoch)
        return {int(i): image.tobytes() for batch in batches for i, image in zip(batch.indices, batch.images, strict=True)}

    base = one()
    assert base == one()
    for other in (one(epoch=1), one(seed=4)):
        assert set(other) == set(base)
        assert sum(base[i] == other[i] for i in base) == 0
    config = run(size=256, augment={"repeats": 3})
    batches = list(train_loader(config).epoch(0))
    assert len(batches) == 32
    seen = {}
    for batch in batches:
        for index, image in zip(batch.indices, batch.images, strict=True):
            seen.setdefault(int(index), set()).add(image.tobytes())
    assert sorted(len(views) for views in seen.values()) == [1] + [3] * 85  # 256 places of a list in which each stands thrice


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_share_the_epoch_and_augment_the_same_way(workers):
    config = run(data={"workers": workers})
    single = {int(i): x.tobytes() for b in train_loader(config).epoch(1) for i, x in zip(b.indices, b.images, strict=True)}
    config.data.batch_size = 4
    shared = [
        (int(i), x.tobytes())
        for rank in range(2)
        for b in train_loader(config, rank, 2).epoch(1)
        for i, x in zip(b.indices, b.images, strict=True)
    ]
    assert len(shared) == 64 and dict(shared) == single


@pytest.mark.parametrize("workers", [0, 2])
def test_starting_in_the_middle_equals_skipping(workers):
    loader = train_loader(run(data={"workers": workers}))
    assert_same(list(loader.epoch(5))[3:], list(loader.epoch(5, start=3)))
    assert list(loader.epoch(5, start=8)) == []


def test_starting_in_the_middle_reads_nothing_before_it():
    config = run()
    dataset = Counted(64)
    batches = list(TrainLoader(config, dataset, 0, 1).epoch(0, start=6))
    assert dataset.asked == np.concatenate([batch.indices for batch in batches]).tolist()
    assert len(dataset.asked) == 16


def test_reading_ahead_is_bounded():
    config = run(data={"workers": 2})
    dataset = Counted(64)
    batches = TrainLoader(config, dataset, 0, 1).epoch(0)
    next(batches)
    batches.close()
    assert len(dataset.asked) <= 4 * 8  # one in use, three ahead


def test_leaving_early_ends_the_threads():
    config = run(size=256, data={"workers": 4})
    before = threads_of_loaders()
    loader = train_loader(config)
    batches = loader.epoch(0)
    next(batches)
    assert len(threads_of_loaders()) > len(before)
    batches.close()
    assert threads_of_loaders() == before
    for _ in loader.epoch(1):
        break
    evaluation = iter(EvalLoader(config, open_dataset(config.data, False), 0, 1))
    next(evaluation)
    del evaluation
    assert threads_of_loaders() == before
    assert len(list(loader.epoch(0))) == 32  # and the loader is as good as new
    assert threads_of_loaders() == before


@pytest.mark.parametrize("workers", [0, 3])
def test_broken_image_ends_the_epoch_and_is_named(workers, tmp_path):
    for split, name in (("train", "a"), ("train", "b"), ("val", "a")):
        (tmp_path / split / name).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (30, 30), (number * 20, 0, 99)).save(tmp_path / split / name / f"{number}.jpg")
    broken = tmp_path / "train/b/5.jpg"
    broken.write_bytes(broken.read_bytes()[:-100])
    where = {"source": "imagefolder", "root": str(tmp_path), "num_classes": 2, "train_size": 16, "val_size": 8}
    config = run(data={**where, "workers": workers, "batch_size": 4})
    for backend in ("opencv", "pil"):
        config.augment.backend = backend
        with pytest.raises(UserError, match=r"train/b/5\.jpg: not readable as an image") as caught:
            list(train_loader(config).epoch(0))
        assert caught.value.exit_code == 1
        assert threads_of_loaders() == []
    assert sum(batch.valid.sum() for batch in EvalLoader(config, open_dataset(config.data, False), 0, 1)) == 8


@pytest.mark.parametrize("workers", [0, 2])
def test_other_errors_reach_the_consumer(workers):
    config = run(data={"workers": workers})
    dataset = Counted(64, failing=17)
    with pytest.raises(UserError, match=r"counted\[17\]: broken"):
        list(TrainLoader(config, dataset, 0, 1).epoch(0))
    with pytest.raises(UserError, match=r"counted\[17\]: broken"):
        list(EvalLoader(config, dataset, 0, 1))


def test_wait_time_is_counted():
    loader = train_loader(run())
    assert loader.waited == 0
    batches = loader.epoch(0)
    next(batches)
    first = loader.waited
    assert 0 < first < 5
    next(batches)
    assert loader.waited > first


@pytest.mark.parametrize(("n", "world"), [(64, 1), (61, 1), (61, 2), (61, 3), (5, 8), (49, 3)])
def test_evaluation_sees_each_image_once(n, world):
    config = run(data={"workers": 2})
    dataset = Counted(n)
    loaders = [EvalLoader(config, dataset, rank, world) for rank in range(world)]
    assert len({len(loader) for loader in loaders}) == 1
    seen = []
    for rank, loader in enumerate(loaders):
        batches = list(loader)
        assert len(batches) == len(loader)
        for batch in batches:
            assert batch.images.shape == (8, 24, 24, 3) and batch.valid.shape == batch.labels.shape == (8,)
            assert batch.labels.dtype == np.int32 and batch.indices.dtype == np.int64
            assert (batch.indices[batch.valid] % world == rank).all()
            np.testing.assert_array_equal(batch.labels[batch.valid], batch.indices[batch.valid] % 3)
            np.testing.assert_array_equal(batch.images[batch.valid][:, 0, 0, 0], batch.indices[batch.valid])
            assert (batch.indices[~batch.valid] == -1).all() and not batch.images[~batch.valid].any()
            seen += batch.indices[batch.valid].tolist()
    assert sorted(seen) == list(range(n)) == sorted(dataset.asked)


def test_evaluation_order_by_hand():
    assert eval_order(5, 2, 0, 2).tolist() == [[0, 2], [4, -1]]
    assert eval_order(5, 2, 1, 2).tolist() == [[1, 3], [-1, -1]]


def test_evaluation_can_be_repeated():
    config = run(size=20)
    loader = EvalLoader(config, open_dataset(config.data, False), 0, 1)
    assert_same(list(loader), list(loader))
