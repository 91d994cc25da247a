"""YAML of a run directory is read as plain data, within limits."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from composition import freeze

from deit.config import frozen, safe_yaml
from deit.errors import UserError


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def test_plain_values_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [1, 2.5, null]\nb: {c: true}\n")
    assert safe_yaml.load(tmp_path / "a.yaml") == {"a": [1, 2.5, None], "b": {"c": True}}
    (tmp_path / "a.yaml").write_text(nested(safe_yaml.MOST_DEPTH))
    assert safe_yaml.load(tmp_path / "a.yaml")
    with pytest.raises(FileNotFoundError):
        safe_yaml.load(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: &x [1]\nb: *x\n", "aliases are not allowed"),
        (nested(safe_yaml.MOST_DEPTH + 1).encode(), "nested more than 32 deep"),
        (nested(5000).encode(), "nested more than 32 deep"),
        (b"a: !!python/object/apply:os.mkdir [called]\n", "not readable as YAML"),
        (b"a: [1\n", "not readable as YAML"),
        (b"a: \xff\n", "not readable as YAML"),
        (b"a: 2026-02-31\n", "not readable as YAML"),
        (b"#" * (safe_yaml.MOST_BYTES + 1), "larger than"),
    ],
)
def test_other_yaml_is_rejected_with_the_file_name(content: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        safe_yaml.load(file)
    assert str(file) in str(caught.value) and said in str(caught.value)
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize(
    "text",
    [
        "a: !\n",  # libyaml reads empty text, PyYAML null
        "a:\t1\n",  # libyaml accepts the tab
        "{a?b: c}\n",
        "\ufeffa: 1\n",
        "a: 1\na: 2\n",
        "a: &x [1]\n",
        "a: [1e3, 1_000, 0o7, 017, 1:20, yes, 2020-01-01, .inf, ~, '']\n",
        "a: Zürich, 北京\nb: |\n  x\nc: >-\n  x\n  y\n",
        "",
        "---\na: 1\n---\nb: 1\n",
        "a: " + "9" * 6000,
        nested(safe_yaml.MOST_DEPTH - 1),
    ],
)
def test_libyaml_reads_what_pyyaml_reads(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text, encoding="utf-8")

    def read() -> object:
        try:
            return safe_yaml.load(file)
        except UserError as error:
            return str(error)

    found = read()
    monkeypatch.setattr(safe_yaml, "_is_plain", lambda text: False)
    assert found == read()


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML was built without libyaml")
def test_configuration_is_read_by_libyaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen.save(freeze("experiment=quickstart"), tmp_path / "config.yaml")
    monkeypatch.setattr(safe_yaml, "_PlainLoader", None)
    assert frozen.load(tmp_path / "config.yaml") == freeze("experiment=quickstart")
