"""The recorder of the proofs, and that docs/fidelity.md is what it wrote."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from fidelity import DOCUMENT, FIXTURES, ROOT, Report, read, render

THIS, OTHER = "tests/fidelity/test_report.py", "tests/fidelity/test_model.py"
CLAIM: dict[str, Any] = dict(section="Model", reference="timm", tolerance=1e-5, unit="", file=THIS, test="test_one")


def test_the_document_is_as_written_and_its_checks_exist() -> None:
    rows = read(DOCUMENT)
    assert len(rows) > 50
    assert DOCUMENT.read_text(encoding="utf-8") == render(rows)
    for row in rows:
        assert re.search(rf"^def {row.test}\(", (ROOT / row.file).read_text(encoding="utf-8"), re.MULTILINE), row


def test_fixtures_are_small() -> None:
    assert sum(file.stat().st_size for file in FIXTURES.iterdir()) < 4e6


def test_the_worst_is_kept(tmp_path: Path) -> None:
    report, document = Report(write=True), tmp_path / "fidelity.md"
    for measured in (1e-6, 3e-6, 2e-6):
        report.record("logits", measured=measured, **CLAIM)
    report.save(document)
    (row,) = read(document)
    assert (row.section, row.what, row.tolerance, row.worst, row.test) == ("Model", "logits", "1e-05", "3e-06", "test_one")


@pytest.mark.parametrize("measured", [2e-5, math.inf, math.nan])
def test_what_is_above_the_tolerance_fails(measured: float) -> None:
    with pytest.raises(AssertionError, match="logits against timm"):
        Report(write=True).record("logits", measured=measured, **CLAIM)


def test_exact_means_exact() -> None:
    exact = CLAIM | {"tolerance": 0}
    Report(write=True).record("logits", measured=0, **exact)
    with pytest.raises(AssertionError, match="logits against timm"):
        Report(write=True).record("logits", measured=1e-300, **exact)


def test_a_row_that_the_document_lacks_fails() -> None:
    with pytest.raises(AssertionError, match="run make fidelity"):
        Report(write=False).record("what nobody wrote", measured=0.0, **CLAIM)


def test_one_name_has_one_claim() -> None:
    report = Report(write=True)
    report.record("logits", measured=0.0, **CLAIM)
    with pytest.raises(ValueError, match="different claims"):
        report.record("logits", measured=0.0, **CLAIM | {"tolerance": 1e-3})


def test_rows_of_files_that_did_not_run_stay(tmp_path: Path) -> None:
    document, first, second = tmp_path / "fidelity.md", Report(write=True), Report(write=True)
    first.record("old", measured=0.0, **CLAIM)
    first.record("elsewhere", measured=0.0, **CLAIM | {"file": OTHER})
    first.save(document)
    second.record("new", measured=0.0, **CLAIM)
    second.save(document)
    assert [row.what for row in read(document)] == ["elsewhere", "new"]
