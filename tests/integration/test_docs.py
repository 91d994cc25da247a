"""The documents tell the truth: every command in them composes, every key and file they name exists."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from composition import composed
from sweeps_on_disk import make_sweep

from deit.compose import groups, help, keys
from deit.config import frozen
from deit.runs import directory

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README_CN.md")
DOCS = (*READMES, *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")))


def commands(text: str) -> Iterator[str]:
    """The lines and code spans that call launch.py, without their comments."""
    for match in re.finditer(r"(?:^[ #>]*|`)python launch\.py([^`\n]*)", text, re.MULTILINE):
        arguments = re.split(r"\s+#\s|（|\s+\(", match[1])[0].strip()
        if "..." not in arguments:
            yield arguments


def sources() -> Iterator[tuple[str, str]]:
    files = (
        [ROOT / name for name in DOCS]
        + sorted((ROOT / "conf").rglob("*.yaml"))
        + sorted((ROOT / "multirun_templates").rglob("*.yaml"))
    )
    for file in files:
        for command in commands(file.read_text(encoding="utf-8")):
            yield str(file.relative_to(ROOT)), command
    for command in help.EXAMPLES:
        yield "--help", command.removeprefix("python launch.py ")


COMMANDS = sorted(set(sources()))


def test_the_documents_have_commands() -> None:
    assert len(COMMANDS) > 40
    assert {"README.md", "README_CN.md", "docs/from_the_modelzoo.md", "conf/experiment/quickstart.yaml"} <= {
        f for f, _ in COMMANDS
    }


@pytest.mark.parametrize(("file", "arguments"), COMMANDS, ids=lambda value: value)
def test_command_composes(file: str, arguments: str, command, tmp_path: Path) -> None:
    """A dry run composes and checks the whole command and starts nothing.

    `last` and other names of runs stand for a finished run, which is put there, and for a sweep.
    """
    run = directory.create(tmp_path / "runs", "quickstart")
    frozen.save(composed("experiment=quickstart"), run.config)
    make_sweep(tmp_path, [])
    replaced = [re.sub(r"=RUN$", f"={run.path}", text) for text in shlex.split(arguments)]
    # The sweep that is put there has no trials, so that going on with it starts nothing.
    starts = not any(text == "--help" or text.startswith(("dry_run=", "sweep.resume=")) for text in replaced)
    dry = ["dry_run=true"] if starts else []
    outcome = command(*replaced, *dry)
    if "hydra/launcher=ray" in replaced and importlib.util.find_spec("ray") is None:  # an extra that is not in `dev`
        assert outcome.code == 2 and "deit-mindspore[ray]" in outcome.err
        return
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("name", READMES)
def test_shown_refusals_are_what_is_said(name: str, command) -> None:
    shown = re.findall(
        r"^    \$ python launch\.py (.*)\n((?:    (?!\$).*\n)+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(shown) == 2
    for arguments, message in shown:
        outcome = command(*shlex.split(arguments))
        assert outcome.code == 2 and outcome.err.split() == message.split()


def test_makefile_has_the_commands_of_the_readmes() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in READMES:
        named = set(re.findall(r"\bmake ([a-z]+)", (ROOT / name).read_text(encoding="utf-8")))
        assert {"quickstart", "test"} <= named <= targets, name


def test_both_readmes_have_the_same_commands_and_links() -> None:
    def essence(name: str) -> tuple[list[str], list[str]]:
        text = (ROOT / name).read_text(encoding="utf-8")
        return list(commands(text)), [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("README")]

    assert essence("README.md") == essence("README_CN.md")


@pytest.mark.parametrize("name", DOCS)
def test_links_and_files_exist(name: str) -> None:
    file = ROOT / name
    text = file.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (file.parent / link).exists(), link
    for path in re.findall(r"`((?:deit|conf|docs|tests|multirun_templates|benchmarks)/[\w./]*)`", text):
        assert (ROOT / path).exists() or "local/default" in path, path


@pytest.mark.parametrize("name", READMES)
def test_readme_lists_every_group_and_option(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for group, files in groups.groups().items():
        if group in ("sweep", "local"):
            continue
        (row,) = re.findall(rf"^\| `{group}` \|.*$", text, re.MULTILINE)
        for option in files:
            listed = option in row or (group == "model" and re.search("distilled|384", option))
            assert listed, f"{group}={option}"


def test_modelzoo_table_names_real_keys() -> None:
    rows = re.findall(r"^\| `\w+`(?:, `\w+`)? \| (`[^|]+`) \|", (ROOT / "docs/from_the_modelzoo.md").read_text(), re.MULTILINE)
    assert len(rows) > 40
    for row in rows:
        for key in re.findall(r"`([\w.]+)`", row):
            assert key in keys.table() or key in groups.groups(), key
