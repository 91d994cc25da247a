"""The help pages contain everything in conf/ and the schema."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import ROOT

from deit.compose import groups, help, keys


def test_front_page_has_every_group_option_and_experiment(command) -> None:
    page = command("--help")
    assert page.code == 0 and page.err == ""
    words = set(page.out.replace("*", " ").replace("=", " ").split())
    for group, found in groups.groups().items():
        assert group in words
        assert set(found) <= words
    assert groups.describe(groups.groups()["experiment"]["quickstart"]) in page.out
    assert page.out.count("python launch.py ") >= 5
    assert "deit_small*" in page.out and "--hydra-help" in page.out


def test_every_group_has_a_line_of_its_own() -> None:
    assert set(help.GROUPS) == set(groups.groups())


@pytest.mark.parametrize("group", groups.groups())
def test_group_page_has_its_options_and_keys(group: str, command) -> None:
    page = command(group, "-h").out
    shown, _, keys_shown = page.partition("keys, what is allowed")

    def first_words(text: str) -> set[str]:
        return {line.split()[0].rstrip("*") for line in text.splitlines()[1:] if line and not line.startswith(" ")}

    assert first_words(shown) == set(groups.groups()[group])
    assert first_words(keys_shown) == {path for path in keys.table() if path.startswith(f"{group}.")}


def test_key_page_shows_type_limits_current_value_and_meaning(command) -> None:
    def page(*topics: str) -> str:
        return " ".join(command("--help", *topics).out.split())

    assert page("model.depth", "model=deit_micro").endswith(
        "model.depth a whole number, at least 1 2 Number of transformer blocks."
    )
    assert "optim.betas a list, each a number, 2 values, at least 0, at most 0.9999999 [0.9, 0.999] Decay" in page(
        "optim.betas"
    )
    assert "optim.momentum a number, at least 0, at most 0.9999999 only optim=sgd Momentum." in page("optim.momentum")
    assert "optim.momentum a number, at least 0, at most 0.9999999 0.9 Momentum." in page("optim.momentum", "optim=sgd")
    formats = page("task.format", "task=pack")
    assert "task.format one of tar, mindrecord tar " in formats and "air only task=export File format." in formats


# What takes long to be imported, of all that this project uses anywhere.
SLOW = {"mindspore", "mlflow", "numpy", "pandas", "scipy", "sklearn", "matplotlib", "cv2", "PIL", "onnx", "onnxruntime"}
SLOW |= {"optuna", "sqlalchemy", "requests", "s3fs", "botocore", "submitit", "ray", "psutil"}


@pytest.mark.process
def test_help_is_quick_and_writes_nothing(tmp_path: Path) -> None:
    """Quick because of what is not imported; seconds would depend on the machine."""
    code = "import sys; from deit.cli import main; code = main(sys.argv[1:]); print(code, *sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for arguments in (["--help"], ["optim", "-h"], ["--help", "model.depth"]):
        ended = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        )
        exit_code, *modules = ended.stdout.splitlines()[-1].split()
        assert exit_code == "0" and "hydra" in modules and not SLOW & {name.partition(".")[0] for name in modules}
    assert list(tmp_path.iterdir()) == []
