"""The interface of an object store: S3 and compatible ones (``s3_store.py``), or ModelArts' moxing.

Every failure is a UserError that names the key and the address; ``Unreachable`` if a later attempt may succeed.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deit.errors import UserError


class StoreError(UserError):
    """An error of the store: no such bucket, no permission, an invalid address."""


class NothingThere(StoreError):
    """No object at or below an address, or no such bucket."""


class Unreachable(StoreError):
    """A store that does not respond."""


@dataclass(frozen=True)
class Object:
    """An object at or below an address. ``tag`` changes with the content."""

    name: str  # relative to the address, with slashes; the last part of the address if that is the object itself
    address: str
    size: int
    tag: str
    md5: str | None  # hexadecimal, if the store provides it


class Store(abc.ABC):
    """``key`` is the configuration key of the address, for messages."""

    def __init__(self, key: str) -> None:
        self.key = key

    @abc.abstractmethod
    def objects(self, address: str) -> list[Object]:
        """All objects below ``address``, or the one at it, by name. Raises NothingThere if there is none."""

    @abc.abstractmethod
    def folders(self, address: str) -> list[str]:
        """Names of the folders directly below ``address``."""

    @abc.abstractmethod
    def fetch(self, found: Object, part: Path, told: Callable[[int], None], stopped: Callable[[], bool]) -> None:
        """Copy an object into the file ``part``, continuing a partial file if the store supports that.

        ``told`` is called with the number of bytes as they arrive, negative for bytes that are read again. Ends early if
        ``stopped`` returns True. The content is checked as far as the store allows; raises StoreError if it differs.
        """

    @abc.abstractmethod
    def put(self, file: Path, address: str) -> None:
        """Copy a file to ``address``."""

    @abc.abstractmethod
    def delete(self, addresses: Sequence[str]) -> None:
        """Delete objects; missing ones are ignored."""
