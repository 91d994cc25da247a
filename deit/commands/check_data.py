"""``task=check_data``: read every image of a data set as a training does, and report problems.

It starts no worker, needs no MindSpore and creates no run directory.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from deit.commands.task import Task
from deit.compose import rules
from deit.compose.unused_keys import Unused
from deit.config.schema import RunConfig
from deit.config.tasks import CheckDataTask
from deit.console import console, titled
from deit.data.datasets import check_classes, open_dataset
from deit.data.decode import Decoded, decode_noting
from deit.data.folder import ImageFiles
from deit.data.packed import Packed
from deit.data.source import Dataset, EncodedDataset, whole_of
from deit.data.workers import workers_of
from deit.errors import BAD, TREATED, BadImage, UserError
from deit.files import write_json
from deit.preflight.recipe_data import bring
from deit.progress_bar import Bars, progress_bars
from deit.runs.task_output import new_file

CHUNK = 64  # images per thread and turn
DIGEST = 16  # bytes of SHA-256 kept of each image
EXAMPLES = 3  # lines per finding that is not an error
SHOWN = 10  # lines per kind of finding; the report has them all
UNREADABLE = "unreadable"  # a problem of the disk or of permissions, not of the image
KINDS = {**BAD, UNREADABLE: "the file cannot be opened or read"}


@dataclass
class Split:
    """What was found in one split of N images."""

    data: Dataset
    digests: NDArray[np.uint8]  # uint8 [N, DIGEST], start of each image's SHA-256
    sizes: NDArray[np.int64]  # int64 [N, 2], width and height; 0 for a bad one
    bytes: NDArray[np.int64]  # int64 [N]
    bad: dict[int, tuple[str, str]]  # kind and reason, by image number
    treated: dict[int, str]  # one of errors.TREATED, by image number
    damaged_shards: list[str]  # packed data whose checksum is wrong

    @property
    def good(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.sizes[:, 0])


class CheckData(Task[CheckDataTask]):
    is_trial = False
    takes = ()
    instead = "it uses only images; leave out {}."
    obeys = (rules.data,)

    def unused(self, found: Unused) -> None:
        found.all_but("augment", "backend")
        found.with_task("seed", "name", "runs_dir", "weights_dir", "data.on_bad_image")
        found.with_task("data.batch_size", "data.last_batch", "data.eval_batch_size", "data.crop_pct")
        found.with_task("data.interpolation", "data.mean", "data.std")

    def prepare(self, config: RunConfig, *, here: bool = True) -> RunConfig:
        _output(self.of(config).output)
        if bring(config):
            _opened(config)
        return config

    def outline(self, config: RunConfig, *, starts: bool) -> None:
        console().print(f"would read {_count(config)}")

    def run(self, config: RunConfig, typed: list[str]) -> int:
        """Check both splits and print the findings; returns 1 if an image is bad or a shard is damaged, else 0.

        Raises UserError, before anything is read, if the data set or ``task.output`` is not usable.
        """
        output = _output(self.of(config).output)
        bring(config)
        opened = _opened(config)
        with progress_bars() as bars:
            splits = {}
            for split, data in opened.items():
                damaged = _damaged_shards(data, split, bars)
                bar = bars.add(split, len(data))
                splits[split] = _look(data, workers_of(config.data, cards=1), bar.advance)
                splits[split].damaged_shards = damaged
        found = report(config, splits)
        _show(found)
        if output is not None:
            write_json(output, found)
            console().print(f"\nreport: {output}")
        return 1 if any(split.bad or split.damaged_shards for split in splits.values()) else 0


def _damaged_shards(data: Dataset, split: str, bars: Bars) -> list[str]:
    whole = whole_of(data)
    if not isinstance(whole, Packed):
        return []
    bar = bars.add(f"{split} shards, bytes", sum(shard.bytes for shard in whole.shards))
    damaged = whole.damaged(bar.advance)
    bar.close()
    return damaged


def _opened(config: RunConfig) -> dict[str, Dataset]:
    opened = {split: open_dataset(config.data, train=split == "train") for split in ("train", "val")}
    for data in opened.values():
        check_classes(data)
    return opened


def _count(config: RunConfig) -> str:
    try:
        return " and ".join(f"{len(data):,} images of {data.place}" for data in _opened(config).values())
    except UserError as error:
        return f"data={config.data.name}; not counted: {error}"


def _output(text: str | None) -> Path | None:
    return None if text is None else new_file(text, [".json"], otherwise=", or null")


def _look(data: Dataset, workers: int, advance: Callable[[int], Any]) -> Split:
    """Read and decode every image, in ``workers`` threads, or in this one with 0."""
    count, whole = len(data), whole_of(data)
    digests, sizes = np.zeros((count, DIGEST), np.uint8), np.zeros((count, 2), np.int64)
    found = Split(data, digests, sizes, np.zeros(count, np.int64), {}, {}, [])

    def look(indices: range) -> int:
        for index in indices:
            try:
                content = data.content(index)
                found.bytes[index] = len(content)
                found.digests[index] = np.frombuffer(hashlib.sha256(content).digest()[:DIGEST], np.uint8)
                if isinstance(whole, EncodedDataset):
                    decoded = decode_noting(content, data.describe(index), whole.max_pixels, whole.background)
                else:
                    decoded = Decoded(data.image(index))
                height, width = decoded.pixels.shape[:2]
                if decoded.treated is not None:
                    found.treated[index] = decoded.treated
                found.sizes[index] = width, height
            except BadImage as bad:
                found.bad[index] = (bad.kind, bad.reason)
            except UserError as error:
                found.bad[index] = (UNREADABLE, str(error))
        return len(indices)

    chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    if workers == 0:
        for chunk in chunks:
            advance(look(chunk))
        return found
    pool = ThreadPoolExecutor(workers, thread_name_prefix="images")
    try:
        for done in as_completed([pool.submit(look, chunk) for chunk in chunks]):
            advance(done.result())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return found


def report(config: RunConfig, splits: dict[str, Split]) -> dict[str, Any]:
    """All findings as plain values, for ``task.output``."""
    equal = list(_equal(splits))
    return {
        "data": config.data.name,
        "source": config.data.source,
        "max_pixels": config.data.max_pixels,
        "background": config.data.background,
        "splits": {name: _described(split) for name, split in splits.items()},
        "equal_across_splits": [group for group in equal if len({image["split"] for image in group}) > 1],
        "equal_in_train": [group for group in equal if {image["split"] for image in group} == {"train"}],
        "equal_in_val": [group for group in equal if {image["split"] for image in group} == {"val"}],
    }


def _described(split: Split) -> dict[str, Any]:
    data, good = split.data, split.good
    counts = np.bincount(data.labels, minlength=len(data.classes))
    described: dict[str, Any] = {
        "place": data.place,
        "images": len(data),
        "good": len(good),
        "bytes": int(split.bytes.sum()),
        "images_of_class": {name: int(count) for name, count in zip(data.classes, counts, strict=True)},
        "bad_by_kind": dict(Counter(kind for kind, _ in split.bad.values())),
        "bad": [{"file": data.describe(i), "kind": kind, "reason": reason} for i, (kind, reason) in sorted(split.bad.items())],
        "treated_by_kind": dict(Counter(split.treated.values())),
        "treated": [{"file": data.describe(i), "kind": kind} for i, kind in sorted(split.treated.items())],
        "no_image_by_name": _others(data),
        "damaged_shards": split.damaged_shards,
    }
    if len(good):
        width, height = split.sizes[good].T
        for name, values in (("width", width), ("height", height), ("pixels", width * height)):
            described[name] = {"least": int(values.min()), "median": float(np.median(values)), "most": int(values.max())}
    return described


def _others(data: Dataset) -> list[str]:
    whole = whole_of(data)
    if not isinstance(whole, ImageFiles):
        return []
    left_out = whole.left_out
    return [f"{whole.place}/{name}" for name in sorted([*left_out.loose, *left_out.others, *left_out.broken])]


def _equal(splits: dict[str, Split]) -> Iterator[list[dict[str, str]]]:
    """Groups of good images with identical bytes; each image with its split, name and class."""
    places = [(name, int(index)) for name, split in splits.items() for index in split.good]
    if not places:
        return
    digests = np.ascontiguousarray(np.concatenate([split.digests[split.good] for split in splits.values()]))
    keys = digests.view(np.dtype((np.void, DIGEST))).reshape(-1)
    order = np.argsort(keys, kind="stable")
    ends = np.flatnonzero(keys[order][1:] != keys[order][:-1]) + 1
    for group in sorted((g for g in np.split(order, ends) if len(g) > 1), key=lambda g: int(g[0])):
        images = []
        for place in group:
            name, index = places[place]
            data = splits[name].data
            images.append({"split": name, "file": data.describe(index), "class": data.classes[data.labels[index]]})
        yield images


def _show(found: dict[str, Any]) -> None:
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False)
    table.add_column("")
    for name in found["splits"]:
        table.add_column(name, justify="right")
    for label, *cells in _rows(list(found["splits"].values())):
        table.add_row(label, *cells)
    console().print(table)
    for name, split in found["splits"].items():
        _list(f"{name}: shards that differ from what task=pack wrote", split["damaged_shards"])
        bad = [f"{bad['file']}: {bad['kind']} ({bad['reason']})" for bad in split["bad"]]
        _list(f"{name}: bad images", bad)
        for kind, what in TREATED.items():
            _list(f"{name}: {what}", [image["file"] for image in split["treated"] if image["kind"] == kind], EXAMPLES)
        empty = [label for label, count in split["images_of_class"].items() if count == 0]
        _list(f"{name}: classes without an image", empty)
        _list(f"{name}: not read (no image extension, a broken link, or outside the class folders)", split["no_image_by_name"])
    across = [" = ".join(image["file"] for image in group) for group in found["equal_across_splits"]]
    _list("duplicates across training and validation, which make the accuracy too high", across)
    for name in found["splits"]:
        groups = found[f"equal_in_{name}"]
        _list(f"{name}: duplicates", [" = ".join(i["file"] for i in group) for group in groups])
        unlike = [group for group in groups if len({image["class"] for image in group}) > 1]
        lines = [" = ".join(f"{i['file']} ({i['class']})" for i in group) for group in unlike]
        _list(f"{name}: duplicates under different classes", lines)


def _rows(splits: list[dict[str, Any]]) -> Iterator[list[str]]:
    yield ["images", *(f"{split['images']:,}" for split in splits)]
    for kind in KINDS:
        if any(kind in split["bad_by_kind"] for split in splits):
            yield [f"bad: {kind}", *(f"{split['bad_by_kind'].get(kind, 0):,}" for split in splits)]
    for kind in TREATED:
        if any(kind in split["treated_by_kind"] for split in splits):
            yield [kind, *(f"{split['treated_by_kind'].get(kind, 0):,}" for split in splits)]
    yield ["classes with images", *(str(sum(map(bool, split["images_of_class"].values()))) for split in splits)]
    counts = [list(split["images_of_class"].values()) for split in splits]
    yield ["images per class", *(f"{min(c)} / {np.median(c):g} / {max(c)}" for c in counts)]
    for name in ("width", "height", "pixels"):
        ranges = [split.get(name) for split in splits]
        yield [name, *("-" if r is None else f"{r['least']:,} / {r['median']:,.10g} / {r['most']:,}" for r in ranges)]
    yield ["megabytes", *(f"{split['bytes'] / 1e6:,.1f}" for split in splits)]


def _list(title: str, lines: list[str], most: int = SHOWN) -> None:
    if not lines:
        return
    more = [f"... and {len(lines) - most} more (task.output=FILE.json has them all)"] if len(lines) > most else []
    console().print()
    console().print(titled(title, f": {len(lines):,}"))
    for line in [*lines[:most], *more]:
        # A file name may contain anything; none of it may reach the terminal as a control sequence.
        console().print("  " + "".join(c if c.isprintable() else "?" for c in line))


TASK = CheckData()
