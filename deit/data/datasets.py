"""The data set of a configuration, checked against the configuration."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from deit.config.addresses import COMPLETE, data_copy, is_remote
from deit.config.class_names import normal
from deit.config.schema import DataConfig
from deit.data.cifar import open_cifar
from deit.data.digits import open_digits
from deit.data.folder import ImageFiles, is_unsplit, open_folder
from deit.data.listed import is_listed, lists_all, open_class_folders, open_list, refuse_split_keys, write_split
from deit.data.packed import format_of, open_packed
from deit.data.source import Dataset, aligned, evenly, limited, mapped, whole_of
from deit.data.synthetic import open_synthetic
from deit.errors import BadImage, UserError
from deit.notes import note


def open_images(data: DataConfig, train: bool) -> Dataset:
    """A split of image files: of class folders, of a list, or packed.

    Raises UserError if data.root does not match data.format, or has splits while the configuration splits it.
    """
    form = format_of(data)
    if form == "folder" and is_listed(data):
        return open_list(data, train)
    if form == "folder" and _is_unsplit(data):
        _check_tested(data, train)
        return open_class_folders(data, train)
    if data.labels is not None and data.split_file is None:
        raise UserError(f"data.labels={data.labels}: {data.root} contains {form} shards, which have their own labels.")
    if data.split_file is None:
        refuse_split_keys(data, Path(data.root or "."))
    if form != "folder":
        _check_tested(data, train)
        packed = open_packed(data, train)
        if data.split_file is not None and not lists_all(Path(data.split_file), packed, train):
            raise UserError(
                f"data.root: {data.root} has other {'training' if train else 'validation'} images than those of the run in "
                f"data.split_file={data.split_file}; pack them with the same data.split_file."
            )
        return packed
    return open_folder(data, train)


def _check_tested(data: DataConfig, train: bool) -> None:
    if not train and data.eval_split == "test":
        raise UserError(f"data.eval_split=test: {data.root} has no test images; they are in test/, next to train/ and val/.")


def record_split(file: Path, data: DataConfig) -> None:
    """Write which images are for training and which for validation, unless train/ and val/ or packed data say so.

    Raises UserError as ``open_dataset`` does.
    """
    data = _on_this_machine(data)
    if data.source == "imagefolder" and format_of(data) == "folder" and (is_listed(data) or _is_unsplit(data)):
        write_split(file, data)


def _is_unsplit(data: DataConfig) -> bool:
    return data.root is not None and is_unsplit(Path(data.root))


SOURCES = {
    "imagefolder": open_images,
    "cifar10": open_cifar,
    "cifar100": open_cifar,
    "digits": open_digits,
    "synthetic": open_synthetic,
}


def open_dataset(data: DataConfig, train: bool, *, trained_on: tuple[Sequence[str] | None, str] = (None, "")) -> Dataset:
    """The training or the validation images of ``data.source``, cut to train_limit or val_limit.

    Raises UserError, naming the key and the place, if the source cannot be read or the number of classes or images differs
    from data.num_classes, data.train_size and data.val_size. ``trained_on`` are the class names of a model, None if unknown,
    and the name of their source: the data must have the same.
    """
    data = _on_this_machine(data)
    dataset = SOURCES[data.source](data, train)
    if data.class_map is not None:
        dataset = mapped(dataset, read_class_map(data.class_map), f"data.class_map={data.class_map}")
    aligned(dataset, *trained_on)
    check_counts(dataset, data, train, of_model=bool(trained_on[1]))
    return limited(dataset, data.train_limit if train else data.val_limit)


def check_counts(dataset: Dataset, data: DataConfig, train: bool, *, of_model: bool = False) -> None:
    """Raises UserError if the number of classes or images differs from data.num_classes, data.train_size and data.val_size.

    ``of_model``: data.num_classes is that of a model, so that counting is no remedy.
    """
    classes, images = len(dataset.classes), len(dataset)
    if data.num_classes not in (None, classes):
        accept = "; data.num_classes=null counts them" if data.source == "imagefolder" and not of_model else ""
        raise UserError(f"data.num_classes is {data.num_classes}, but {dataset.place} has {classes} classes{accept}.")
    key, size, split = ("train_size", data.train_size, "training") if train else ("val_size", data.val_size, "validation")
    if size not in (None, images):
        raise UserError(
            f"data.{key} is {size}, but {dataset.place} has {images} {split} images; data.{key}=null accepts what is found."
        )


def read_class_map(text: str) -> list[str]:
    """The class names by label, one per line, as in timm's --class-map.

    Raises UserError if the file cannot be read, or names a class twice.
    """
    try:
        names = [normal(line.strip()) for line in Path(text).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"data.class_map={text}: not readable as a list of names ({error}).") from None
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice or len(names) < 2:
        what = f"names {twice[0]} more than once" if twice else "contains fewer than two names"
        raise UserError(f"data.class_map={text}: {what}; allowed: a different name on each line.")
    return names


def _on_this_machine(data: DataConfig) -> DataConfig:
    """With the local copy of a remote ``data.root``. Raises UserError if it is not complete."""
    if data.root is None or not is_remote(data.root):
        return data
    copy = data_copy(data.root, data.cache_dir)
    if not (copy.parent / COMPLETE).is_file():
        raise UserError(f"data.root={data.root} is not copied to this machine yet, to {copy}; the launcher does that.")
    return dataclasses.replace(data, root=str(copy))


def check_classes(dataset: Dataset) -> None:
    """Raises UserError for a single class."""
    if len(dataset.classes) < 2:
        raise UserError(f"{dataset.place}: contains one class, {dataset.classes[0]}; a classifier needs at least two.")


def check_images(dataset: Dataset, on_bad_image: str, most: int = 256) -> None:
    """Reject a single class, report skipped files, then decode up to ``most`` images, spread evenly.

    So a broken data set is found before a run starts. Raises UserError for the first unreadable image; if bad ones are left out
    (data.on_bad_image), only if all are bad.
    """
    check_classes(dataset)
    whole = whole_of(dataset)
    if isinstance(whole, ImageFiles) and (lines := whole.left_out.lines()):
        note(f"{whole.place} leaves out {'; '.join(lines)}.")
    looked_at = evenly(len(dataset), most)
    bad = 0
    for index in looked_at:
        try:
            dataset.image(int(index))
        except UserError as error:
            if on_bad_image == "error" or not isinstance(error, BadImage):
                hint = "; data.on_bad_image=skip leaves such images out" if isinstance(error, BadImage) else ""
                raise UserError(f"{str(error).removesuffix('.')}{hint}.") from error  # no task is running yet: exit code 2
            bad += 1
    if bad == len(looked_at):
        raise UserError(f"{dataset.place}: none of the {bad} checked images can be used; task=check_data says why.")
