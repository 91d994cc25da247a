"""What can be chosen: the groups of ``conf/`` and ``multirun_templates/``, their options and first comment lines."""

from __future__ import annotations

import functools
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
TEMPLATES = ROOT / "multirun_templates"
# Ours among Hydra's launchers and sweepers; only these keep what a sweep promises.
PLUGIN_OPTIONS = {"hydra/launcher": ("cards", "slurm", "ray"), "hydra/sweeper": ("grid", "optuna")}
PLUGINS = ROOT / "deit" / "plugins"  # holds the namespace folder hydra_plugins


@functools.cache
def groups() -> dict[str, dict[str, Path]]:
    """Options of each group, by name, with their files. ``local`` is no choice and is left out."""
    found: dict[str, dict[str, Path]] = {}
    for top in (CONF, TEMPLATES):
        for path in sorted(top.glob("*/*.yaml")):
            if path.parent.name != "local":
                found.setdefault(path.parent.name, {})[path.stem] = path
    return found


def describe(path: Path) -> str:
    """The first comment line of a file that says something, `# @package` lines apart."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("# ").strip()
        if text and not text.startswith("@package"):
            return text
    return ""


def defaults() -> dict[str, str | None]:
    """The option that conf/config.yaml takes for each group."""
    chosen: dict[str, str | None] = {}
    for entry in yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))["defaults"]:
        if isinstance(entry, dict):
            for group, option in entry.items():
                chosen[group] = option
    return {group: option for group, option in chosen.items() if group in groups()}


def shown(path: Path) -> str:
    """A file as messages name it: ``conf/optim/adamw.yaml``."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
