"""How another Python process of this package is started: its root and its environment."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from deit.errors import UserError

ROOT = Path(__file__).resolve().parents[2]  # where the package stands


def python_environment() -> dict[str, str]:
    """This process's environment for another Python of ours: the package is found wherever that one works."""
    return os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep)}


def msrun() -> str:
    """MindSpore's program that starts several processes: beside this interpreter, among the user's scripts, or on PATH.

    Raises UserError where it is in none of them.
    """
    folders = [Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))]
    folders += [Path(sysconfig.get_path("scripts", f"{os.name}_user"))]  # pip install --user
    for folder in folders:
        if os.access(folder / "msrun", os.X_OK):
            return str(folder / "msrun")
    found = shutil.which("msrun")
    if found is None:
        looked = ", ".join(dict.fromkeys(map(str, folders)))
        raise UserError(
            f"Several processes are started by msrun, a program of MindSpore's, which is neither in {looked} nor on PATH. "
            "Install MindSpore for this interpreter, add the folder of its msrun to PATH, or give hardware.cards=1."
        )
    return found
