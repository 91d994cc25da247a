"""MindRecord shards, written with MindSpore's own writer in a separate program, because the launcher has no MindSpore.

    python -m deit.data.mindrecord_shard

reads jobs, one JSON object per line, and writes lines of JSON: how many more images are written, then all their offsets, or an
error. It ends when its input does.

MindDataset returns the columns ``image`` (the bytes of the file), ``label``, ``file_name`` (CLASS/FILE) and ``index``, the
number of the image in the split. A blob starts at header_size + page * page_size + offset in the page, after its length in 8
bytes; page and offset are in the SQLite file that the writer creates.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from mindspore.mindrecord import FileWriter

from deit.data.shard import Source, Written, read_source
from deit.errors import UserError

AT_ONCE = 64  # images per call of the writer
HEADER = 1 << 20  # bytes; MindSpore's default of 16 MB is for shards of terabytes
PAGE, LARGEST_PAGE = 1 << 23, 1 << 28  # bytes; a page contains whole images, MindSpore allows 256 MB
PREFIX = 8  # bytes before each blob: its length
EMPTY = b"\0"  # the writer accepts no empty bytes; the index says 0
SCHEMA = {
    "index": {"type": "int64"},
    "label": {"type": "int32"},
    "file_name": {"type": "string"},
    "image": {"type": "bytes"},
}


def write_mindrecord(path: Path, sources: Sequence[Source], advance: Callable[[int], Any]) -> Written:
    """Write the shard and its .db, replacing existing ones. ``advance`` is called with the number of written images.

    Raises UserError as ``read_source`` does, and if an image is larger than a page.
    """
    largest = max(sources, key=lambda source: source.size)
    page = PAGE
    while page < largest.size + PREFIX:
        page *= 2
    if page > LARGEST_PAGE:
        raise UserError(
            f"{largest.path}: has {largest.size:,} bytes, but MindRecord takes at most {LARGEST_PAGE - PREFIX:,}; "
            "give task.format=tar.",
            exit_code=1,
        )
    writer = FileWriter(str(path), shard_num=1, overwrite=True)
    writer.set_header_size(HEADER)
    writer.set_page_size(page)
    writer.add_schema(SCHEMA, "images and their labels")
    writer.add_index(["index"])
    digests = []
    for start in range(0, len(sources), AT_ONCE):
        rows = []
        for source in sources[start : start + AT_ONCE]:
            content = read_source(source)
            digests.append(hashlib.sha256(content).hexdigest())
            name = os.fsencode(source.name).decode(errors="replace")  # MindRecord's text is UTF-8
            rows.append({"index": source.number, "label": source.label, "file_name": name, "image": content or EMPTY})
        writer.write_raw_data(rows)
        advance(len(rows))
    writer.commit()
    for file in (path, _database(path)):
        _finish(file)
    return Written(_offsets(path, sources, page), digests)


def _offsets(path: Path, sources: Sequence[Source], page: int) -> list[int]:
    query = "SELECT index_0, PAGE_ID_BLOB, PAGE_OFFSET_BLOB, PAGE_OFFSET_BLOB_END FROM INDEXES"
    with closing(sqlite3.connect(f"{_database(path).absolute().as_uri()}?mode=ro", uri=True)) as database:
        places = {number: place for number, *place in database.execute(query)}
    offsets = []
    for source in sources:
        number, first, end = places[source.number]
        assert end - first - PREFIX == max(source.size, len(EMPTY))
        offsets.append(HEADER + number * page + first + PREFIX)
    return offsets


def _database(path: Path) -> Path:
    return path.with_name(f"{path.name}.db")


def _finish(path: Path) -> None:
    """Sync a file, with normal permissions: MindSpore makes it readable only for its owner."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def main() -> None:
    # MindSpore may print to stdout, so the answers get their own descriptor.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**said: Any) -> None:
        print(json.dumps(said), file=answers, flush=True)

    for line in sys.stdin:
        job = json.loads(line)
        try:
            sources = [Source(*values) for values in job["sources"]]
            written = write_mindrecord(Path(job["path"]), sources, lambda count: answer(images=count))
        except UserError as error:
            answer(error=str(error))
        except OSError as error:
            answer(error=f"{job['path']}: could not be written ({error.strerror}).")
        except RuntimeError as error:  # MindSpore's errors fill pages; one line of them has the reason
            reasons = [text for text in str(error).splitlines() if text.startswith("[ERROR]")] or str(error).splitlines()
            answer(error=f"{job['path']}: MindSpore could not write it ({reasons[0] if reasons else type(error).__name__}).")
        else:
            answer(**vars(written))


if __name__ == "__main__":
    main()
