"""Ask the reference about one subject: python -m reference.subject NAME FOLDER, started by make_fixtures.py.

``reference/NAME.py`` has ``make()``, whose arrays go to FOLDER/NAME.safetensors together with the versions of the
packages asked, and may have ``write(folder)`` for files that are no arrays.
"""

from __future__ import annotations

import importlib
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from reference import shims
from safetensors.numpy import save_file

PACKAGES = ("torch", "torchvision", "pillow", "numpy")


def main(name: str, folder: Path) -> None:
    torch.set_num_threads(1)  # sums in the same order on every machine
    library = shims.install()
    import timm

    module = importlib.import_module(f"reference.{name}")
    if timm.__version__ != module.TIMM:
        raise SystemExit(f"{name} asks timm {module.TIMM}, but timm {timm.__version__} was imported")
    versions = {package: version(package).split("+")[0] for package in PACKAGES}
    versions |= {"timm": timm.__version__, "python": platform.python_version()}
    save_file(module.make(), folder / f"{name}.safetensors", versions)
    if hasattr(module, "write"):
        module.write(folder)
    del library


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
