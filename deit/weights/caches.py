"""The files that timm, torch and Hugging Face's libraries have downloaded on this machine, found by official names.

    $TORCH_HOME/hub/checkpoints/deit_small_patch16_224-cd65a155.pth          torch.hub, older timm
    $HF_HOME/hub/models--timm--deit_small_patch16_224.fb_in1k/               Hugging Face's hub, newer timm
        refs/main                                                            the current snapshot
        snapshots/<commit>/model.safetensors                                 a link into blobs/

The variables and their defaults are those of these libraries, none of which is needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from deit.weights.official import Official

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def cached(entry: Official) -> Path | None:
    """The file of an official entry in one of the caches; None if none has it. It is not read."""
    return next((path for path in _places(entry) if path.is_file()), None)


def _places(entry: Official) -> Iterator[Path]:
    torch = _folder("TORCH_HOME") or _user_cache() / "torch"
    yield torch / "hub" / "checkpoints" / entry.file_name
    home = _folder("HF_HOME") or _user_cache() / "huggingface"
    hub = _folder("HF_HUB_CACHE") or _folder("HUGGINGFACE_HUB_CACHE") or home / "hub"
    for snapshot in _snapshots(hub / f"models--timm--{entry.hub_name}"):
        yield from (snapshot / name for name in _HUB_FILES)


def _snapshots(repository: Path) -> list[Path]:
    """The current one first, then others, the newest first; a snapshot may lack the weights."""
    try:
        others = sorted((repository / "snapshots").iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return []
    try:
        current = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return others
    return sorted(others, key=lambda path: path.name != current)


def _user_cache() -> Path:
    return _folder("XDG_CACHE_HOME") or Path.home() / ".cache"


def _folder(variable: str) -> Path | None:
    text = os.environ.get(variable)
    return Path(text).expanduser() if text else None
