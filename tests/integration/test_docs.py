"""The documentation is correct: every command composes, and every key and file it names exists."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import ROOT
from composition import composed
from sweeps_on_disk import make_sweep

from deit.compose import groups, help, keys
from deit.config import frozen
from deit.runs import directory

READMES = ("README.md", "README_CN.md")
DOCS = (*READMES, "CONTRIBUTING.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")))
MODELZOO = ("docs/from_the_modelzoo.md", "docs/zh/from_the_modelzoo.md")
BUILT = ("configuration.md", "contributing.md", "changelog.md")  # pages that the site builds: docs/hooks/pages.py


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


def test_documents_contain_commands() -> None:
    files = {"README.md", "README_CN.md", *MODELZOO, "docs/tutorial.md", "conf/experiment/quickstart.yaml"}
    assert files <= {file for file, _ in sources()}


@pytest.mark.parametrize("arguments", sorted({arguments for _, arguments in sources()}))  # many pages show the same ones
def test_command_composes(arguments: str, command, tmp_path: Path) -> None:
    """A dry run composes and checks the whole command and starts nothing. It may be refused for what this machine lacks.

    `last` and other names of runs stand for a finished run, which is put there, and for a sweep.
    """
    run = directory.create(tmp_path / "runs", "quickstart")
    frozen.save(composed("experiment=quickstart"), run.config)
    make_sweep(tmp_path, [])
    replaced = [re.sub(r"=RUN$", f"={run.path}", text) for text in shlex.split(arguments)]
    # The sweep that is put there has no trials, so that resuming it starts nothing.
    starts = not any(text == "--help" or text.startswith(("dry_run=", "sweep.resume=")) for text in replaced)
    dry = ["dry_run=true"] if starts else []
    outcome = command(*replaced, *dry)
    if "hydra/launcher=ray" in replaced and importlib.util.find_spec("ray") is None:  # an extra that is not in `dev`
        assert outcome.code == 2 and "deit-mindspore[ray]" in outcome.err
        return
    lacks = "this start would be refused" in outcome.out
    assert outcome.code == (2 if lacks else 0), outcome.err


@pytest.mark.parametrize("name", READMES)
def test_shown_errors_equal_the_real_ones(name: str, command) -> None:
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
        built = (file.parent / link).resolve().parent == ROOT / "docs" and Path(link).name in BUILT
        assert link.startswith("https://") or built or (file.parent / link).exists(), link
    for path in re.findall(r"`((?:deit|conf|docs|tests|multirun_templates|benchmarks)/[\w./]*)`", text):
        assert (ROOT / path).exists() or "local/default" in path, path


def test_commands_lists_every_group_and_option() -> None:
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    for group, files in groups.groups().items():
        if group in ("sweep", "local"):
            continue
        (row,) = re.findall(rf"^\| `{group}` \|.*$", text, re.MULTILINE)
        for option, file in files.items():
            if groups.describe(file).startswith("Old name of"):
                continue
            listed = option in row or (group == "model" and re.search("distilled|384", option))
            assert listed, f"{group}={option}"


@pytest.mark.parametrize("name", MODELZOO)
def test_modelzoo_table_names_real_keys(name: str) -> None:
    rows = re.findall(r"^\| `\w+`(?:, `\w+`)? \| (`[^|]+`) \|", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 40
    for row in rows:
        for key in re.findall(r"`([\w.]+)`", row):
            assert key in keys.table() or key in groups.groups(), key


def test_site_is_built_with_every_key_and_page(tmp_path: Path) -> None:
    """`mkdocs build --strict`, as `make docs` runs it: no broken link, and the page of keys made from the schema."""
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    page = (tmp_path / "site/configuration.html").read_text(encoding="utf-8")
    for path in keys.table():
        assert f"<code>{path}</code>" in page, path
    for options in groups.groups().values():
        for option in options:
            assert f"<code>{option}</code>" in page, option
    listed = set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")[2]))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not page.startswith("decisions/")} <= listed
