"""The two sides do not import each other, and imports go down only, by fresh interpreters and by the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "deit"
CONTROL = (
    "__main__",
    "cli",
    "trial",
    "commands",
    "console",
    "compose",
    "config",
    "doctor",
    "launching",
    "lookup",
    "machine",
    "migration",
    "model_config",
    "packing",
    "plugins",
    "preflight",
    "progress_bar",
    "recipe",
    "storage",
    "sweeps",
    "tracking",
)
WORKER = ("worker", "tasks", "engine", "data", "models", "optim")
BOTH = ("runs", "weights", "exports", "inference", "comparison", "pages")
BOTH += ("errors", "files", "installation", "notes", "randomness", "scores", "secrets", "text")
SERVED = ("serving",)  # runs in MLflow's server: neither side
LIBRARY = ("library",)  # runs in somebody's notebook: neither side


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
    assert there == {*CONTROL, *WORKER, *BOTH, *SERVED, *LIBRARY}


def test_control_side_does_not_import_mindspore() -> None:
    loaded = imported_by(modules(*CONTROL, *BOTH))
    assert "hydra" in loaded and not loaded & {"mindspore", "onnx", "onnxruntime"}


def test_worker_side_imports_neither_hydra_nor_mlflow() -> None:
    loaded = imported_by(modules(*WORKER, *BOTH))
    assert "mindspore" in loaded and not loaded & {"hydra", "omegaconf", "mlflow", "rich"}


def test_importing_the_library_imports_nothing_heavy() -> None:
    loaded = imported_by(["deit"])
    assert not loaded & {"mindspore", "numpy", "hydra", "yaml", "rich"}
    loaded = imported_by(modules(*LIBRARY))
    assert not loaded & {"mindspore", "onnxruntime", "hydra", "omegaconf", "mlflow", "rich"}


def test_serving_imports_mlflow_but_neither_side() -> None:
    loaded = imported_by(modules(*SERVED))
    assert "mlflow" in loaded and not loaded & {"mindspore", "onnx", "onnxruntime", "hydra", "omegaconf", "rich"}


def test_served_model_contains_modules_of_neither_side() -> None:
    """The modules that go with a model: those both sides share, and of the worker what reads images or a MINDIR."""
    from deit.serving.code import closure

    model, mindir = closure("deit.serving.model"), closure("deit.serving.model", "deit.engine.mindir")
    parts = {name.split(".")[1] for name in model if "." in name}
    assert parts == {"config", "data", "errors", "exports", "files", "inference", "installation", "notes", "runs", "serving"}
    assert set(mindir) - set(model) == {"deit.engine", "deit.engine.mindir"}
    assert {name for name in model if name.startswith("deit.serving.")} == {
        f"deit.serving.{name}" for name in ("batches", "model", "request")
    }
    assert "deit.compose.rules" not in model


def sources() -> dict[str, Path]:
    """Every module of the package, also those of Hydra's plugins, by its dotted name."""
    return {
        ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts): file
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.stem != "__init__"
    }


@cache
def graph() -> dict[str, set[str]]:
    """For each module the modules of the package that it imports, anywhere in it."""
    files, found = sources(), {}
    for name, file in files.items():
        found[name] = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "deit":
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                found[name] |= {text if text in files else str(node.module) for text in whole}
            elif isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names if alias.name.startswith("deit.")}
    return found


def part_of(module: str) -> str:
    return module.split(".")[1]


def imports(part: str) -> set[str]:
    """The parts of the package that a part imports."""
    return {part_of(other) for name, others in graph().items() if part_of(name) == part for other in others} - {part}


