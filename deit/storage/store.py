"""The interface of an object store: S3 and compatible ones (``s3_store.py``), or ModelArts' moxing.

Every failure is a UserError that names the key and the address: ``Unreachable`` where a later attempt may succeed.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deit.errors import UserError


class StoreError(UserError):
    """A store that refuses: no such bucket, no permission, an address that means nothing to it."""


class NothingThere(StoreError):
    """No object at or below an address, or no such bucket."""


class Unreachable(StoreError):
    """A store that does not answer."""


@dataclass(frozen=True)
class Object:
    """An object at or below an address. ``tag`` is another one when the content is."""

    name: str  # relative to the address, with slashes; the last part of the address where that is the object itself
    address: str
    size: int
    tag: str
    md5: str | None  # of the content in hexadecimal digits, where the store says it


class Store(abc.ABC):
    """``key`` is what the messages name: the key of the configuration that holds the address."""

    def __init__(self, key: str) -> None:
        self.key = key

    @abc.abstractmethod
    def objects(self, address: str) -> list[Object]:
        """All objects below ``address``, or the one at it, by name. Raises NothingThere where there is none."""

    @abc.abstractmethod
    def folders(self, address: str) -> list[str]:
        """Names of what stands directly below ``address`` and has something below itself; none where it is empty."""

    @abc.abstractmethod
    def fetch(self, found: Object, part: Path, told: Callable[[int], None], stopped: Callable[[], bool]) -> None:
        """Copy an object into the file ``part``, continuing a partial file if the store supports that.

        ``told`` hears of bytes as they come; bytes counted in vain are given back as a negative number. Ends early where
        ``stopped`` says so. The content has been checked as far as the store tells what it is; raises StoreError where it is
        not what was asked for.
        """

    @abc.abstractmethod
    def put(self, file: Path, address: str) -> None:
        """Copy a file to ``address``."""

    @abc.abstractmethod
    def delete(self, addresses: Sequence[str]) -> None:
        """Delete objects; one that is not there is none to delete."""
