"""The proofs against the reference: stored answers to compare with, and the table of what was compared.

A test of ``tests/fidelity/`` loads a fixture (``load``), compares, and records the worst difference with the pytest
fixture ``fidelity``, which also holds the tolerance. With ``--write-fidelity`` the recorded rows are written to
``docs/fidelity.md``; without, a row that the document lacks, or states otherwise, fails its test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "reference" / "fixtures"
DOCUMENT = ROOT / "docs" / "fidelity.md"
SECTIONS = (
    "Model",
    "Losses",
    "Optimizer",
    "Learning rate",
    "Trajectory",
    "Mixing",
    "Augmentation",
    "Evaluation transform",
    "Sampler",
    "Weights",
    "Distillation",
)
COLUMNS = ("what", "reference", "tolerance", "worst difference", "check")


def load(subject: str) -> dict[str, np.ndarray]:
    """The answers of the reference about a subject of ``tests/reference/``."""
    return load_file(FIXTURES / f"{subject}.safetensors")


def versions() -> dict[str, list[str]]:
    """The packages that were asked, with their versions, of all fixtures."""
    found: dict[str, set[str]] = {}
    for file in sorted(FIXTURES.glob("*.safetensors")):
        with safe_open(file, "np") as fixture:
            for package, version in (fixture.metadata() or {}).items():
                found.setdefault(package, set()).add(version)
    return {package: sorted(those) for package, those in found.items()}


@dataclass(frozen=True)
class Row:
    """One comparison; ``tolerance`` 0 means exact. All but ``worst`` is the same wherever it runs."""

    section: str
    what: str
    reference: str
    tolerance: str
    worst: str
    file: str  # of the test
    test: str

    @property
    def claim(self) -> tuple[str, ...]:
        return (self.section, self.what, self.reference, self.tolerance, self.file, self.test)

    def __str__(self) -> str:
        check = f"`python -m pytest {self.file} -k {self.test}`"
        return "| " + " | ".join((self.what, self.reference, self.tolerance, self.worst, check)) + " |"


@dataclass
class Report:
    """The rows of a test session."""

    write: bool
    worst: dict[tuple[str, str, str], float] = field(default_factory=dict)
    rows: dict[tuple[str, str, str], Row] = field(default_factory=dict)

    def record(
        self, what: str, *, section: str, reference: str, tolerance: float, measured: float, unit: str, file: str, test: str
    ) -> None:
        """Record a row, and fail if ``measured`` is above ``tolerance``. Of a row recorded again the worst is kept."""
        if section not in SECTIONS:
            raise ValueError(f"section {section!r}; there are {', '.join(SECTIONS)}")
        bounds = "exact" if tolerance == 0 else _number(tolerance, unit)
        row = Row(section, what, reference, bounds, _number(measured, unit), file, test)
        key = (section, what, reference)
        if key in self.rows and self.rows[key].claim != row.claim:
            raise ValueError(f"{what!r} is recorded twice with different claims: {self.rows[key].claim}, {row.claim}")
        if key not in self.rows or not measured <= self.worst[key]:
            self.rows[key], self.worst[key] = row, measured
        assert measured <= tolerance, f"{what} against {reference}: {measured:g} {unit} apart, allowed are {tolerance:g}"
        if not self.write:
            written = {row.claim for row in read(DOCUMENT)}
            assert row.claim in written, f"docs/fidelity.md does not state {row.claim}: run make fidelity"

    def save(self, document: Path = DOCUMENT) -> None:
        """Write the document: the rows of this session, and of the test files that did not run, those it had."""
        ran = {row.file for row in self.rows.values()}
        kept = [row for row in read(document) if row.file not in ran and (ROOT / row.file).exists()]
        document.write_text(render([*kept, *self.rows.values()]), encoding="utf-8")


def read(document: Path) -> list[Row]:
    """The rows of the document; none if there is no document."""
    rows, section = [], ""
    for line in document.read_text(encoding="utf-8").splitlines() if document.exists() else ():
        if line.startswith("## "):
            section = line[3:]
        elif check := re.fullmatch(r"\| (.*) \| (.*) \| (.*) \| (.*) \| `python -m pytest (\S+) -k (\S+)` \|", line):
            rows.append(Row(section, *check.groups()))
    return rows


def render(rows: list[Row]) -> str:
    """The document, in the order of ``SECTIONS``, in each by test file and as the tests recorded them."""
    asked = {package: " and ".join(those) for package, those in versions().items()}
    named = ", ".join(
        f"{package} {asked[package]}" for package in ("timm", "torch", "torchvision", "pillow") if package in asked
    )
    lines = [
        "# Fidelity",
        "",
        "What this project computes, compared number by number with the reference: timm and torch. timm 0.3.2 is what",
        "facebookresearch/deit pins, so it defines most details of the recipe; FB marks details of that repository itself.",
        f"The answers of the reference ({named}) are stored in `tests/reference/fixtures/`, and the tests",
        "compare with them without torch. Differences are the worst of all elements, variants and steps, in float32 on a CPU.",
        "",
        "- `make fidelity` compares again and writes this document; no line of it is written by hand.",
        "- `make fixtures` builds the environment of the reference, asks it again and says what changed.",
    ]
    for section in SECTIONS:
        those = sorted((row for row in rows if row.section == section), key=lambda row: row.file)
        if those:
            header = ("| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|")
            lines += ["", f"## {section}", "", *header, *map(str, those)]
    return "\n".join(lines) + "\n"


def _number(value: float, unit: str) -> str:
    return f"{value:.2g} {unit}".strip()


def worst(ours: np.ndarray, reference: np.ndarray, scale: float | np.ndarray = 1.0) -> float:
    """The largest absolute difference, divided by ``scale``; NaN if either contains one, and shapes must agree."""
    assert ours.shape == reference.shape, f"{ours.shape} against {reference.shape}"
    return float(np.max(np.abs(ours.astype(np.float64) - reference.astype(np.float64)) / scale))
