"""Ask the reference (timm, torch, torchvision, PIL) and keep its answers for the tests: ``make fixtures``.

    .reference/venv/bin/python tests/reference/make_fixtures.py              # all subjects
    .reference/venv/bin/python tests/reference/make_fixtures.py model losses # some

Needs the environment that the make target builds. Each module beside this one with a constant ``TIMM`` is a subject; it runs
in a process of its own with that version of timm. Fixtures are small: inputs are computed on both sides
(``inputs_*.py``), only answers are stored. At the end it says of each fixture whether it is new, unchanged, or what
changed in it; unchanged files are not touched.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors import safe_open

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FIXTURES = HERE / "fixtures"
OLD_TIMM = ROOT / ".reference" / "timm-0.3.2"


def subjects() -> dict[str, str]:
    """Name of each subject, and the timm it asks."""
    found = {}
    for file in sorted(HERE.glob("*.py")):
        declared = re.search(r'^TIMM = "(.+)"$', file.read_text(encoding="utf-8"), re.MULTILINE)
        if declared:
            found[file.stem] = declared[1]
    return found


def make(name: str, timm: str, folder: Path) -> None:
    """Write the fixtures of a subject into ``folder``."""
    paths = [OLD_TIMM] if timm == "0.3.2" else []
    path = os.pathsep.join(map(str, [*paths, ROOT, HERE.parent]))
    command = [sys.executable, "-W", "ignore", "-m", "reference.subject", name, str(folder)]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": path})


def changes(stored: Path, made: Path) -> list[str]:
    """What differs between two files; nothing if they say the same."""
    if made.suffix != ".safetensors":
        return [] if stored.read_bytes() == made.read_bytes() else ["other bytes"]
    with safe_open(stored, "np") as before, safe_open(made, "np") as now:
        old, new = set(before.keys()), set(now.keys())
        found = [f"{key}: gone" for key in sorted(old - new)] + [f"{key}: new" for key in sorted(new - old)]
        for key in sorted(old & new):
            a, b = before.get_tensor(key), now.get_tensor(key)
            if a.shape != b.shape or a.dtype != b.dtype:
                found.append(f"{key}: {a.dtype} {a.shape} is now {b.dtype} {b.shape}")
            elif not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                with np.errstate(invalid="ignore"):  # infinities
                    difference = np.nanmax(np.abs(a.astype(np.float64) - b.astype(np.float64)))
                found.append(f"{key}: max difference {difference:.3g}")
        a, b = before.metadata() or {}, now.metadata() or {}
        return found + [
            f"{key}: {a.get(key)} is now {b.get(key)}" for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)
        ]


def main(asked: list[str]) -> None:
    known = subjects()
    if unknown := set(asked) - known.keys():
        raise SystemExit(f"unknown subject {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    FIXTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in asked or known:
            print(f"asking timm {known[name]} about {name} ...", flush=True)
            make(name, known[name], folder)
        made = sorted(folder.iterdir())
        for file in made:
            stored = FIXTURES / file.name
            if not stored.exists():
                print(f"{file.name}: new")
            elif found := changes(stored, file):
                print(f"{file.name}: changed", *found, sep="\n    ")
            else:
                print(f"{file.name}: unchanged")
                continue
            stored.write_bytes(file.read_bytes())
        if not asked:
            for stored in sorted(set(FIXTURES.iterdir()) - {FIXTURES / file.name for file in made}):
                print(f"{stored.name}: no longer made, removed")
                stored.unlink()
    size = sum(file.stat().st_size for file in FIXTURES.iterdir())
    print(f"{size / 1e6:.2f} MB in {FIXTURES.relative_to(ROOT)}")


if __name__ == "__main__":
    main(sys.argv[1:])
