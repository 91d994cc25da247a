"""`task=register`, and the registered model served by MLflow in a real process and queried over HTTP."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from command import Outcome
from empty_store import add_empty_store
from launching import BRIEF, launch, only_run
from PIL import Image
from pixels import pixels_of
from ports import reserved_port

from deit.exports import description
from deit.exports.predictor import open_export
from deit.inference.likeliest import probabilities
from deit.runs.directory import RunDirectory

NAME = "task.registered_model_name=digits"
TYPED = ("run=last", NAME, "task.alias=champion", "task.weights=ema")
PATIENCE = 600.0  # seconds for what a server does beside everything else that the machine may be doing
PATIENT = {"MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": str(int(PATIENCE))}  # else 60: 200 requests at once wait for each other
BINARIES = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@dataclass
class Place:
    """A folder with one training in the store mlflow.db, whose ONNX file is version 1 of `digits`."""

    folder: Path
    run: RunDirectory
    registered: subprocess.CompletedProcess[str]

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def onnx(self) -> Path:
        return self.run.exports / "onnx_ema"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("serving")
    add_empty_store(folder)
    trained = launch(folder, *BRIEF, "schedule.epochs=2", "schedule.eval_every=2", "checkpointing.every=2")
    assert trained.returncode == 0, trained.stderr
    run = only_run(folder)
    registered = launch(folder, "task=register", *TYPED, "task.format=onnx")
    assert registered.returncode == 0, registered.stderr
    return Place(folder, run, registered)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images of many sizes, PNG and JPEG, colour and grey, as people send them."""
    folder, rng, files = tmp_path_factory.mktemp("images"), np.random.default_rng(0), []
    for number in range(12):
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3)).astype(np.uint8))
        image = small.resize(tuple(int(side) for side in rng.integers(20, 200, 2)), Image.Resampling.BICUBIC)
        files.append(folder / f"{number:02}.{('png', 'jpg')[number % 2]}")
        (image.convert("L") if number % 5 == 4 else image).save(files[-1])
    return files


