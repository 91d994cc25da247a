"""A real MLflow server, a proxy that breaks the way to it, and the comparison of a run's journal with what has arrived.

For ``test_tracking_faults.py`` and ``benchmarks/tracking_faults.py``. All of it stays on the loopback interface.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from empty_store import add_empty_store
from ports import reserved_port

from deit.runs import journal
from deit.runs.directory import RunDirectory

PATIENCE = 600.0  # seconds for a start, which costs some ten seconds of computing, on a machine that has other things to do
POINT = tuple[str, int, int, str]  # name, step, time, value as text, so that nan equals nan


class Server:
    """``mlflow server`` on a SQLite file of ``folder``; started, killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, reserved_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        if not (self.folder / "server.db").exists():
            add_empty_store(self.folder, "server.db")
        command = ["server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        stores = [
            "--backend-store-uri",
            f"sqlite:///{self.folder}/server.db",
            "--artifacts-destination",
            f"{self.folder}/files",
        ]
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", *command, *stores],
                cwd=self.folder,
                env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: os.nice(5),  # on a small machine its start must not be what slows a training
            )
        end = time.monotonic() + PATIENCE
        while not self._healthy():
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError(f"no MLflow server: {(self.folder / 'server.log').read_text()}")
            time.sleep(0.1)
        return self

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL to it and all its workers."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Proxy:
    """Forwards requests to a server, or treats them as ``fault`` says, from one request to the next.

    ``None`` hands on; ``"slow"`` does so after ``delay`` seconds; ``"held"`` does so once the fault is another; ``"404"`` and
    ``"500"`` answer so; ``"hole"`` never answers; ``"down"`` hangs up.
    """

    def __init__(self, target: int) -> None:
        self.fault: str | None = None
        self.delay = 5.0
        self.only = ""  # the requests that the fault is for: those with this in their path
        self.requests = 0  # seen so far
        self.held: list[str] = []  # the paths of those that were held and are not answered yet
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:  # the client has given up, or the server is away
                    self.close_connection = True

            def forward(self) -> None:
                body = self.body()
                proxy.requests += 1
                fault = proxy.fault if proxy.only in self.path else None
                if fault == "hole":
                    while proxy.fault == "hole" and proxy.only in self.path:
                        time.sleep(0.1)
                    raise ConnectionError
                if fault == "down":
                    raise ConnectionError
                if fault == "slow":
                    time.sleep(proxy.delay)
                if fault == "held":
                    proxy.held.append(self.path)
                    while proxy.fault == "held":
                        time.sleep(0.1)
                if fault == "404":  # what a server answers to a path that it does not know
                    return self.answer(404, [("Content-Type", "text/html")], b"<h1>Not Found</h1>")
                if fault == "500":
                    return self.answer(500, [("Content-Type", "text/html")], b"<h1>Internal Server Error</h1>")
                onward = http.client.HTTPConnection("127.0.0.1", target, timeout=60)
                try:
                    kept = {k: v for k, v in self.headers.items() if k.lower() not in ("content-length", "transfer-encoding")}
                    onward.request(self.command, self.path, body, kept)
                    answer = onward.getresponse()
                    self.answer(answer.status, answer.getheaders(), answer.read())
                except http.client.HTTPException as error:
                    raise ConnectionError from error
                finally:
                    onward.close()
                    if fault == "held":
                        proxy.held.remove(self.path)

            def body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def answer(self, code: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response_only(code)
                for name, value in headers:
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

            def log_message(self, *arguments: Any) -> None:
                pass

        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._listener.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._listener.server_port}"
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.fault = "down"
        self._listener.shutdown()
        self._listener.server_close()


def client(uri: str) -> Any:
    from deit.tracking.remote import connect

    return connect(uri)


def remote_runs(uri: str, run: RunDirectory) -> list[Any]:
    """Every MLflow run of a run directory that the store has."""
    ask = client(uri)
    ids = [experiment.experiment_id for experiment in ask.search_experiments()]
    return list(ask.search_runs(ids, filter_string=f"tags.`run.id` = '{run.id}'"))


def written(run: RunDirectory) -> Counter[POINT]:
    """The points of a run's journals."""
    return Counter(
        (name, record["step"], record["time"], str(value))
        for path in (run.journal, run.system_journal)
        for _, record in journal.read(path)
        for name, value in record.get("metrics", {}).items()
    )


def arrived(uri: str, run: RunDirectory) -> Counter[POINT]:
    """The points that all MLflow runs of a run directory have together."""
    ask = client(uri)
    return Counter(
        (name, point.step, point.timestamp, str(point.value))
        for there in remote_runs(uri, run)
        for name in there.data.metrics
        for point in ask.get_metric_history(there.info.run_id, name)
    )


def lost_and_doubled(uri: str, run: RunDirectory) -> tuple[int, int]:
    """How many points of the journals are not in the store, and how many are there too often or from nowhere."""
    here, there = written(run), arrived(uri, run)
    return sum((here - there).values()), sum((there - here).values())
