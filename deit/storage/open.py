"""The object store of an address: moxing on ModelArts, else s3fs."""

from __future__ import annotations

import importlib.util

from deit.config.addresses import problem
from deit.errors import UserError
from deit.installation import install_command
from deit.storage.store import Store

EXTRA = install_command("storage")


def open_store(address: str, key: str) -> Store:
    """The store of an address, the value of ``key``. Raises UserError if the address is invalid or a package is missing."""
    wrong = problem(address)
    if wrong:
        raise UserError(f"{key} {wrong}.")
    if address.startswith("obs://") and importlib.util.find_spec("moxing") is not None:
        from deit.storage.moxing_store import MoxingStore

        return MoxingStore(key)
    if importlib.util.find_spec("s3fs") is None:
        raise UserError(f"{key}={address} needs s3fs, which is not installed: {EXTRA}")
    from deit.storage.s3_store import S3Store

    return S3Store(address, key)
