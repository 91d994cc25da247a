"""OBS through ModelArts' ``moxing.file``, which knows the keys and the endpoint of its job.

It supports neither partial reads nor checksums: an object is identified by size and modification time, and an interrupted
copy starts again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import moxing

from deit.config.addresses import split
from deit.errors import UserError
from deit.storage.store import NothingThere, Object, Store, StoreError

THREADS = 32  # for sizes, because moxing lists only names


class MoxingStore(Store):
    def objects(self, address: str) -> list[Object]:
        base = address.rstrip("/")
        with self._translated(address):
            names = {base: base.rpartition("/")[2]} if moxing.file.exists(base) else {}
            if names and moxing.file.is_directory(base):
                below = moxing.file.list_directory(base, recursive=True)
                names = {f"{base}/{name}": name for name in below if not name.endswith("/")}
            with ThreadPoolExecutor(THREADS) as pool:
                found = [one for one in pool.map(self._object, names.keys(), names.values()) if one]
        if not found:
            raise NothingThere(f"{self.key}={address}: no objects found.")
        return sorted(found, key=lambda one: one.name)

    def _object(self, address: str, name: str) -> Object | None:
        about = moxing.file.stat(address)
        if about.is_directory:
            return None
        return Object(name, address, int(about.length), f"{about.length}-{about.mtime_nsec}", None)

    def folders(self, address: str) -> list[str]:
        base = address.rstrip("/")
        with self._translated(address):
            if not moxing.file.exists(base):
                return []
            names = [name.rstrip("/") for name in moxing.file.list_directory(base)]
            return sorted(name for name in names if moxing.file.is_directory(f"{base}/{name}"))

    def fetch(self, found: Object, part: Path, told: Callable[[int], None], stopped: Callable[[], bool]) -> None:
        with self._translated(found.address):
            moxing.file.copy(found.address, str(part))
        if part.stat().st_size != found.size:
            came = part.stat().st_size
            part.unlink()
            raise StoreError(f"{self.key}: {found.address} was read as {came} bytes, not {found.size}. Try again.", exit_code=1)
        told(found.size)

    def put(self, file: Path, address: str) -> None:
        with self._translated(address):
            moxing.file.copy(str(file), address)

    def delete(self, addresses: Sequence[str]) -> None:
        for address in addresses:
            with self._translated(address):
                if moxing.file.exists(address):
                    moxing.file.remove(address)

    @contextmanager
    def _translated(self, address: str) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # moxing documents no common class
            reason = (str(error).strip().partition("\n")[0] or type(error).__name__).rstrip(".")
            raise StoreError(f"{self.key}={address}: moxing on {split(address)[0]}: {reason}.", exit_code=1) from error
