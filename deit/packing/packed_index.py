"""The index of packed data: where each image is, and what the shards contain."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np

from deit.data import packed
from deit.errors import UserError
from deit.files import read_json, write_json
from deit.packing.shard_plan import Job, Split


def write_index(part: Path, jobs: list[Job], found: dict[str, Split], format: str) -> packed.Description:
    """Write the index of each split, then dataset.json. Raises UserError if the shards do not contain all images."""
    splits = {}
    for split, images in found.items():
        folder = images.folder
        index = np.zeros(len(folder), packed.index_type(images.names.dtype.itemsize))
        index["shard"] = -1
        index["length"], index["label"], index["name"] = images.sizes, folder.labels, images.names
        shards = []
        for job in (job for job in jobs if job.split == split):
            record, rows = read_json(job.record(part)), slice(job.rows.start, job.rows.stop)
            index["shard"][rows], index["offset"][rows] = job.number, record["offsets"]
            shards.append(packed.Shard(job.file(format), len(job.rows), record["bytes"], record["sha256"]))
        if (index["shard"] < 0).any() or sum(shard.images for shard in shards) != len(folder):
            raise UserError(f"{part / split}: does not contain all {len(folder)} images.", exit_code=1)
        content = io.BytesIO()
        np.save(content, index)
        with open(part / split / packed.INDEX, "wb") as file:
            file.write(content.getvalue())
            file.flush()
            os.fsync(file.fileno())
        splits[split] = packed.Split(len(folder), hashlib.sha256(content.getvalue()).hexdigest(), shards)
    described = packed.Description(format, found["train"].folder.classes, splits)
    write_json(part / packed.DESCRIPTION, described.as_json())
    return described