class Server:
    """`mlflow models serve` of a model in a store."""

    def __init__(self, folder: Path, uri: str, model: str, **environment: str) -> None:
        self.port = reserved_port()
        self.log = folder / f"serve_{self.port}.log"
        command = ["mlflow", "models", "serve", "-m", model, "--env-manager", "local", "--port", str(self.port)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [Path(sys.executable).parent / "mlflow", *command[1:]],
                cwd=folder,
                env=os.environ | BINARIES | {"MLFLOW_TRACKING_URI": uri, **PATIENT, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait()
        self.family = [self.process.pid, *(child.pid for child in psutil.Process(self.process.pid).children(recursive=True))]

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=5)
                return
            except OSError:
                time.sleep(0.1)
        self.process.kill()
        raise AssertionError(self.log.read_text())

    def ask(self, body: Any) -> tuple[int, Any]:
        """The status and the content of the response: the predictions, or the message."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, json.load(answer)["predictions"]
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["message"]

    def stop(self) -> list[int]:
        """End it as a service manager does; returns the processes that are left of it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        alive = self.family
        end = time.monotonic() + PATIENCE
        while alive and time.monotonic() < end:
            time.sleep(0.1)
            alive = [pid for pid in alive if _lives(pid)]
        return alive


def _lives(pid: int) -> bool:
    """Whether a process is running; an ended one may be a zombie until its parent collects it."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def served(place: Place) -> Iterator[Server]:
    server = Server(place.folder, place.uri, "models:/digits@champion")
    yield server
    assert server.stop() == []


def text_of(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def table(cells: Sequence[Any], **params: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"dataframe_split": {"columns": ["image"], "data": [[cell] for cell in cells]}}
    return asked | ({"params": params} if params else {})


def predicted(folder: Path, export: Path, images: Sequence[Path], tmp_path: Path) -> list[list[dict[str, Any]]]:
    """What `task=predict` writes of each image by itself."""
    ended = launch(
        folder,
        *("task=predict", f"task.model={export}", f"task.input={images[0].parent}", f"task.output={tmp_path}/found.jsonl"),
        *("data.eval_batch_size=1", f"runs_dir={tmp_path}/runs"),
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line)["top"] for line in (tmp_path / "found.jsonl").read_text().splitlines()]


def as_written(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry | {"probability": round(entry["probability"], 6)} for entry in answer["top"]]


# ------------------------------------------------------------------------------------------------- registering


def test_registered_model_has_version_alias_and_metrics(place: Place) -> None:
    from mlflow import MlflowClient
    from mlflow.models import Model

    out = place.registered.stdout
    assert "digits, version 1" in out and "champion" in out and "the run of its weights" in out
    assert "mlflow models serve -m models:/digits@champion --env-manager local" in out and "| curl -s " in out

    client = MlflowClient(place.uri)
    version = client.get_model_version_by_alias("digits", "champion")
    model = client.get_logged_model(version.source.rpartition("/")[2])
    run = client.get_run(version.run_id)
    assert (run.data.tags["run.id"], run.info.status) == (place.run.id, "FINISHED")
    assert [output.model_id for output in run.outputs.model_outputs][-1] == model.model_id
    described = description.read(place.onnx, "here")
    assert described.metrics is not None
    found = {metric.key: (metric.value, metric.step) for metric in model.metrics}
    assert found["val_ema/top1"] == (described.metrics.top1, 4) and set(found) == {
        f"val_ema/{name}" for name in ("top1", "top5", "loss")
    }
    assert len(client.get_metric_history(version.run_id, "val_ema/top1")) == 1  # sent again, but there once
    assert version.tags["sha256"] == described.sha256 and version.tags["top1"] == str(described.metrics.top1)

    folder = Path(model.artifact_location)
    about = Model.load(str(folder))
    assert about.metadata["classes"] == [str(digit) for digit in range(10)]
    assert about.model_id == model.model_id and about.signature is not None and about.saved_input_example_info
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert all("==" in line and "/" not in line for line in lines)
    assert {line.partition("==")[0] for line in lines} == {
        *("mlflow", "numpy", "opencv-python-headless", "pillow", "pyyaml", "onnxruntime")
    }
    parts = {path.relative_to(folder / "code" / "deit").parts[0] for path in (folder / "code").rglob("*.py")}
    assert parts == {
        "__init__.py",
        "errors.py",
        "files.py",
        "config",
        "data",
        "exports",
        "inference",
        "installation.py",
        "notes.py",
        "runs",
        "serving",
    }


def test_model_with_a_missing_module_is_not_registered(place: Place, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    from deit.errors import UserError
    from deit.serving.package import prove

    version = MlflowClient(place.uri).get_model_version("digits", "1")
    model = MlflowClient(place.uri).get_logged_model(version.source.rpartition("/")[2])
    shutil.copytree(model.artifact_location, tmp_path / "model")
    (tmp_path / "model" / "code" / "deit" / "data" / "crop.py").unlink()
    # The project is installed here, and its own crop.py must not be used instead.
    with pytest.raises(UserError, match=r"cannot process its example: .*No module named 'deit\.data\.crop'"):
        prove(tmp_path / "model", description.read(place.onnx, "here"))


@pytest.fixture
def foreign(place: Place, tmp_path: Path) -> Path:
    """The export, of a run that nobody here knows."""
    shutil.copytree(place.onnx, tmp_path / "mine")
    file = tmp_path / "mine" / "model.json"
    file.write_text(file.read_text().replace(place.run.id, "20200101_000000_abcdef"))
    return tmp_path / "mine"


def test_export_of_an_unknown_run_is_logged_to_a_new_one(place: Place, foreign: Path, command: Callable[..., Outcome]) -> None:
    from mlflow import MlflowClient

    outcome = command(
        *("task=register", f"task.model={foreign}/model.onnx", NAME, "task.alias=other"),
        *(f"tracking.uri={place.uri}", "tracking.experiment=elsewhere"),
    )
    assert outcome.code == 0 and "a new run: that of its weights is not in this store" in outcome.out, outcome.err
    client = MlflowClient(place.uri)
    version = client.get_model_version_by_alias("digits", "other")
    run = client.get_run(version.run_id)
    assert client.get_experiment(run.info.experiment_id).name == "elsewhere" and run.info.status == "FINISHED"
    assert run.data.metrics["val_ema/top1"] == float(version.tags["top1"])
    assert str(client.get_model_version_by_alias("digits", "champion").version) == "1"


def test_failed_upload_registers_nothing(place: Place, foreign: Path, command: Callable[..., Outcome], tmp_path: Path) -> None:
    from mlflow import MlflowClient

    shutil.copyfile(place.folder / "mlflow.db", tmp_path / "mlflow.db")
    (tmp_path / "mlruns").write_text("no folder")
    outcome = command(
        *("task=register", f"task.model={foreign}", "task.registered_model_name=fresh"),
        *(f"tracking.uri=sqlite:///{tmp_path / 'mlflow.db'}", "tracking.experiment=nowhere"),
    )
    assert outcome.code == 1 and "Nothing was registered." in outcome.err, outcome.err
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert [model.name for model in client.search_registered_models()] == ["digits"]
    experiment = client.get_experiment_by_name("nowhere").experiment_id
    assert not client.search_runs([experiment]) and not client.search_logged_models([experiment])


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("run=nobody", NAME), "run=nobody: no such directory"),
        (("run=RUN",), "task.registered_model_name is not set"),
        ((NAME,), "but neither is given"),
        (("run=RUN", NAME, "task.model=x"), "but given are task.model=x, run="),
        (("run=RUN", NAME, "task.alias=v2"), "task.alias is 'v2'"),
        (("run=RUN", NAME, "task.alias=a/b"), "task.alias is 'a/b'"),
        (("run=RUN", "task.registered_model_name=a:b"), "task.registered_model_name is 'a:b'"),
        (("run=RUN", NAME, "tracking=none"), "writes into MLflow's model registry; give tracking=mlflow"),
        (("task.model=nothing", NAME), "not a folder of task=export"),
        (("task.model=ONNX", NAME, "task.format=onnx"), "task.format has no effect while task.model is an export"),
        (("run=RUN", NAME, "data.batch_size=3"), "data.batch_size has no effect with task=register"),
    ],
)
def test_mistakes_are_rejected_before_the_store_is_asked(
    place: Place, command: Callable[..., Outcome], tmp_path: Path, typed: tuple[str, ...], said: str
) -> None:
    replaced = [text.replace("RUN", str(place.run.path)).replace("ONNX", str(place.onnx)) for text in typed]
    outcome = command("task=register", *replaced)
    assert outcome.code == 2 and said in outcome.err, outcome.err
    assert list(tmp_path.iterdir()) == []


def test_damaged_and_outdated_exports_are_rejected(place: Place, command: Callable[..., Outcome], tmp_path: Path) -> None:
    shutil.copytree(place.onnx, tmp_path / "mine")
    path = tmp_path / "mine" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    outcome = command("task=register", "task.model=mine", NAME)
    assert outcome.code == 2 and "is damaged, its SHA-256 differs from the one in model.json" in outcome.err
    assert not (tmp_path / "mlflow.db").exists()

    # The same of a run whose export is of another checkpoint than the best of now.
    shutil.copytree(place.run.path, tmp_path / "run")
    described = tmp_path / "run" / "exports" / "onnx_ema" / "model.json"
    values = json.loads(described.read_text())
    values["verification"]["against"] = "checkpoint sha256 0"
    described.write_text(json.dumps(values))
    here = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"  # a copied run is asked where it is to be registered
    outcome = command("task=register", f"run={tmp_path / 'run'}", NAME, "task.format=onnx", "task.weights=ema", here)
    assert outcome.code == 2 and "has the weights of step 4 instead of" in outcome.err, outcome.err


class _WithoutRegistry(BaseHTTPRequestHandler):
    """A tracking server that knows nothing of registered models."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b"not found")

    do_POST = do_GET

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.mark.parametrize("kind", ["nobody listens", "no registry"])
def test_unreachable_store_ends_the_task_at_once(
    place: Place, command: Callable[..., Outcome], tmp_path: Path, kind: str
) -> None:
    shutil.copytree(place.run.path, tmp_path / "run", ignore=shutil.ignore_patterns("exports"))
    if kind == "nobody listens":
        outcome = command("task=register", "run=run", NAME, f"tracking.uri=http://127.0.0.1:{reserved_port()}")
    else:
        with HTTPServer(("127.0.0.1", 0), _WithoutRegistry) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            outcome = command("task=register", "run=run", NAME, f"tracking.uri=http://127.0.0.1:{server.server_port}")
            server.shutdown()
    assert outcome.code == 1 and "its model registry does not respond" in outcome.err, outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert not (tmp_path / "run" / "exports").exists()  # it was not even exported


# ----------------------------------------------------------------------------------------------------- serving


def test_served_results_equal_task_predict(place: Place, served: Server, images: list[Path], tmp_path: Path) -> None:
    from deit.serving.model import eval_transform

    status, answers = served.ask(table(map(text_of, images), probabilities=True))
    assert status == 200
    assert [as_written(answer) for answer in answers] == predicted(place.folder, place.onnx, images, tmp_path)
    assert all({key: answer[key] for key in ("label", "class", "probability")} == answer["top"][0] for answer in answers)

    # To the last bit, not to the six digits that are written.
    predictor, transform = open_export(place.onnx, "here"), eval_transform(description.read(place.onnx, "here"))
    pixels = [pixels_of(str(file)) for file in images]
    for answer, image in zip(answers, pixels, strict=True):
        assert answer["probabilities"] == probabilities(predictor(transform(image)[None]))[0].tolist()

    # Arrays are images, too, whatever their size: what a file has been decoded to is answered as the file.
    status, again = served.ask({"inputs": [image.tolist() for image in pixels], "params": {"probabilities": True}})
    assert status == 200 and again == answers


def test_every_form_of_a_request_is_accepted(served: Server, images: list[Path]) -> None:
    text, pixels = text_of(images[0]), pixels_of(str(images[0])).tolist()
    status, (expected,) = served.ask(table([text], topk=3))
    assert status == 200 and len(expected["top"]) == 3 and "probabilities" not in expected
    forms = [
        {"dataframe_records": [{"image": text}, {"image": pixels}]},
        {"dataframe_split": {"columns": ["image"], "data": [[pixels], [text]]}},
        {"inputs": [text, text]},
        {"inputs": {"image": [text, text]}},
        {"inputs": [{"image": text}, {"image": pixels}]},
        {"inputs": [pixels, pixels]},
        {"instances": [text, text]},
        {"inputs": [f"data:image/png;base64,{text}", text.rstrip("=")]},  # of a browser; without padding
        {"inputs": [text.translate(str.maketrans("+/", "-_")), f"data:;base64,{text.rstrip('=')}"]},  # as in a URL
        {"inputs": ["\n".join(text[i : i + 76] for i in range(0, len(text), 76)), text]},  # what `base64` prints
    ]
    for form in forms:
        assert served.ask(form | {"params": {"topk": 3}}) == (200, [expected, expected]), list(form)
    assert served.ask(table([text], topk=99))[1][0]["top"][:3] == expected["top"]


def test_loaded_model_accepts_arrays_pillow_images_and_bytes(place: Place, images: list[Path], tmp_path: Path) -> None:
    """In a separate process, since the code of the model and of the project would conflict here."""
    sizes = [Image.open(file).size for file in images]
    same = [file for file in images if Image.open(file).size == sizes[0]] * 2
    script = tmp_path / "ask.py"
    script.write_text(
        f"""
import json, sys
import mlflow, numpy as np, pandas
from PIL import Image
mlflow.set_tracking_uri({place.uri!r})
model = mlflow.pyfunc.load_model("models:/digits@champion")
same, files = {[*map(str, same)]!r}, {[*map(str, images)]!r}
opened = [Image.open(file) for file in files]
arrays = [np.asarray(image.convert("RGB")) for image in opened]
contents = [open(file, "rb").read() for file in files]
expected = model.predict(pandas.DataFrame({{"image": contents}}))
for given in (arrays, tuple(arrays), opened, contents, {{"image": opened}}, pandas.DataFrame({{"image": arrays}})):
    assert model.predict(given) == expected, type(given)
batch = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in same])
assert model.predict(batch) == [expected[0], expected[0]]
assert model.predict(batch, params={{"topk": 2}}) == [answer | {{"top": answer["top"][:2]}} for answer in [expected[0]] * 2]
for one in (batch[0], opened[0], contents[0]):
    assert model.predict(one) == expected[:1], type(one)
for wrong, said in (
    (batch / 255, "pixels are whole numbers"), (batch.transpose(0, 3, 1, 2), "allowed: RGB [H, W, 3] or grey [H, W]"),
    (["photo.jpg"], "a path"), (np.zeros(3), "image 0: is float"), ([], "image"),
):
    try:
        model.predict(wrong)
        raise SystemExit(f"took {{wrong}}")
    except mlflow.MlflowException as error:
        assert said in str(error), error
assert sys.getswitchinterval() == 0.005  # a server's setting, not a notebook's
print("all")
"""
    )
    ended = subprocess.run([sys.executable, "-I", str(script)], capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE)
    assert ended.returncode == 0 and ended.stdout.endswith("all\n"), ended.stderr


def bomb() -> str:
    """A file of kilobytes that would be decoded to 1.2 GB."""
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_wrong_request_names_the_wrong_image(served: Server, images: list[Path]) -> None:
    good, pixels = text_of(images[1]), pixels_of(str(images[1]))
    for cell, said in (
        ("%%%", "image 1: not readable as an image (it is not base64 text)"),
        ("AAAAA", "image 1: not readable as an image (it is not base64 text)"),
        ("data:image/svg+xml,%3Csvg", "image 1: not readable as an image (it is a data: URL without ;base64)"),
        ("http://node01/cat.jpg", "image 1: not readable as an image (it is an address or a path, not the base64 text"),
        ("photos/my cat.JPEG", "image 1: not readable as an image (it is an address or a path, not the base64 text"),
        (base64.b64encode(b"no picture at all").decode(), "image 1: not readable as an image (no known format)"),
        (good[: len(good) // 8 * 4], "image 1: not readable as an image ("),
        ("", "image 1: not readable as an image (the file is empty)"),
        (None, "image 1: is nothing, but it must be"),
        (7, "image 1: is int, but it must be"),
        (bomb(), "image 1: not readable as an image (20000 x 20000 are 400,000,000 pixels, more than max_pixels=50000000"),
        (np.zeros((1, 5000, 3), int).tolist(), "image 1: not readable as an image (5000 x 1: one side is more than"),
        (np.zeros((8, 9, 4), int).tolist(), "image 1: is int64 [8, 9, 4]; allowed: RGB [H, W, 3] or grey [H, W]"),
        ([[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]]], "image 1: its rows differ in length or depth"),
        ((pixels / 255).tolist(), f"image 1: is float64 {[*pixels.shape]}, but pixels are whole numbers"),
        ((pixels.astype(int) - 1).tolist(), "image 1: contains numbers from -1 to "),
    ):
        status, message = served.ask(table([good, cell, good]))
        assert status == 400 and message.rpartition("Error: ")[2].startswith(said), message[-300:]
    status, message = served.ask(table(["%", good, "%"]))
    assert status == 400 and "image 0: " in message and "image 2: " in message and "image 1: " not in message
    for body, said in (
        (table([good] * 65), "65 images in a request; allowed: 1 to 64."),
        (table([good], topk=0), "topk is 0; allowed: at least 1."),
        (table([good], topk="many"), "Can not safely convert"),
        ({"dataframe_records": [{"picture": good}]}, "missing inputs ['image']"),
        ({"images": [good]}, "exactly one of the input fields"),
    ):
        status, message = served.ask(body)
        assert status == 400 and said in message, message[-300:]
    assert served.ask(table([good]))[0] == 200
    grey = pixels[:, :, 0]
    assert served.ask(table([grey.tolist()])) == served.ask(table([np.stack([grey] * 3, axis=2).tolist()]))


def test_the_processes_of_a_server_are_known(served: Server) -> None:
    """By a variable of MLflow; the model sets their switch interval."""
    from deit.serving.model import SERVER_VARIABLE

    assert any(SERVER_VARIABLE in psutil.Process(pid).environ() for pid in served.family)


def test_200_parallel_requests_get_their_own_results(served: Server, images: list[Path]) -> None:
    texts = [text_of(file) for file in images]
    expected = served.ask(table(texts))[1]

    def request(number: int) -> bool:
        if number % 10 == 9:
            status, message = served.ask(table([texts[0], "broken"]))
            return status == 400 and "image 1: " in message
        first, second = number % len(texts), number // 7 % len(texts)
        return served.ask(table([texts[first], texts[second]])) == (200, [expected[first], expected[second]])

    with ThreadPoolExecutor(200) as pool:
        assert all(pool.map(request, range(200)))


def test_mindir_is_served_in_threads_and_within_limits(
    place: Place, images: list[Path], command: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exported because it was not there, as the next version, to which the alias moves."""
    monkeypatch.chdir(place.folder)
    outcome = command("task=register", *TYPED)
    assert outcome.code == 0 and "digits, version " in outcome.out, outcome.err
    export = place.run.exports / "mindir_ema"
    assert str(export.relative_to(place.folder)) in outcome.out
    server = Server(place.folder, place.uri, "models:/digits@champion", SERVING_MODEL_CONFIG='{"max_images": 12}')
    try:
        texts = [text_of(file) for file in images]
        status, answers = server.ask(table(texts))
        assert status == 200
        alone = [server.ask(table([text]))[1][0] for text in texts]
        assert [as_written(answer) for answer in alone] == predicted(place.folder, export, images, tmp_path)
        with ThreadPoolExecutor(16) as pool:  # two at once in MindSpore would end the server
            found = list(pool.map(lambda number: server.ask(table([texts[number % 12]])), range(48)))
        for number, (status, (answer,)) in enumerate([*found, *((200, [answer]) for answer in answers)]):
            expected = alone[number % 12]  # what a batch answers is within the tolerance of the products of a batch
            assert status == 200 and answer["label"] == expected["label"]
            assert answer["probability"] == pytest.approx(expected["probability"], abs=1e-5)
        assert server.ask(table([*texts, texts[0]]))[0] == 400
    finally:
        assert server.stop() == []
