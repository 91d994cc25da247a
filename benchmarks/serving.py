"""A served model compared with a plain loop over the same model in one process: the table of docs/inference.md.

    python benchmarks/serving.py [--rounds 5] [--seconds 4] [--images 40] [--formats onnx mindir] [VARIANT ...]

Weights are random, the images JPEG photographs in size (500 x 375) and noise in content. The loop decodes and crops an image,
runs the network and formats the result, one image after the other; its onnxruntime session has the default options. The server
is `mlflow models serve`; 1, 8 and 32 clients, threads of this process, send it one image per request over persistent
connections. "In process, 6 threads" is the limit of what a server can reach: as many threads call the same model, with its
batching, but without HTTP, JSON and clients. In each round all take turns on the same cores, for some seconds each. Figures are
medians over the rounds (p99: of all requests), the ratio is that of images per second in the same round.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import http.client
import io
import itertools
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

CLIENTS = (1, 8, 32)
THREADS = 6  # in which MLflow's server computes on two cores
LOOP, LIMIT = "loop", f"in process, {THREADS} threads"
WARM = 3  # requests or images that are not counted


class Slice(NamedTuple):
    """Images per second, and the milliseconds of each image or request."""

    rate: float
    times: list[float]


def make_export(variant: str, kind: str, folder: Path) -> None:
    """An exported folder with random weights."""
    from export_differences import configuration

    from deit.config.tasks import ExportTask
    from deit.data.datasets import open_dataset
    from deit.exports import description
    from deit.exports.origin import Origin
    from deit.models.initialisation import initial_weights
    from deit.models.shapes import parameter_shapes
    from deit.tasks.export import describe, write_network

    config = configuration(variant, 8)
    assert isinstance(config.task, ExportTask)
    config = dataclasses.replace(config, task=dataclasses.replace(config.task, format=kind))
    weights = initial_weights(parameter_shapes(config.model, 1000), seed=0)
    path = folder / f"model.{kind}"
    write_network(config, weights, path)
    data = open_dataset(config.data, train=False)
    description.write(folder, describe(config, Origin(path, "raw", None, "checkpoint"), data, path, measured=False))


def pictures(count: int) -> list[bytes]:
    rng, made = np.random.default_rng(0), []
    for _ in range(count):
        small = Image.fromarray(rng.integers(0, 256, (47, 63, 3)).astype(np.uint8))
        file = io.BytesIO()
        small.resize((500, 375), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        made.append(file.getvalue())
    return made


def in_process(model: str, count: int, seconds: float) -> None:
    """A separate process: for each input line, a number of threads, the rate and the times of what they process in so long."""
    import mlflow.pyfunc

    served = mlflow.pyfunc.load_model(model, suppress_warnings=True)._model_impl
    from deit.data.decode import decode
    from deit.inference.likeliest import probabilities
    from deit.serving.model import SWITCH_INTERVAL

    sys.setswitchinterval(SWITCH_INTERVAL)
    contents, session = pictures(count), getattr(served._predictor, "_session", None)
    plain = session and type(session)(session._model_path, providers=["CPUExecutionProvider"])

    def one(number: int) -> None:
        pixels = served._transform(decode(contents[number % count], "image", 10**8, "white"))
        served._answers(probabilities(served._logits(pixels[None])), 5, False)

    for number in range(WARM):
        one(number)
    print("ready", flush=True)
    for line in sys.stdin:
        threads = int(line)
        if session:
            served._predictor._session = plain if threads == 1 else session
        print(json.dumps(together(threads, seconds, lambda _: one)), flush=True)


def together(threads: int, seconds: float, client: Callable[[int], Callable[[int], None]]) -> Slice:
    """What so many threads reach, each with a ``client`` of its own, which it calls with the number of the image."""
    times: list[float] = []
    stop = threading.Event()

    def work(first: int) -> None:
        one = client(first)
        for number in itertools.count(first):
            began = time.perf_counter()
            one(number)
            times.append(1000 * (time.perf_counter() - began))
            if stop.is_set():
                return

    started = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    began = time.perf_counter()
    for thread in started:
        thread.start()
    time.sleep(seconds)
    stop.set()
    rate = len(times) / (time.perf_counter() - began)
    for thread in started:  # wait for all, so that slow ones are included in the times
        thread.join()
    return Slice(rate, times)


@contextmanager
def without_server(model: Path, count: int, seconds: float) -> Iterator[Callable[[int], Slice]]:
    command = [sys.executable, __file__, "--in-process", str(model), "--images", str(count), "--seconds", str(seconds)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    while process.stdout.readline() != "ready\n":
        if process.poll() is not None:
            raise SystemExit("the process without a server did not start")

    def run(threads: int) -> Slice:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{threads}\n")
        process.stdin.flush()
        return Slice(*json.loads(process.stdout.readline()))

    try:
        yield run
    finally:
        process.stdin.close()
        process.wait()


@contextmanager
def server(model: Path, folder: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    binaries = Path(sys.executable).parent
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(
            [binaries / "mlflow", "models", "serve", "-m", str(model), "--env-manager", "local", "--port", str(port)],
            env=os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        while True:
            if process.poll() is not None:
                raise SystemExit((folder / "server.log").read_text())
            try:
                http.client.HTTPConnection("127.0.0.1", port, timeout=10).request("GET", "/ping")
                break
            except OSError:
                time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait()


def ask(port: int, bodies: list[bytes], clients: int, seconds: float) -> Slice:
    def client(_: int) -> Callable[[int], None]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

        def one(number: int) -> None:
            connection.request("POST", "/invocations", bodies[number % len(bodies)], {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise AssertionError(content)

        return one

    return together(clients, seconds, client)


def measure(variant: str, kind: str, count: int, rounds: int, seconds: float) -> None:
    from deit.exports import description
    from deit.serving.package import packaged

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "export").mkdir()
        make_export(variant, kind, folder / "export")
        with packaged(folder / "export", description.read(folder / "export", "export"), {}) as package:
            shutil.copytree(package, folder / "model")
        texts = [base64.b64encode(content).decode() for content in pictures(count)]
        bodies = [json.dumps({"dataframe_split": {"columns": ["image"], "data": [[text]]}}).encode() for text in texts]
        slices: dict[str, list[Slice]] = {}
        with without_server(folder / "model", count, seconds) as run, server(folder / "model", folder) as port:
            ask(port, bodies, 1, 1)
            for _ in range(rounds):
                slices.setdefault(LOOP, []).append(run(1))
                slices.setdefault(LIMIT, []).append(run(THREADS))
                for clients in CLIENTS:
                    name = f"served, {clients} client{'s' if clients > 1 else ''}"
                    slices.setdefault(name, []).append(ask(port, bodies, clients, seconds))
    for name, found in slices.items():
        rate = statistics.median(one.rate for one in found)
        p50 = statistics.median(statistics.median(one.times) for one in found)
        p99 = np.percentile([taken for one in found for taken in one.times], 99)
        ratio = statistics.median(one.rate / looped.rate for one, looped in zip(found, slices[LOOP], strict=True))
        print(f"| {variant} | {kind} | {name} | {rate:,.1f} | {p50:,.0f} | {p99:,.0f} | {ratio:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", default=["deit_tiny", "deit_small"])
    parser.add_argument("--formats", nargs="+", default=["onnx", "mindir"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--in-process", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.in_process:
        in_process(chosen.in_process, chosen.images, chosen.seconds)
        return
    import mindspore as ms

    ms.set_device("CPU")
    ms.set_context(mode=ms.GRAPH_MODE)
    print("| variant | file | | images/s | p50 ms | p99 ms | to the loop |\n|---|---|---|---:|---:|---:|---:|", flush=True)
    for variant, kind in itertools.product(chosen.variants, chosen.formats):
        measure(variant, kind, chosen.images, chosen.rounds, chosen.seconds)


if __name__ == "__main__":
    main()
