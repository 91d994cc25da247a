"""Official weights from a server on this machine: complete, verified, resumed, or a message that says what to do."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import http.server
import ipaddress
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import Outcome
from torch_files import archive, state, tensor

from deit.errors import UserError
from deit.storage import https_download
from deit.weights.official import OFFICIAL
from deit.weights.read import read_weights

CONTENT = bytes(range(256)) * 4096  # 1 MiB
TINY, THIRD = "deit_tiny_patch16_224", "deit3_small_patch16_224"


class Server(http.server.ThreadingHTTPServer):
    """Serves ``content`` under any name. ``asked`` are the ranges of the requests, ``cut`` ends the next answers early."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.tag, self.asked = CONTENT, '"one"', list[str]()
        self.cut: list[int] = []
        self.redirect: str | None = None
        self.missing = False

    @property
    def url(self) -> str:
        scheme = "https" if isinstance(self.socket, ssl.SSLSocket) else "http"
        return f"{scheme}://127.0.0.1:{self.server_address[1]}/deit"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.asked.append(self.headers.get("Range", ""))
        if server.redirect is not None or server.missing:
            self.send_response(404 if server.missing else 302)
            self.send_header("Location", server.redirect or "")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        if "Range" in self.headers and self.headers["If-Range"] == server.tag:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        rest = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(rest)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.end_headers()
        self.wfile.write(rest[: server.cut.pop(0)] if server.cut else rest)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(https_download, "PAUSE", 0.0)
    serving = Server()
    thread = threading.Thread(target=serving.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield serving
    serving.shutdown()
    serving.server_close()
    thread.join()


@pytest.fixture
def fetch(server: Server, command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """The task, for an official file whose published digits are those of CONTENT."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setitem(OFFICIAL, TINY, dataclasses.replace(OFFICIAL[TINY], sha256=digest[:8]))

    def call(name: str = TINY, *more: str) -> Outcome:
        return command("task=fetch_weights", f"task.official={name}", f"task.url={server.url}", *more)

    return call


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "weights").iterdir() if path.name != ".fetching")


def test_file_is_downloaded_once_and_verified(fetch: Callable, server: Server, tmp_path: Path) -> None:
    first = fetch()
    file = tmp_path / "weights" / OFFICIAL[TINY].file_name
    assert first.code == 0 and "which starts as published" in first.out, first.err
    assert f"use it: model=deit_tiny model.pretrained={TINY}" in first.out
    assert file.read_bytes() == CONTENT and files(tmp_path) == ["SHA256SUMS", file.name]
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=file.parent, check=True)
    assert fetch().code == 0 and server.asked == [""]
    file.write_bytes(CONTENT[:-1])
    damaged = fetch()
    assert damaged.code == 1 and "damaged, or another file. Remove it to fetch it again." in damaged.err
    assert len(server.asked) == 1


def test_broken_connection_is_resumed(fetch: Callable, server: Server, tmp_path: Path) -> None:
    server.cut = [1000, 300_000]
    assert fetch().code == 0
    assert server.asked == ["", "bytes=1000-", "bytes=301000-"]
    assert files(tmp_path) == ["SHA256SUMS", OFFICIAL[TINY].file_name]


def test_earlier_partial_download_is_continued(fetch: Callable, server: Server, tmp_path: Path) -> None:
    server.cut = [5000] + [0] * 10
    broken = fetch()
    assert broken.code == 1 and "5.0 kB are kept in" in broken.err and "the same command resumes" in broken.err
    server.cut, server.asked = [], []
    assert fetch().code == 0 and server.asked == ["bytes=5000-"]


def test_changed_file_on_the_server_restarts_the_download(fetch: Callable, server: Server, tmp_path: Path) -> None:
    server.content, server.cut = bytes(1 << 20), [5000] + [0] * 10
    fetch()
    server.content, server.tag, server.cut = CONTENT, '"two"', []
    assert fetch().code == 0
    assert (tmp_path / "weights" / OFFICIAL[TINY].file_name).read_bytes() == CONTENT


def test_file_with_wrong_checksum_is_not_kept(fetch: Callable, server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[::-1]
    outcome = fetch()
    assert outcome.code == 1 and "that of the official file with" in outcome.err and outcome.err.endswith("It was removed.\n")
    assert not (tmp_path / "weights").exists()


def test_first_download_sets_the_checksum_if_none_is_published(fetch: Callable, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "weights" / OFFICIAL[THIRD].file_name
    server.content = archive(tmp_path / "file.pth", state(tensor()), _0=bytes(24)).read_bytes()
    first = fetch(THIRD)
    assert first.code == 0 and "recorded in SHA256SUMS; the authors publish none" in first.out
    read_weights(file)
    changed = bytearray(file.read_bytes())
    changed[len(changed) // 2] ^= 1
    file.write_bytes(changed)
    with pytest.raises(UserError, match="that of the file that SHA256SUMS recorded with"):
        read_weights(file)
    file.unlink()
    server.content = CONTENT
    again = fetch(THIRD)
    assert again.code == 1 and "from the first download; remove that line to accept it" in again.err
    assert files(tmp_path) == ["SHA256SUMS"]


def test_message_without_network_gives_address_and_folder(fetch: Callable, server: Server, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        outcome = fetch(TINY, f"task.url=http://127.0.0.1:{unused.getsockname()[1]}/x")
    entry = OFFICIAL[TINY]
    assert outcome.code == 1 and "cannot be reached: Connection refused" in outcome.err
    assert f"copy it to {tmp_path}/weights/{entry.file_name}. Its SHA-256 starts with {entry.sha256}." in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_server_without_the_file(fetch: Callable, server: Server, tmp_path: Path) -> None:
    server.missing = True
    outcome = fetch()
    assert outcome.code == 1 and "it answers 404 Not Found" in outcome.err and len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_unencrypted_addresses_are_rejected(fetch: Callable, server: Server, tmp_path: Path) -> None:
    outcome = fetch(TINY, "task.url=http://mirror.example/deit")
    assert outcome.code == 2 and "allowed: an https:// address" in outcome.err
    server.redirect = "http://mirror.example/file"
    outcome = fetch()
    assert outcome.code == 2 and "the redirect of" in outcome.err and server.asked == [""]
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_the_partial_file(
    fetch: Callable, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: object, done: int, total: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("deit.progress_bar.Bar.set", interrupted)
        outcome = fetch()
    assert outcome.code == 130 and "the same command resumes" in outcome.out
    assert f"{OFFICIAL[TINY].file_name}.part" in files(tmp_path)
    assert fetch().code == 0


@pytest.mark.parametrize("trusted", [True, False])
def test_certificates_are_checked(
    trusted: bool, fetch: Callable, server: Server, tmp_path: Path, tmp_path_factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path_factory.mktemp("certificate"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    outcome = fetch()
    assert server.url.startswith("https://")
    if trusted:
        assert outcome.code == 0, outcome.err
        assert files(tmp_path) == ["SHA256SUMS", OFFICIAL[TINY].file_name]
    else:
        assert outcome.code == 1 and "its certificate is not trusted" in outcome.err and "SSL_CERT_FILE" in outcome.err
        assert list(tmp_path.iterdir()) == []


def self_signed(folder: Path) -> Path:
    """A key and its certificate for 127.0.0.1, in one PEM file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "server.pem"
    file.write_bytes(private + built.public_bytes(pem))
    return file


def test_model_without_official_weights_is_reported(command: Callable, tmp_path: Path) -> None:
    outcome = command("task=fetch_weights", "model=deit_micro")
    assert outcome.code == 2 and "model.name is deit_micro, which has no official weights." in outcome.err
    outcome = command("task=fetch_weights", "task.official=deit_tiny_patch16_22")
    assert outcome.code == 2 and f"Did you mean '{TINY}'?" in outcome.err
    outcome = command("task=fetch_weights", "model=deit3_small", "dry_run=true")
    assert outcome.code == 0 and "would fetch https://dl.fbaipublicfiles.com/deit/deit_3_small_224_1k.pth" in outcome.out
    assert list(tmp_path.iterdir()) == []
