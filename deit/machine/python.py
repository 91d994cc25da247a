"""Start another Python process of this package: its root and its environment."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from deit.errors import UserError
from deit.installation import PACKAGE

_FOLDER = PACKAGE.parent
# An interpreter finds what is installed by itself, and this folder before its own modules would hide some of them.
PATH = "" if _FOLDER.name in ("site-packages", "dist-packages") else str(_FOLDER)


def python_environment() -> dict[str, str]:
    """The environment for another Python process, with the package on its path whatever its working directory."""
    before = os.environ.get("PYTHONPATH", "")
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (PATH, before)))}


def msrun() -> str:
    """MindSpore's msrun: next to this interpreter, among the user's scripts, or on PATH.

    Raises UserError if it is in none of them.
    """
    folders = [str(Path(sys.executable).parent), sysconfig.get_path("scripts")]
    folders += [sysconfig.get_path("scripts", f"{os.name}_user")]  # pip install --user
    found = shutil.which("msrun", path=os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)]))
    if found is None:
        raise UserError(
            "Several processes need msrun, a program of MindSpore, which is neither in "
            f"{', '.join(dict.fromkeys(folders))} nor on PATH. "
            "Install MindSpore for this interpreter, add the folder of its msrun to PATH, or give hardware.cards=1."
        )
    return found
