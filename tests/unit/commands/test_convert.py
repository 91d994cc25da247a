"""task=convert: what it rejects, and that it starts no MindSpore."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fidelity import FIXTURES
from reference.inputs_weights import NETWORK

PLAIN = f"checkpoint={FIXTURES}/weights_plain.pth"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("task.output=x.safetensors",), "needs either run"),
        ((PLAIN, *NETWORK), "task.output is not set"),
        ((PLAIN, *NETWORK, "task.output=x.pth"), "allowed: the name of a .safetensors or .ckpt file"),
        ((PLAIN, *NETWORK, "task.output=there.safetensors"), "already exists; remove it, or give another name"),
        ((PLAIN, *NETWORK, "task.output=no/x.safetensors"), "the folder no does not exist"),
        ((PLAIN, "task.output=x.safetensors"), "belongs to another model than deit_small"),
        ((PLAIN, *NETWORK, "task.output=x.safetensors", "task.naming=keras"), "one of mindspore, timm"),
        ((PLAIN, *NETWORK, "task.output=x.safetensors", "task.weights=raw"), "task.weights has no effect with checkpoint=FILE"),
        ((PLAIN, *NETWORK, "task.output=x.safetensors", "seed=1"), "seed has no effect with task=convert"),
        ((PLAIN, *NETWORK, "task.output=x.safetensors", "data=cifar10", "data.root=x"), "data.root has no effect"),
        (("checkpoint=nothing.pth", *NETWORK, "task.output=x.safetensors"), "no such file"),
    ],
)
def test_convert_rejects(command: Callable, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    (tmp_path / "there.safetensors").write_text("precious")
    outcome = command("task=convert", *arguments)
    assert outcome.code == 2 and told in outcome.err, outcome.err
    assert "Traceback" not in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["there.safetensors"]
    assert (tmp_path / "there.safetensors").read_text() == "precious"


def test_dry_run_of_convert_writes_nothing(command: Callable, tmp_path: Path) -> None:
    outcome = command("task=convert", PLAIN, *NETWORK, "task.output=x.safetensors", "dry_run=true")
    assert outcome.code == 0 and "would write x.safetensors" in outcome.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_convert_does_not_import_mindspore(tmp_path: Path) -> None:
    """It ends in about a second, because MindSpore is not imported."""
    code = "import sys; from deit.cli import main; code = main(sys.argv[1:]); print('mindspore' in sys.modules, code)"
    arguments = ("task=convert", PLAIN, *NETWORK, "task.output=x.safetensors")
    ended = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert ended.stdout.splitlines()[-1] == "False 0", ended.stderr
