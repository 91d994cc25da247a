"""Fetching a run from a store: only complete checkpoints, and never older than the local copy."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from trained_runs import trained

from deit.config.addresses import runs_copy
from deit.errors import UserError
from deit.runs import checkpoint, status
from deit.runs.directory import RunDirectory
from deit.storage import fetch_run, mirror_base
from deit.storage.store import NothingThere, Object, Store


class InMemory(Store):
    """A store whose objects are in a dictionary, by address; notes what was fetched."""

    def __init__(self) -> None:
        super().__init__("run")
        self.content: dict[str, bytes] = {}
        self.fetched: list[str] = []

    def objects(self, address: str) -> list[Object]:
        there = {name: data for name, data in sorted(self.content.items()) if name == address or name.startswith(f"{address}/")}
        found = [
            Object(name[len(address) + 1 :] or name.rpartition("/")[2], name, len(data), "t", hashlib.md5(data).hexdigest())
            for name, data in there.items()
        ]
        if not found:
            raise NothingThere(f"{address}: no objects")
        return found

    def folders(self, address: str) -> list[str]:
        rest = [name.removeprefix(f"{address}/") for name in self.content if name.startswith(f"{address}/")]
        return sorted({name.partition("/")[0] for name in rest if "/" in name})

    def fetch(self, found: Object, part: Path, told: Callable[[int], None], stopped: Callable[[], bool]) -> None:
        self.fetched.append(found.name)
        part.write_bytes(self.content[found.address])

    def put(self, file: Path, address: str) -> None:
        self.content[address] = file.read_bytes()

    def delete(self, addresses: Sequence[str]) -> None:
        for address in addresses:
            self.content.pop(address, None)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InMemory:
    monkeypatch.setenv("DEIT_CACHE", str(tmp_path / "cache"))
    made = InMemory()
    for module in (fetch_run, mirror_base):
        monkeypatch.setattr(module, "open_store", lambda address, key: made)
    return made


@pytest.fixture
def run(tmp_path: Path, store: InMemory) -> tuple[RunDirectory, str]:
    """A training, and its address."""
    made = trained(tmp_path / "made")
    address = f"s3://bucket/runs/quickstart/{made.path.name}"
    for file in made.path.rglob("*"):
        if file.is_file():
            store.put(file, f"{address}/{file.relative_to(made.path)}")
    return made, address


def test_run_is_fetched_completely_and_once(run: tuple[RunDirectory, str], store: InMemory) -> None:
    made, address = run
    here = fetch_run.fetch_run(address, "run", quiet=True)
    assert here.path == Path(runs_copy(address)) and status.read(here).outcome == status.read(made).outcome
    (folder,) = checkpoint.complete(here)
    assert checkpoint.weights_of_run(here, "best").keys() == {"val", "val_ema"} and not (here.path / ".fetch").exists()
    assert checkpoint.newest_whole(here) == (folder, [])
    store.fetched.clear()
    fetch_run.fetch_run(address, "run", quiet=True)
    assert store.fetched == ["status.json"]  # asked whether the store is ahead, which it is not


def test_checkpoint_without_state_is_not_fetched(run: tuple[RunDirectory, str], store: InMemory) -> None:
    address = run[1]
    store.content[f"{address}/checkpoints/step_00000009/model.safetensors"] = b"half"
    here = fetch_run.fetch_run(address, "run", quiet=True)
    assert [path.name for path in checkpoint.complete(here)] == ["step_00000003"]
    assert not (here.checkpoints / "step_00000009").exists()


def test_checkpoints_unknown_to_the_store_are_renamed(run: tuple[RunDirectory, str], store: InMemory) -> None:
    made, address = run
    here = fetch_run.fetch_run(address, "run", quiet=True)
    shutil.copytree(here.checkpoints / "step_00000003", here.checkpoints / "step_00000007")
    later = status.read(made)
    status.write(made, later, updated=later.updated + 100)  # it has continued elsewhere
    store.put(made.status, f"{address}/status.json")
    fetch_run.fetch_run(address, "run", quiet=True)
    assert [path.name for path in checkpoint.complete(here)] == ["step_00000003"]
    assert (here.checkpoints / f"{mirror_base.ASIDE}step_00000007").is_dir()


def test_light_fetch_omits_checkpoints_and_is_completed_later(run: tuple[RunDirectory, str]) -> None:
    address = run[1]
    here = fetch_run.fetch_run(address, "run", light=True, quiet=True)
    assert here.partial.exists() and not checkpoint.complete(here)
    here = fetch_run.fetch_run(address, "run", quiet=True)
    assert not here.partial.exists() and checkpoint.complete(here)


def test_the_newest_training_of_a_folder(run: tuple[RunDirectory, str], store: InMemory) -> None:
    address = run[1]
    assert fetch_run.newest_run("s3://bucket/runs/", "run") == address
    with pytest.raises(UserError, match=r"run=last: no training run found in s3://bucket/other"):
        fetch_run.newest_run("s3://bucket/other", "run")


def test_address_that_is_not_a_run_is_reported(store: InMemory) -> None:
    store.content["s3://bucket/runs/x/y/notes.txt"] = b""
    with pytest.raises(UserError, match=r"run=s3://bucket/runs/x/y: not a run directory, config\.yaml is missing"):
        fetch_run.fetch_run("s3://bucket/runs/x/y", "run")
