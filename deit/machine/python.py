"""Start another Python process of this package: its root and its environment."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from deit.errors import UserError

ROOT = Path(__file__).resolve().parents[2]  # contains the package


def python_environment() -> dict[str, str]:
    """The environment for another Python process, with the package on its path whatever its working directory."""
    return os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep)}


def msrun() -> str:
    """MindSpore's msrun: next to this interpreter, among the user's scripts, or on PATH.

    Raises UserError if it is in none of them.
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
            f"Several processes need msrun, a program of MindSpore, which is neither in {looked} nor on PATH. "
            "Install MindSpore for this interpreter, add the folder of its msrun to PATH, or give hardware.cards=1."
        )
    return found