PLAIN = {"errors", "files", "installation", "scores", "text"}
SHOWING = {"console", "progress_bar"}
NETWORK = {"data", "models", "optim", "weights", "engine", "exports", "inference", "comparison"}
# What each part may import; only parts above it in this list, so that there is no circle.
RULES: dict[str, set[str]] = {
    "scores": set(),
    "errors": set(),
    "files": set(),
    "installation": set(),
    "text": set(),
    "notes": set(),
    "randomness": set(),
    "secrets": {"errors"},
    "console": set(),
    "progress_bar": {"console"},
    "config": {"errors", "files", "text"},
    "machine": {"config", "secrets", *PLAIN},
    "data": {"config", "machine", "notes", "randomness", *PLAIN},
    "models": {"config", "errors", "files", "notes", "randomness", "text"},
    "optim": {"config", "errors", "randomness"},
    "recipe": {"config", "data", "models", *PLAIN},
    "migration": {"errors", "text"},
    "runs": {"config", "machine", *PLAIN},
    "weights": {"config", "models", "notes", "runs", *PLAIN},
    "engine": {"config", "data", "machine", "models", "optim", "randomness", "runs", "weights", *PLAIN},
    "exports": {"config", "engine", "models", "runs", "weights", *PLAIN},
    "inference": {"config", "data", "exports", "runs", "weights", *PLAIN},
    "comparison": {"inference", "runs", *PLAIN},
    "pages": {"config", "recipe", "runs", "secrets", *PLAIN},
    "serving": {"config", "data", "exports", "inference", *PLAIN},
    "library": {"comparison", "config", "data", "engine", "exports", "inference", "machine", "notes", *PLAIN},
    "tasks": {"config", "pages", "recipe", "runs", *NETWORK, *PLAIN},
    "worker": {"config", "engine", "machine", "runs", "tasks", *PLAIN},
    "tracking": {"comparison", "config", "console", "machine", "runs", "secrets", *PLAIN},
    "storage": {"config", "machine", "runs", *SHOWING, *PLAIN},
    "lookup": {"config", "inference", "runs", "secrets", "storage", "tracking", "weights", *PLAIN},
    "compose": {"config", "console", "data", "lookup", "models", "recipe", "tracking", *PLAIN},
    "preflight": {
        *{"compose", "config", "lookup", "recipe", "runs", "secrets", "storage", "tracking"},
        *{"console", "data", "exports", "inference", "models", "notes", "weights"},
        *PLAIN,
    },
    "doctor": {"config", "data", "engine", "machine", "preflight", "secrets", "tracking", *PLAIN},
    "packing": {"config", "data", "machine", *SHOWING, *PLAIN},
    "launching": {"config", "machine", "runs", "secrets", "storage", "tracking", *SHOWING, *PLAIN},
    "sweeps": {
        *{
            "comparison",
            "compose",
            "config",
            "launching",
            "lookup",
            "machine",
            "pages",
            "recipe",
            "runs",
            "secrets",
            "storage",
            "tracking",
        },
        *SHOWING,
        *PLAIN,
    },
    "commands": {
        *{
            "compose",
            "config",
            "doctor",
            "launching",
            "lookup",
            "machine",
            "migration",
            "packing",
            "preflight",
            "recipe",
            "runs",
            "secrets",
            "serving",
        },
        *{"storage", "sweeps", "tracking"},
        *NETWORK,
        *SHOWING,
        *PLAIN,
    },
    "trial": {"commands", "config", "launching", "machine", "runs", "storage", *PLAIN},
    "model_config": {"commands", "compose", "config", "machine", "preflight", "secrets", *PLAIN},
    "plugins": {"commands", "compose", "config", "console", "launching", "lookup", "preflight", "runs", "sweeps", *PLAIN},
    "cli": {"commands", "compose", "config", "data", "secrets", "sweeps", *PLAIN},
    "__main__": {"cli"},
}


def test_every_folder_has_a_rule_and_rules_go_down() -> None:
    assert set(RULES) == {*CONTROL, *WORKER, *BOTH, *SERVED, *LIBRARY}
    order = list(RULES)
    assert [(part, other) for part in order for other in RULES[part] if order.index(other) >= order.index(part)] == []


@pytest.mark.parametrize("part", RULES)
def test_folder_imports_only_what_its_rule_allows(part: str) -> None:
    assert imports(part) - RULES[part] == set()


def test_imports_have_no_cycle() -> None:
    imported = graph()
    done: set[str] = set()

    def follow(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for other in imported.get(name, ()):
                follow(other, (*path, name))
            done.add(name)

    for name in imported:
        follow(name, ())


def test_module_names_are_unique() -> None:
    """A module name in a traceback or a search identifies its file. Only the two halves of a task share a name."""
    names = [file for file in sources().values() if "plugins" not in file.parts]
    # commands/train.py and tasks/train.py: what the control side and the worker know of task=train
    halves = {file.name for file in names if file.parent.name == "commands"}
    counted = Counter(file.name for file in names if not (file.parent.name == "tasks" and file.name in halves))
    assert [name for name, count in counted.items() if count > 1] == []


def test_only_the_worker_imports_tasks() -> None:
    assert [part for part in (*CONTROL, *WORKER, *BOTH, *SERVED, *LIBRARY) if "tasks" in imports(part)] == ["worker"]
