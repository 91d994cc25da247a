"""Python, the packages, MindSpore and the system tools it needs."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

from deit.config.schema import HardwareConfig
from deit.doctor.finding import Finding, fail, ok, warn
from deit.errors import UserError
from deit.installation import DISTRIBUTION, install_command
from deit.machine.python import msrun

INSTALL = install_command()
_WITHOUT_DEVICE = {
    "cpu": INSTALL,
    "ascend": "read the lines on CANN, the driver and the cards",
    "gpu": "give hardware=cpu, or install a MindSpore that is built for this CUDA",
}
_NAMED = ("mlflow", "hydra-core", "numpy", "opencv-python-headless", "pillow")  # on the page


def python() -> Iterator[Finding]:
    """The interpreter and the packages of the project."""
    version = platform.python_version()
    text = f"{version}, {sys.executable}"
    if sys.version_info[:2] == (3, 11):
        yield ok("Python", text)
    elif sys.version_info[:2] == (3, 10):
        yield warn("Python", text, "constraints.txt is for Python 3.11; use it, or install without --constraint")
    else:
        yield fail("Python", text, "use Python 3.11, for which MindSpore's wheels and constraints.txt are")
    yield _packages()


def _packages() -> Finding:
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return warn("packages", "not checked, as the project is not installed for this Python", INSTALL)
    # Without the extras; MindSpore has its own line.
    needed = [found for found in map(Requirement, lines) if found.marker is None and found.name != "mindspore"]
    wrong = list(_wrong(needed))
    if wrong:
        return fail("packages", "; ".join(wrong), INSTALL)
    return ok("packages", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _NAMED))


def _wrong(needed: list[Requirement]) -> Iterator[str]:
    for requirement in needed:
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{requirement.name} is missing"
            continue
        if not requirement.specifier.contains(Version(found).public, prereleases=True):
            yield f"{requirement.name} {found}, but {requirement.specifier} is needed"


def mindspore(facts: dict[str, Any], target: str) -> Finding:
    """Whether it can be imported and can compute on ``target`` (cpu, ascend, gpu)."""
    error, version = facts.get("error"), facts.get("mindspore")
    if version is None:
        return fail("MindSpore", f"cannot be imported: {error}", INSTALL)
    where = {"cpu": "the CPU", "ascend": "an Ascend card", "gpu": "a GPU"}[target]
    if error is not None:
        return fail("MindSpore", f"{version} does not compute on {where}: {error}", _WITHOUT_DEVICE[target])
    soc = f" ({facts['soc']})" if facts.get("soc") else ""
    return ok("MindSpore", f"{version} computes on {where}{soc}")


def starter(hardware: HardwareConfig) -> Finding:
    """msrun, which starts several processes."""
    needed = hardware.cards * hardware.nodes > 1
    note = "" if needed else "; not needed for one process"
    try:
        return ok("msrun", f"{msrun()}{note}")
    except UserError as error:
        return fail("msrun", f"not found{note}", str(error), needed=needed)


def compiler(target: str) -> Finding:
    """GCC, with which CANN compiles operators; not needed on the CPU."""
    path = shutil.which("gcc")
    needed = target == "ascend"
    note = "" if needed else "; not needed without an Ascend card"
    if path is None and needed:
        return warn("GCC", "not found; CANN compiles some operators with it", "install gcc 7.3 or newer")
    if path is None:
        return ok("GCC", f"not found{note}")
    said = subprocess.run([path, "-dumpfullversion"], capture_output=True, text=True, check=False).stdout.strip()
    version = re.match(r"\d+(\.\d+)*", said)
    if needed and version and Version(version[0]) < Version("7.3"):
        return warn("GCC", f"{said}, {path}", "MindSpore asks for gcc 7.3 or newer")
    return ok("GCC", f"{said}, {path}{note}")
