"""The data set of a configuration, checked against what the configuration says of it."""

from __future__ import annotations

from deit.config.schema import DataConfig
from deit.data.cifar import open_cifar
from deit.data.digits import open_digits
from deit.data.folder import open_folder
from deit.data.source import Dataset, evenly, limited
from deit.data.synthetic import open_synthetic
from deit.errors import UserError

SOURCES = {
    "imagefolder": open_folder,
    "cifar10": open_cifar,
    "cifar100": open_cifar,
    "digits": open_digits,
    "synthetic": open_synthetic,
}


def open_dataset(data: DataConfig, train: bool) -> Dataset:
    """The training or the validation images of ``data.source``, cut to train_limit or val_limit.

    Raises UserError, naming the key and the place, where the source cannot be read or holds another number
    of classes or images than data.num_classes, data.train_size and data.val_size say.
    """
    dataset = SOURCES[data.source](data, train)
    classes, images = len(dataset.classes), len(dataset)
    if data.num_classes not in (None, classes):
        accept = "; data.num_classes=null counts them" if data.source == "imagefolder" else ""
        raise UserError(f"data.num_classes is {data.num_classes}, but {dataset.place} has {classes} classes{accept}.")
    key, size, split = ("train_size", data.train_size, "training") if train else ("val_size", data.val_size, "validation")
    if size not in (None, images):
        raise UserError(
            f"data.{key} is {size}, but {dataset.place} has {images} {split} images; data.{key}=null accepts what is found."
        )
    return limited(dataset, data.train_limit if train else data.val_limit)


def check_images(dataset: Dataset, most: int = 256) -> None:
    """Decode up to ``most`` images, spread evenly, so that a broken data set is found before a run starts.

    Raises UserError for the first that cannot be read.
    """
    for index in evenly(len(dataset), most):
        try:
            dataset.image(int(index))
        except UserError as error:
            raise UserError(str(error)) from error  # no task is running yet: exit code 2
