"""A real S3 server on this machine (moto), and a store in memory that records the order of operations."""

from __future__ import annotations

import logging
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from launching import own_cache
from moto.server import ThreadedMotoServer
from ports import reserved_port

from deit.storage import data_cache
from deit.storage.store import Object, Store, Unreachable

SECRET = "a-secret-of-forty-letters-that-no-file-has"


class Server:
    """moto's S3 server, which keeps its objects over a restart."""

    def __init__(self) -> None:
        self._left: threading.Semaphore | None = None  # objects that may still be handed out
        self.port = reserved_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()
        self.client = boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id="key", aws_secret_access_key=SECRET, region_name="us-east-1"
        )

    def start(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # no line for each request
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()
        wsgi = self._server._server
        assert wsgi is not None
        answer = wsgi.app

        def answer_in_turn(environ: dict[str, Any], start_response: Any) -> Any:
            left = self._left
            if left is not None and environ["REQUEST_METHOD"] == "GET" and "list-type" not in environ["QUERY_STRING"]:
                left.acquire()
            return answer(environ, start_response)

        wsgi.app = answer_in_turn

    def stop(self) -> None:
        self._server.stop()

    def forget(self) -> None:
        """Lose all buckets, which moto keeps for the process, whatever server there is."""
        urllib.request.urlopen(f"{self.url}/moto-api/reset", data=b"").close()

    @contextmanager
    def only(self, objects: int) -> Iterator[None]:
        """Hand out so many objects, and the others after the block: a copy stays half done, however fast it is."""
        self._left = left = threading.Semaphore(objects)
        try:
            yield
        finally:
            self._left = None
            left.release(10_000)

    def fill(self, bucket: str, objects: dict[str, bytes]) -> None:
        self.client.create_bucket(Bucket=bucket)
        for key, content in objects.items():
            self.client.put_object(Bucket=bucket, Key=key, Body=content)

    def content(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                body = self.client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
                found[entry["Key"].removeprefix(prefix)] = body
        return found


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.forget()
    server.stop()


@pytest.fixture
def store(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, in the environment of this test and the processes that it starts; the cache is the test's own."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "OBS_ENDPOINT", "S3_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    values = {"AWS_ENDPOINT_URL": server.url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": SECRET}
    values |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "DEIT_CACHE": str(own_cache(tmp_path))}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(data_cache, "_staged", set())
    return server


def tree(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


class Recorder(Store):
    """A store in memory that notes the order, and goes away after so many files."""

    def __init__(self) -> None:
        super().__init__("runs_dir")
        self.there: dict[str, bytes] = {}
        self.order: list[str] = []
        self.patience = 10**6

    def put(self, file: Path, address: str) -> None:
        self.patience -= 1
        if self.patience < 0:
            raise Unreachable("away")
        self.there[address] = file.read_bytes()
        self.order.append(address)

    def delete(self, addresses: Sequence[str]) -> None:
        for address in addresses:
            self.order.append(f"-{address}")
            del self.there[address]

    def objects(self, address: str) -> list[Object]:
        raise NotImplementedError

    def folders(self, address: str) -> list[str]:
        raise NotImplementedError

    def fetch(self, found: Object, part: Path, told: Any, stopped: Any) -> None:
        raise NotImplementedError
