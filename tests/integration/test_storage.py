"""Data and runs in object stores, with a real S3 server on this machine (moto) and real processes."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import LAUNCH, Outcome, with_last
from empty_store import add_empty_store
from launching import SMALL, launch, own_cache, same_weights
from object_store import SECRET, Server, server, store, tree
from waiting import until

from deit.config import addresses
from deit.config.schema import DataConfig
from deit.errors import UserError
from deit.machine import locks
from deit.runs import checkpoint, status
from deit.runs.directory import RunDirectory
from deit.storage import data_cache, download, s3_store
from deit.storage.store import Object

__all__ = ["server", "store"]  # fixtures

NOTHING: dict[str, Any] = {field.name: None for field in dataclasses.fields(DataConfig)}
FILES = 200  # objects of a copy that is to be met half done


STAGE = """
import dataclasses, sys
from deit.config.schema import DataConfig
from deit.errors import UserError
from deit.storage.data_cache import stage
nothing = {field.name: None for field in dataclasses.fields(DataConfig)}
try:
    stage(DataConfig(**nothing | {"root": sys.argv[1]}))
except UserError as error:
    sys.exit(str(error))
"""


def staging_process(root: str, then: str = "") -> subprocess.Popen[str]:
    """A launch as far as the copy of its data; ``then`` is what its program does next."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([sys.executable, "-c", STAGE + then, root], text=True, cwd=LAUNCH.parent, **pipes)  # type: ignore[call-overload]


def staged(root: str, code: int = 0) -> str:
    """The output of such a launch."""
    process = staging_process(root)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == code, said
    return said


def numbers(count: int) -> dict[str, bytes]:
    return {f"set/{i % 7}/{i:04}.bin": bytes([i % 256]) * (200 + i) for i in range(count)}


