"""The parser of libyaml reads files as that of PyYAML, whose messages remain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deit.compose import config_files, groups

ODD = [
    "",
    "a:\t1\n",  # libyaml accepts the tab
    "a\tb: 1\n",
    "a: !\n",  # libyaml reads empty text, PyYAML null
    "\ufeffa: 1\n",
    "a: 1\n\ufeff",
    "a: b\x85c: d\n",
    "a: \x07\n",
    "a: [1, {b: x}, 1e3, 1_000, 0o7, 017, 1:20, yes, 2020-01-01, .inf, ~]\n",
    "a: 1e3\nb: '1e3'\nc: |\n  x\n  y\nd: >-\n  x\n  y\n",
    "a: &x [1]\nb: *x\nc: {<<: {d: 1}, e: 2}\n",
    "a: *x\n",
    "a: 1\na: 2\n",  # a duplicate key
    "a: [1\nb: 2\n",
    "{a?b: c}\n",
    "[a:b]\n",
    "? a\n: b\n",
    "%YAML 1.3\n---\na: 1\n",
    "a: Zürich, 北京\nname: 2024_01_02\n",
    "defaults: [a, /b: null]\nname: on\n",
    "a: !!python/object/apply:os.getcwd []\n",
    "a: !!int x\n",
]


@pytest.fixture(autouse=True)
def parse_again() -> Iterator[None]:
    config_files.parse.cache_clear()
    yield
    config_files.parse.cache_clear()


def parsed(text: str) -> Any:
    try:
        return config_files.parse(text, Path("conf/a.yaml"), "")
    except (yaml.YAMLError, ValueError) as error:
        return type(error), str(error)


def compare(texts: list[str], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What ``parse`` makes of ``texts``, which must be the same without libyaml."""
    found = [parsed(text) for text in texts]
    config_files.parse.cache_clear()
    python, _ = config_files._loaders()
    monkeypatch.setattr(config_files, "_loaders", lambda: (python, None))
    assert found == [parsed(text) for text in texts]
    return found


def test_every_file_has_the_same_content(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [file for options in groups.groups().values() for file in options.values()]
    assert len(files) > 80
    compare([groups.read(file) for file in [*files, groups.CONF / "config.yaml"]], monkeypatch)


def test_odd_files_have_the_same_content_or_message(monkeypatch: pytest.MonkeyPatch) -> None:
    found = compare(ODD, monkeypatch)
    assert found[0] is None and "cannot start any token" in found[1][1] and 'conf/a.yaml", line 1' in found[1][1]


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML was built without libyaml")
def test_libyaml_reads_what_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(text: str) -> Any:
        raise AssertionError("PyYAML's own parser")

    _, libyaml = config_files._loaders()
    monkeypatch.setattr(config_files, "_loaders", lambda: (refuse, libyaml))
    assert parsed("name: 1e3\nseed: 1e3 # a comment\n") == {"name": "1e3", "seed": 1000.0}
    with pytest.raises(AssertionError):
        parsed("a:\t1\n")


def test_a_changed_file_is_read_again(conf: Path, command: Callable) -> None:
    for epochs in (7, 8):
        (conf / "schedule/mine.yaml").write_text(f"defaults: [cosine]\nepochs: {epochs}\n")
        groups.groups.cache_clear()
        assert f"epochs: {epochs}" in command("schedule=mine", "--cfg", "job").out
