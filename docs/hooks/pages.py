"""Pages that the site builds instead of storing: the configuration keys, and the project's own files at the top.

``configuration.md`` comes from ``conf/`` and the schema, so it is always current. CONTRIBUTING.md and CHANGELOG.md stay
at the top of the repository, where people look for them, and are copied into the site.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from deit.compose import freeze, groups, help, keys

ROOT = Path(__file__).resolve().parents[2]


def on_files(files: Files, config: Any) -> Files:
    files.append(File.generated(config, "configuration.md", content=configuration()))
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, name.lower(), content=text))
    return files


def configuration() -> str:
    """The page: for each group its options and its keys with allowed values, default and meaning."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    freeze.register()
    values = help.composed([])
    yield "# Configuration keys\n"
    yield (
        "Every key of `conf/`, taken from the schema when this page is built. Set a key with `group.key=value`, "
        "choose an option with `group=option`. `python launch.py --help GROUP` prints the same for one group.\n"
    )
    for group, meaning in help.GROUPS.items():
        yield f"## {group}\n"
        yield f"{meaning[0].upper()}{meaning[1:]}.\n"
        yield from _table(
            ("option", "content"),
            (
                (f"`{name}`" + (" (default)" if name == groups.defaults().get(group) else ""), groups.describe(path))
                for name, path in groups.groups()[group].items()
            ),
        )
        yield from _keys(group, values)
    yield "## Top level\n"
    yield from _keys("", values)
    for group in sorted({key.rpartition(".")[0] for key in keys.table()} - {"", *help.GROUPS}):
        yield f"## {group}\n"
        yield from _keys(group, values)


def _keys(group: str, values: dict[str, Any]) -> Iterator[str]:
    found = [key for path, keys_ in keys.definitions().items() if path.rpartition(".")[0] == group for key in keys_]
    if not found:
        return
    rows = ((f"`{key.path}`", key.expected, f"`{help.value(key, values)}`", key.metadata["help"]) for key in found)
    yield from _table(("key", "allowed", "default", "meaning"), rows)


def _table(heads: tuple[str, ...], rows: Any) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in row) + " |"
    yield ""
