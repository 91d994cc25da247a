"""The two sides stay apart, and imports go down only; held by fresh interpreters and by reading the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "deit"
CONTROL = (
    "cli",
    "trial",
    "commands",
    "console",
    "compose",
    "config",
    "launching",
    "lookup",
    "machine",
    "plugins",
    "preflight",
    "progress_bar",
    "recipe",
    "storage",
    "sweeps",
    "tracking",
)
WORKER = ("worker", "tasks", "engine", "data", "models", "optim")
BOTH = ("runs", "weights", "exports", "inference", "comparison", "errors", "files", "notes", "randomness", "secrets", "text")
SERVED = ("serving",)  # runs in MLflow's server: neither side


def modules(*parts: str) -> list[str]:
    found = []
    for part in parts:
        path = PACKAGE / part
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        for file in files:
            # Imported by Hydra under another name; moxing is there on ModelArts alone.
            if "hydra_plugins" not in file.parts and file.name != "moxing_store.py":
                name = ".".join(("deit", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
                found.append(name)
    return found


def imported_by(names: list[str]) -> set[str]:
    """Top-level packages in memory after importing the modules in a fresh interpreter."""
    code = "import sys, importlib\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    code += "print(*{name.split('.')[0] for name in sys.modules})"
    ended = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    return set(ended.stdout.split())


def test_every_module_belongs_to_a_side() -> None:
    there = {path.stem for path in PACKAGE.iterdir() if path.name not in ("__init__.py", "__pycache__")}
    assert there == {*CONTROL, *WORKER, *BOTH, *SERVED}


def test_control_side_imports_no_mindspore() -> None:
    loaded = imported_by(modules(*CONTROL, *BOTH))
    assert "hydra" in loaded and not loaded & {"mindspore", "onnx", "onnxruntime"}


def test_worker_side_imports_neither_hydra_nor_mlflow() -> None:
    loaded = imported_by(modules(*WORKER, *BOTH))
    assert "mindspore" in loaded and not loaded & {"hydra", "omegaconf", "mlflow", "rich"}


def test_what_is_served_imports_mlflow_and_no_side() -> None:
    loaded = imported_by(modules(*SERVED))
    assert "mlflow" in loaded and not loaded & {"mindspore", "onnx", "onnxruntime", "hydra", "omegaconf", "rich"}


def test_a_served_model_brings_no_side_along() -> None:
    """The modules that go with a model: those both sides share, and of the worker what reads images or a MINDIR."""
    from deit.serving.code import closure

    model, mindir = closure("deit.serving.model"), closure("deit.serving.model", "deit.engine.mindir")
    parts = {name.split(".")[1] for name in model if "." in name}
    assert parts == {"config", "data", "errors", "exports", "files", "inference", "runs", "serving"}
    assert set(mindir) - set(model) == {"deit.engine", "deit.engine.mindir"}
    assert {name for name in model if name.startswith("deit.serving.")} == {
        f"deit.serving.{name}" for name in ("batches", "model", "request")
    }
    assert "deit.compose.rules" not in model


def imports(part: str) -> set[str]:
    """The parts of the package that the sources of a part import, anywhere in them."""
    found = set()
    for name in modules(part):
        file = PACKAGE.joinpath(*name.split(".")[1:])
        tree = ast.parse((file / "__init__.py" if file.is_dir() else file.with_suffix(".py")).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deit"):
                path = (node.module or "").split(".")
                found |= {path[1]} if len(path) > 1 else {alias.name for alias in node.names}
            elif isinstance(node, ast.Import):
                found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("deit.")}
    return found - {part}


BELOW = {"files", "config", "errors", "notes", "randomness", "text"}


@pytest.mark.parametrize(
    ("part", "allowed"),
    [
        ("models", BELOW),
        ("data", BELOW),
        ("optim", BELOW),
        (
            "runs",
            {"config", "errors", "files", "machine", "text"},
        ),
        ("engine", BELOW | {"models", "data", "optim", "runs", "weights"}),
        ("weights", {"config", "errors", "notes", "runs", "models"}),
        ("exports", BELOW | {"models", "weights", "engine", "runs"}),
        ("inference", BELOW | {"data", "exports", "runs", "weights"}),
        ("comparison", BELOW | {"inference", "runs"}),
        (
            "tasks",
            BELOW | {"models", "data", "optim", "runs", "weights", "exports", "inference", "comparison", "engine", "recipe"},
        ),
        ("serving", BELOW | {"data", "exports", "inference"}),
    ],
)
def test_imports_go_down_only(part: str, allowed: set[str]) -> None:
    assert imports(part) <= allowed


def test_nothing_but_the_worker_imports_tasks() -> None:
    assert [part for part in (*CONTROL, *WORKER, *BOTH, *SERVED) if "tasks" in imports(part)] == ["worker"]
