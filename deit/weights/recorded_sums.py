"""``SHA256SUMS`` in weights_dir: the SHA-256 of each fetched file, as `sha256sum --check` reads them.

The authors publish the first digits for most files and none for DeiT III. So the first download is recorded, and what is read
or fetched later is compared with that.
"""

from __future__ import annotations

from pathlib import Path

from deit.files import write_text

FILE = "SHA256SUMS"


def recorded(file: Path) -> str | None:
    """The SHA-256 recorded for a file in its folder, hexadecimal; None if there is none."""
    return _read(file.parent).get(file.name)


def record(file: Path, digest: str) -> None:
    """Add the SHA-256 of a file."""
    sums = _read(file.parent) | {file.name: digest}
    write_text(file.parent / FILE, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))


def _read(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    parts = [line.split(maxsplit=1) for line in lines]
    return {found[1].removeprefix("*"): found[0].lower() for found in parts if len(found) == 2 and len(found[0]) == 64}