def test_killed_copy_resumes_with_the_missing_files(store: Server) -> None:
    store.fill("killed", numbers(FILES))
    local = addresses.data_copy("s3://killed/set", None)
    manifest = local.parent / "files.jsonl"
    with store.only(FILES // 2):
        process = staging_process("s3://killed/set")
        until(lambda: manifest.exists() and manifest.read_bytes().count(b"\n") > 40)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    there = manifest.read_bytes().count(b"\n")
    assert 40 < there < FILES and not (local.parent / addresses.COMPLETE).exists()

    said = staged("s3://killed/set")
    kept = int(said.partition(" were there")[0].rpartition(" ")[2])
    assert there - 1 <= kept < FILES, said
    assert tree(local) == {key.removeprefix("set/"): value for key, value in numbers(FILES).items()}
    assert not (local.parent / "parts").exists()


def test_two_launches_at_once_copy_once(store: Server) -> None:
    store.fill("shared", numbers(FILES))
    slot = addresses.data_copy("s3://shared/set", None).parent
    slot.mkdir(parents=True)
    with locks.alone(slot / ".copying", lambda who: None):  # so that both find another process that copies
        both = [staging_process("s3://shared/set") for _ in range(2)]
        for process in both:
            assert f"is being copied by process {os.getpid()} on " in process.stdout.readline()  # type: ignore[union-attr]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    first, second = sorted(said, key=lambda text: "unchanged" in text)
    assert f"copied s3://shared/set ({FILES} files" in first and "unchanged" in second and "copied" not in second


def test_changed_objects_are_copied_again_but_not_while_they_are_read(store: Server) -> None:
    store.fill("changing", numbers(20) | {"set/": b""})
    reader = staging_process("s3://changing/set", then="print('reading', flush=True); sys.stdin.read()")
    until(lambda: "reading" in reader.stdout.readline())
    local = addresses.data_copy("s3://changing/set/", None)
    store.client.put_object(Bucket="changing", Key="set/0/0000.bin", Body=b"\1" * 200)  # as long as before
    store.client.put_object(Bucket="changing", Key="set/new/one.bin", Body=b"new")
    store.client.delete_object(Bucket="changing", Key="set/3/0003.bin")
    (local / "1/0001.bin").write_bytes(b"damaged")
    before = tree(local)
    said = staged("s3://changing/set", code=1)
    assert "4 objects have changed in the store, but another launch reads the copy" in said and tree(local) == before

    reader.communicate()
    said = staged("s3://changing/set")
    assert "(20 files" in said and "17 were there, 1 deleted" in said
    expected = store.content("changing", "set/")
    assert tree(local) == {key: value for key, value in expected.items() if key}


def test_large_and_single_objects_and_an_unreachable_store(store: Server, tmp_path: Path) -> None:
    large = np.random.default_rng(0).bytes(s3_store.PIECE + 5_000_000)
    store.client.create_bucket(Bucket="large")
    (tmp_path / "large.bin").write_bytes(large)
    store.client.upload_file(str(tmp_path / "large.bin"), "large", "archives/shard.tar")  # in parts: its ETag is no MD5
    local = addresses.data_copy("s3://large/archives/shard.tar", None)
    (local.parent / "parts").mkdir(parents=True)
    found = s3_store.S3Store("s3://large", "data.root").objects("s3://large/archives/shard.tar")
    assert found == [Object("shard.tar", "s3://large/archives/shard.tar", len(large), found[0].tag, None)]
    part = download.part_name(found[0])
    (local.parent / "parts" / part).write_bytes(large[:1_000_000])  # of a copy that was killed
    assert "copied" in staged("s3://large/archives/shard.tar") and local.read_bytes() == large
    store.stop()
    try:
        said = staged("s3://large/archives/shard.tar")
        assert "does not respond" in said and "is used as it is" in said
        assert "data.root=s3://large/other: the store at" in staged("s3://large/other", code=1)
    finally:
        store.start()


class Refusing(BaseHTTPRequestHandler):
    """A store that lets nobody in."""

    def do_GET(self) -> None:
        self.send_response(403)
        self.end_headers()
        self.wfile.write(b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")

    def log_message(self, *_: Any) -> None:
        pass


def test_store_errors_are_one_message(store: Server, command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(root: str, cache_dir: str | None = None) -> str:
        with pytest.raises(UserError) as caught:
            data_cache.stage(DataConfig(**NOTHING | {"root": root, "cache_dir": cache_dir}))
        return str(caught.value)

    def typed(*arguments: str) -> str:
        outcome = command("task=check_data", "data=imagefolder", *arguments)
        assert outcome.code == 2 and not outcome.out and outcome.err.count("\n") == 1
        return outcome.err

    store.fill("there", {"a": b"1", "a/b": b"2"})
    assert "data.root=s3://no-bucket/x: there is no bucket no-bucket at http" in refused("s3://no-bucket/x")
    assert "data.root=s3://there/none: no objects found" in refused("s3://there/none")
    assert "an object with the name of its folder" in refused("s3://there")
    for wrong in ("s3://user:hidden-word@there/a", "s3://there/a?X-Amz-Signature=hidden-word", "s3://", "s3://there/../x"):
        said = typed(f"data.root='{wrong}'")
        assert said.startswith("data.root ") and "hidden-word" not in said
    assert "data.cache_dir has no effect" in typed("data.root=/images", "data.cache_dir=/tmp")
    assert "data.root=s3://no-bucket/x: there is no bucket" in typed("data.root=s3://no-bucket/x")
    assert "OBS_ENDPOINT" not in refused("obs://no-bucket/x")  # the endpoint of AWS_ENDPOINT_URL will do
    monkeypatch.setattr(data_cache, "free_below", lambda folder: 10)
    store.fill("wide", {"x/a": bytes(1000)})
    assert "data.cache_dir: 10 bytes are free in" in refused("s3://wide/x")
    assert refused("s3://wide/x", "/proc/here").startswith(
        "data.cache_dir: the copy of s3://wide/x cannot be written to /proc/here"
    )

    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    assert "denies access (Access Denied). Check the keys and their permissions." in refused("s3://there/x")
    server.shutdown()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "data.root=s3://there/x: the store at http://127.0.0.1:9 does not respond" in refused("s3://there/x")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert "set OBS_ENDPOINT" in refused("obs://there/x")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    assert "no keys for the store" in refused("s3://there/x")
    monkeypatch.setattr("deit.storage.open.importlib.util.find_spec", lambda name: None)
    assert "data.root=s3://there/x needs s3fs, which is not installed: pip install --constraint" in refused("s3://there/x")


# As many classes as there are digits, and their mean and deviation: it compiles what SMALL does.
TINY = with_last(
    *(*SMALL, "data=imagefolder", "data.num_classes=null", "data.train_limit=null", "data.val_limit=null"),
    *("data.mean=[0.305,0.305,0.305]", "data.std=[0.376,0.376,0.376]"),
)


def pictures() -> dict[str, bytes]:
    """Ten classes of 40 x 40 PNGs: 80 for training, 20 for validation."""
    import cv2

    random = np.random.default_rng(0)
    found = {}
    for split, count in (("train", 8), ("val", 2)):
        for label, name in enumerate("abcdefghij"):
            for number in range(count):
                image = random.integers(0, 128, (40, 40, 3), dtype=np.uint8) + np.uint8(12 * label)
                found[f"animals/{split}/{name}/{number:03}.png"] = cv2.imencode(".png", image)[1].tobytes()
    return found


def test_training_from_a_store_into_a_store(store: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the folder and from the store, in one go and on two machines of which one loses the store: the same weights."""
    images = pictures()
    for name, content in images.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    store.fill("pictures", images)
    store.client.create_bucket(Bucket="results")
    add_empty_store(tmp_path)

    # One after the other: the second reads the steps that the first has compiled.
    here = launch(tmp_path, *TINY, f"data.root={tmp_path}/animals", "tracking=none")
    assert here.returncode == 0, here.stderr
    first = launch(tmp_path, *TINY, "data.root=s3://pictures/animals", "runs_dir=s3://results/runs", "schedule.max_steps=4")
    (path,) = (tmp_path / "runs/quickstart").iterdir()
    whole = checkpoint.complete(RunDirectory(path))[-1]

    assert first.returncode == 0, first.stderr
    assert "copied s3://pictures/animals (100 files" in first.stdout
    assert "copied to s3://results/runs/quickstart/" in first.stdout
    address = first.stdout.rpartition("copied to ")[2].strip()
    run = RunDirectory(addresses.runs_copy(address))
    config = run.config.read_text()
    assert "root: s3://pictures/animals\n" in config and "runs_dir: s3://results/runs\n" in config

    def there() -> dict[str, bytes]:
        return store.content("results", address.removeprefix("s3://results/") + "/")

    def here_but_hidden() -> dict[str, bytes]:
        not_copied = (".", "logs/kernel_meta", "logs/rank_", "logs/uploader.log")
        return {n: c for n, c in tree(run.path).items() if not n.startswith(not_copied) and not n.endswith(".lock")}

    assert there() == here_but_hidden()
    assert not any(SECRET.encode() in content for content in (*tree(run.path).values(), *tree(tmp_path / "cache").values()))
    assert SECRET.encode() not in (tmp_path / "mlflow.db").read_bytes()

    # Another machine has neither the data nor the run.
    monkeypatch.setenv("DEIT_CACHE", str(own_cache(tmp_path, "second")))
    run = RunDirectory(addresses.runs_copy(address))
    arguments = (
        "resume=last",
        "runs_dir=s3://results/runs",
        "schedule.max_steps=null",
        "checkpointing.upload_timeout=1",
        "tracking=none",
    )
    second = subprocess.Popen(
        [sys.executable, str(LAUNCH), *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until(lambda: checkpoint.complete(run) and status.read(run).progress.get("step", 0) >= 4 and run.status.stat().st_mtime)
    until((run.logs / "uploader.log").exists)
    store.stop()
    try:
        said, _ = second.communicate(timeout=300)
        assert second.returncode == 0, said
        assert "fetched s3://results/runs/quickstart/" in said and "copied s3://pictures/animals (100 files" in said
        assert "not everything was copied within checkpointing.upload_timeout=1 s" in said and "task=sync run=" in said
        same_weights(whole, checkpoint.complete(run)[-1])
    finally:
        store.start()
    synced = launch(tmp_path, "task=sync", f"run={run.path}")
    assert synced.returncode == 0 and "all is there" in synced.stdout, synced.stdout + synced.stderr
    assert there() == here_but_hidden()

    # The first machine again: the run of the store is further on than its own.
    monkeypatch.setenv("DEIT_CACHE", str(tmp_path / "cache"))
    typed = ("task=evaluate", f"run={address}", "task.which=last", f"runs_dir={tmp_path}/runs", "tracking=none")
    with locks.alone(Path(addresses.runs_copy(address)) / ".fetching", lambda who: None):
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        evaluating = subprocess.Popen([sys.executable, str(LAUNCH), *typed], cwd=tmp_path, text=True, **pipes)  # type: ignore[call-overload]
        until(lambda: f"{address} is being fetched by process {os.getpid()} on " in evaluating.stderr.readline())
    _, said = evaluating.communicate(timeout=300)
    assert evaluating.returncode == 0 and f"fetched {address} to " in said, said
    same_weights(whole, checkpoint.complete(RunDirectory(addresses.runs_copy(address)))[-1])


def test_several_machines_need_a_shared_folder(command: Callable[..., Outcome]) -> None:
    outcome = command("experiment=quickstart", "runs_dir=s3://results/runs", "hardware.nodes=2", "dry_run=true")
    assert outcome.code == 2 and "runs_dir is in a store, but hardware.nodes is 2" in outcome.err
