"""MindSpore's .ckpt compared with MindSpore itself, and inconsistent files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deit.errors import UserError
from deit.weights.mindspore_ckpt import read_ckpt, read_ckpt_shapes, write_ckpt
from deit.weights.read import format_of, read_shapes, read_weights

WEIGHTS = {
    "blocks.0.attn.qkv.weight": np.arange(12, dtype=np.float32).reshape(4, 3),
    "norm.gamma": np.linspace(-1, 1, 5, dtype=np.float16),
    "count": np.array(7, np.int64),
}


@pytest.mark.parametrize("crc", [False, True])
def test_ckpt_written_by_mindspore_is_read(tmp_path: Path, crc: bool) -> None:
    import mindspore as ms

    parameters = [{"name": name, "data": ms.Tensor(value)} for name, value in WEIGHTS.items()]
    parameters.append({"name": "half", "data": ms.Tensor([1.5, -2.25], ms.bfloat16)})
    ms.save_checkpoint(parameters, str(tmp_path / "x.ckpt"), crc_check=crc, append_dict={"epoch": 3, "note": "text"})
    found = read_ckpt(tmp_path / "x.ckpt")
    assert found.keys() == {*WEIGHTS, "half", "epoch"}
    for name, value in WEIGHTS.items():
        assert found[name].shape == value.shape
        np.testing.assert_array_equal(found[name], value)
    np.testing.assert_array_equal(found["half"], [1.5, -2.25])
    assert read_ckpt_shapes(tmp_path / "x.ckpt") == {name: value.shape for name, value in found.items()}


def test_mindspore_reads_a_written_ckpt(tmp_path: Path) -> None:
    import mindspore as ms

    (tmp_path / "x.ckpt").write_bytes(write_ckpt(WEIGHTS))
    found = ms.load_checkpoint(str(tmp_path / "x.ckpt"), crc_check=True)
    assert list(found) == list(WEIGHTS)
    for name, value in WEIGHTS.items():
        assert found[name].asnumpy().dtype == value.dtype
        np.testing.assert_array_equal(found[name].asnumpy().reshape(value.shape), value)


def test_sliced_parameter_is_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deit.weights.mindspore_ckpt._SLICE", 16)
    (tmp_path / "x.ckpt").write_bytes(write_ckpt(WEIGHTS))
    name = "blocks.0.attn.qkv.weight"
    np.testing.assert_array_equal(read_ckpt(tmp_path / "x.ckpt")[name], WEIGHTS[name])


def test_content_decides_the_format_not_the_extension(tmp_path: Path) -> None:
    file = tmp_path / "weights.backup"
    file.write_bytes(write_ckpt(WEIGHTS))
    assert format_of(file) == "mindspore"
    assert read_shapes(file)[0].keys() == read_weights(file).keys() == {*WEIGHTS}


def damaged() -> dict[str, tuple[bytes, str]]:
    whole = write_ckpt(WEIGHTS)
    body = whole[: -len(b"crc_num") - 10]
    flipped = bytearray(whole)
    flipped[60] ^= 1
    return {
        "a bit": (bytes(flipped), "CRC-32"),
        "truncated": (body[:-3], "truncated"),
        "a shape beyond the content": (body.replace(b"\x08\x04\x08\x03", b"\x08\x04\x08\x7f"), "has 48 bytes, expected 2032"),
        "another message": (b"\x12" + body[1:], "field 2 of wire type 2"),
        "an endless number": (b"\x0a" + b"\xff" * 12, "does not end"),
        "an unknown type": (body.replace(b"Float32", b"Float99"), "has the type Float99"),
        "nothing": (b"", "not readable"),
        "encrypted": (bytes(range(64)), "encrypted or not a checkpoint"),
    }


@pytest.mark.parametrize("name", damaged())
def test_damaged_file_is_rejected(tmp_path: Path, name: str) -> None:
    content, told = damaged()[name]
    (tmp_path / "x.ckpt").write_bytes(content)
    for read in (read_ckpt, read_ckpt_shapes):
        with pytest.raises(UserError, match=told):
            read(tmp_path / "x.ckpt")
