"""ModelArts' moxing behind the interface of a store, with a stand-in."""

from __future__ import annotations

import dataclasses
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from object_store import tree

from deit.config import addresses
from deit.config.schema import DataConfig
from deit.errors import UserError
from deit.storage import data_cache

NOTHING: dict[str, Any] = {field.name: None for field in dataclasses.fields(DataConfig)}


def test_moxing_has_the_interface_of_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for moxing.file over a folder: what is tested is our side of it, not ModelArts."""
    bucket = tmp_path / "obs"

    def at(address: str) -> Path:
        return bucket / address.removeprefix("obs://") if address.startswith("obs://") else Path(address)

    def listed(address: str, recursive: bool = False) -> list[str]:
        return [str(p.relative_to(at(address))) for p in sorted(at(address).glob("**/*" if recursive else "*"))]

    def about(address: str) -> Any:
        found = at(address).stat()
        return types.SimpleNamespace(length=found.st_size, mtime_nsec=found.st_mtime_ns, is_directory=at(address).is_dir())

    def copy(source: str, target: str) -> None:
        at(target).parent.mkdir(parents=True, exist_ok=True)
        at(target).write_bytes(at(source).read_bytes())

    file = types.SimpleNamespace(
        exists=lambda address: at(address).exists(),
        is_directory=lambda address: at(address).is_dir(),
        remove=lambda address: at(address).unlink(),
        list_directory=listed, stat=about, copy=copy,
    )  # fmt: skip
    module = types.ModuleType("moxing")
    module.file = file  # type: ignore[attr-defined]
    module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "moxing", module)
    monkeypatch.setenv("DEIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(data_cache, "_staged", set())
    for name in ("train/cat/1.png", "val/cat/2.png"):
        at(f"obs://bucket/set/{name}").parent.mkdir(parents=True)
        at(f"obs://bucket/set/{name}").write_bytes(name.encode())
    data_cache.stage(DataConfig(**NOTHING | {"root": "obs://bucket/set"}))
    assert tree(addresses.data_copy("obs://bucket/set", None)) == tree(bucket / "bucket/set") != {}

    from deit.storage.open import open_store

    store = open_store("obs://bucket/runs", "runs_dir")
    store.put(bucket / "bucket/set/val/cat/2.png", "obs://bucket/runs/a/b/c")
    assert store.folders("obs://bucket/runs") == ["a"] and at("obs://bucket/runs/a/b/c").exists()
    store.delete(["obs://bucket/runs/a/b/c"] * 2)
    assert not at("obs://bucket/runs/a/b/c").exists() and store.folders("obs://bucket/nothing") == []
    with pytest.raises(UserError, match=r"data.root=obs://bucket/none: no objects found"):
        open_store("obs://bucket/none", "data.root").objects("obs://bucket/none")
