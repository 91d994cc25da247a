"""YAML of a run directory is read as plain data, within limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from deit.config import safe_yaml
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
