"""SHA256SUMS in weights_dir."""

from __future__ import annotations

from pathlib import Path

from deit.weights.recorded_sums import FILE, record, recorded


def test_sums_are_recorded_in_the_format_of_sha256sum(tmp_path: Path) -> None:
    assert recorded(tmp_path / "b.pth") is None
    record(tmp_path / "b.pth", "b" * 64)
    record(tmp_path / "a.pth", "a" * 64)
    assert (tmp_path / FILE).read_text() == f"{'a' * 64}  a.pth\n{'b' * 64}  b.pth\n"
    assert recorded(tmp_path / "b.pth") == "b" * 64
    (tmp_path / FILE).write_text(f"{'C' * 64} *c d.pth\nnot a sum\n{'1' * 63}  short.pth\n")  # as written on Windows
    assert recorded(tmp_path / "c d.pth") == "c" * 64 and recorded(tmp_path / "short.pth") is None
    (tmp_path / FILE).write_bytes(b"\xff\xfe")
    assert recorded(tmp_path / "a.pth") is None
