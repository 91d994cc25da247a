"""The groups of ``conf/`` and ``multirun_templates/``, their options and first comment lines."""

from __future__ import annotations

import codecs
import functools
import shlex
from pathlib import Path

import yaml

from deit.errors import UserError
from deit.installation import PACKAGE, ROOT

CONF = ROOT / "conf"
TEMPLATES = ROOT / "multirun_templates"
LOCAL = Path("local", "default.yaml")
# Groups whose files write anywhere in the configuration; none of them must be chosen.
GLOBAL = ("experiment", "debug", "sweep")
# Our launchers and sweepers; only these support what a sweep promises.
PLUGIN_OPTIONS = {"hydra/launcher": ("cards", "slurm", "ray"), "hydra/sweeper": ("grid", "optuna")}
# Hydra's own launchers and sweepers, and those of its plugins, with our replacements.
PLUGINS_KNOWN_AS = {
    "submitit_slurm": "slurm",
    "submitit_local": "cards",
    "joblib": "cards",
    "basic": "cards",
    "ray_aws": "ray",
    "rq": "cards",
}
PLUGINS = PACKAGE / "plugins"  # contains the namespace folder hydra_plugins

_own: list[Path] = []  # --config-dir


def use(folder: str | None) -> None:
    """Read options from ``folder`` too (``--config-dir``), before those of the same name here; None: only from here.

    Raises UserError if there is no such folder.
    """
    if folder is not None and not Path(folder).is_dir():
        raise UserError(f"--config-dir {folder}: no such folder. It contains options like conf/, such as optim/mine.yaml.")
    _own[:] = [] if folder is None else [Path(folder).absolute()]
    groups.cache_clear()


def own_folder() -> Path | None:
    """The folder of ``--config-dir``."""
    return _own[0] if _own else None


def local_settings() -> Path:
    """The file of this machine's settings, which may be missing: in one's own folder or in ``conf/``."""
    files = [folder / LOCAL for folder in (*_own, CONF)]
    return next((file for file in files if file.is_file()), files[-1])


@functools.cache
def groups() -> dict[str, dict[str, Path]]:
    """The options of each group with their files, by name; without ``local``, which cannot be chosen."""
    found: dict[str, dict[str, Path]] = {}
    for top in (CONF, TEMPLATES):
        for path in sorted(top.glob("*/*.yaml")):
            if path.parent.name != "local":
                found.setdefault(path.parent.name, {})[path.stem] = path
    for folder in _own:
        for path in sorted(folder.glob("*/*.yaml")):
            if path.parent.name in found:  # others are no groups
                found[path.parent.name][path.stem] = path
    return found


def describe(path: Path) -> str:
    """The first comment line with text in a file, except `# @package` lines."""
    try:
        text = read(path)
    except UserError:  # reported when it is chosen
        return "(not UTF-8)"
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("# ").strip()
        if text and not text.startswith("@package"):
            return text
    return ""


def defaults() -> dict[str, str | None]:
    """The default option of each group in conf/config.yaml."""
    return {group: option for group, option in _chosen(read(CONF / "config.yaml")).items() if group in groups()}


@functools.lru_cache(maxsize=1)
def _chosen(text: str) -> dict[str, str | None]:
    chosen: dict[str, str | None] = {}
    for entry in yaml.safe_load(text)["defaults"]:
        if isinstance(entry, dict):
            chosen |= entry
    return chosen


def shown(path: Path) -> str:
    """A file for messages: ``conf/optim/adamw.yaml``."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def read(path: Path) -> str:
    """A file's text, without a byte order mark. Raises UserError if it is not UTF-8."""
    data = path.read_bytes()
    place, encoding = "", "UTF-16"
    if not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            place, encoding = f", line {line}", _guess(data)
    old, new = shlex.quote(str(path)), shlex.quote(f"{path}.new")
    convert = f"iconv -f {encoding} -t UTF-8 {old} > {new} && mv {new} {old}"
    raise UserError(f"{shown(path)}{place}: not UTF-8 (it looks like {encoding}). Convert it: {convert}")


def _guess(data: bytes) -> str:
    try:
        data.decode("gb18030")
    except UnicodeDecodeError:
        return "LATIN1"
    return "GB18030"
