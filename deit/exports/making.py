"""A folder that appears under its name when it is whole.

    .NAME.<random>.tmp/folder   becomes NAME
    .NAME.<random>.tmp/lock     is locked as long as its maker lives

The kernel frees the lock of a maker that was killed. So the next one can tell what is left of it, and removes that.
"""

from __future__ import annotations

import fcntl
import glob
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def making(output: Path) -> Iterator[Path]:
    """An empty folder on the disk of ``output`` to write into; it gets that name when the block ends without an error.

    Raises OSError where it cannot be made, or ``output`` has come to be there meanwhile. Whatever is raised, nothing stays.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    for left in output.parent.glob(f".{glob.escape(output.name)}.*.tmp"):
        _remove_if_dead(left)
    temporary = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".tmp", dir=output.parent))
    try:
        with open(temporary / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            folder = temporary / "folder"  # with the rights of any new folder, which a temporary one has not
            folder.mkdir()
            yield folder
            folder.rename(output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_if_dead(temporary: Path) -> None:
    try:
        with open(temporary / "lock", "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError:  # its maker lives, it is somebody else's, or it is gone
        return
