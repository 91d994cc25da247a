"""How this program is installed, from a checkout or a wheel, and how a person calls it.

A wheel has conf/, multirun_templates/ and constraints.txt inside the package (setup.py puts them there), a checkout beside it.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DISTRIBUTION = "deit-mindspore"
PACKAGE = Path(__file__).resolve().parent
IS_WHEEL = (PACKAGE / "conf").is_dir()
ROOT = PACKAGE if IS_WHEEL else PACKAGE.parent  # contains conf/, multirun_templates/, constraints.txt

_called: list[str] = []  # the words that started this process, if it is the command line


def note_call(argument: str) -> None:
    """Note ``sys.argv[0]`` of the command line, for ``program``."""
    path = Path(argument)
    if path.name == "__main__.py" and path.parent.name == PACKAGE.name:
        _called[:] = ["python", "-m", PACKAGE.name]
    elif path.suffix == ".py":
        _called[:] = ["python", argument]
    elif (found := shutil.which(path.name)) and Path(found).resolve() == path.resolve():
        _called[:] = [path.name]
    else:  # a command that is not on PATH
        _called[:] = [argument]


def words() -> list[str]:
    """The words with which a person calls this program: ``["python", "launch.py"]``, ``["deit"]``, as they were typed.

    In another process than the command line, those that suit the installation.
    """
    return list(_called) or (["deit"] if IS_WHEEL else ["python", "launch.py"])


def words_in(recorded: Mapping[str, Any]) -> list[str]:
    """Those that a run or a sweep has recorded as ``program``; older ones have not."""
    return recorded.get("program") or ["python", "launch.py"]


def source_name(called: list[str]) -> str:
    """The last of such words without its folder, for MLflow's column `Source`: ``launch.py``, ``deit``."""
    return Path(called[-1]).name


def program() -> str:
    """``words`` for a shell: ``python launch.py``, ``deit`` or ``python -m deit``; every hint begins with it."""
    return shlex.join(words())


def install_command(extra: str = "") -> str:
    """The command that installs this program with the tested versions of what it needs, and with an optional part of it."""
    part = f"[{extra}]" if extra else ""
    pip = ["pip", "install"]
    if (ROOT / "constraints.txt").is_file():  # not beside a model that MLflow serves
        pip += ["--constraint", str(ROOT / "constraints.txt")]
    if (ROOT / "pyproject.toml").is_file():
        return shlex.join([*pip, "--editable", f"{ROOT}{part}"])
    return shlex.join([*pip, f"{DISTRIBUTION}{part}"])
