"""The file or folder of ``task.output``: it must not exist before, and a full disk is one message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deit.config.addresses import expanded
from deit.errors import UserError
from deit.files import free_below
from deit.text import byte_size


def new_file(text: str, suffixes: Sequence[str], *, otherwise: str = "") -> Path:
    """The file to write; ``otherwise`` adds what else the message allows.

    Raises UserError if it has none of the ``suffixes``, already exists, or its folder does not exist.
    """
    path = expanded(text)
    if path.suffix not in suffixes:
        raise UserError(f"task.output is {text!r}; allowed: the name of a {' or '.join(suffixes)} file{otherwise}.")
    return _new(path, text)


def new_folder(text: str, *, may_be_empty: bool = False) -> Path:
    """The folder to write, absolute; an empty one may exist with ``may_be_empty``. Raises UserError as ``new_file`` does."""
    path = expanded(text).absolute()
    return path if may_be_empty and path.is_dir() and not any(path.iterdir()) else _new(path, text)


def _new(path: Path, text: str) -> Path:
    check_new(path, repr(text))
    if not path.absolute().parent.is_dir():
        raise UserError(f"task.output is {text!r}, but the folder {path.parent} does not exist; create it first.")
    return path


def check_new(path: Path, found: str) -> None:
    """Raises UserError if ``path`` exists; ``found`` is the value of task.output."""
    if path.exists() or path.is_symlink():
        where = "" if str(path) in found or path.name in found else f", so it would be {path}"
        raise UserError(f"task.output is {found}{where}, which already exists; remove it, or give another name.")


def check_room(output: Path, needed: int, what: str) -> None:
    """Raises UserError if ``what`` needs more bytes than are free on the disk of ``output``."""
    free = free_below(output.absolute())
    if free < needed:
        raise UserError(
            f"task.output={output}: {byte_size(free)} are free there, but {what} need {byte_size(needed)}; free some space, or "
            "give another folder."
        )


@contextmanager
def writing(output: Path) -> Iterator[None]:
    """Turn an OSError in the block into a UserError with exit code 1."""
    try:
        yield
    except OSError as error:
        raise UserError(f"task.output={output}: could not be written ({error.strerror}).", exit_code=1) from error
