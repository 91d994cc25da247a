"""Weight files of any format: names, checksums, and their own description."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
from composition import composed
from fidelity import FIXTURES
from safetensors.numpy import save_file
from weight_files import refused

from deit.errors import UserError
from deit.runs import checkpoint, directory
from deit.weights import official
from deit.weights.official import OFFICIAL
from deit.weights.read import description, read_shapes, read_weights

PLAIN = FIXTURES / "weights_plain.pth"


def test_names_with_control_characters_are_rejected(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file({"a\x1b[2Jb": np.zeros(1, np.float32)}, file)
    for read in (read_weights, read_shapes):
        with pytest.raises(UserError, match=r"called 'a\\x1b\[2Jb'"):
            read(file)


@pytest.mark.parametrize(
    ("name", "told"), [("x.ckpt", "no such file"), ("x.pth", "no such file"), ("x.safetensors", "no such file")]
)
def test_unreadable_file_is_reported(tmp_path: Path, name: str, told: str) -> None:
    for read in (read_weights, read_shapes):
        with pytest.raises(UserError, match=told):
            read(tmp_path / name)


def test_official_file_name_contains_the_sha256(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = OFFICIAL["deit_tiny_patch16_224"]
    file = tmp_path / entry.file_name
    file.write_bytes(PLAIN.read_bytes())
    assert "of this name with a1311bcf" in refused(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr(official, "_FILES", (dataclasses.replace(entry, sha256=digest[:8]),))
    right = file.rename(tmp_path / f"deit_tiny_patch16_224-{digest[:8]}.pth")
    assert read_weights(right).keys() == read_weights(PLAIN).keys()


def test_part_of_a_checkpoint_is_checked_and_describes_itself(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "x")
    model = dataclasses.asdict(composed("model=deit_micro", "data=digits").model)
    folder = checkpoint.write(run, 3, {"model": {"a": np.ones(3, np.float32)}}, {"model": model, "num_classes": 10})
    file = folder / "model.safetensors"
    assert read_shapes(file) == ({"a": (3,)}, description(model, 10, "mindspore", None))
    np.testing.assert_array_equal(read_weights(file)["a"], [1, 1, 1])
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert "SHA-256" in refused(file)
