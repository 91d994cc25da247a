"""The modules of this package that a served model needs, which are stored with it."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def closure(*roots: str) -> list[str]:
    """``roots`` (``deit.serving.model``) and all modules of ours that they import, sorted.

    Imports inside functions do not count: they are for other uses of a module, and roots of their own if needed.
    """
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            parent = name.rpartition(".")[0]
            waiting += [*_imported(_file(name)), *([parent] if parent else [])]
    return sorted(found)


def copy_modules(names: list[str], folder: Path) -> None:
    """Copy modules below ``folder``, so that they can be imported from there."""
    for name in names:
        source = _file(name)
        target = folder / PACKAGE.name / source.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _file(name: str) -> Path:
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imported(file: Path) -> Iterator[str]:
    """Our modules that a module imports at its top level."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE.name:
            assert node.module is not None
            yield node.module
            yield from (name for alias in node.names if _file(name := f"{node.module}.{alias.name}").is_file())
