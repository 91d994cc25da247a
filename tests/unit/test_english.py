"""Docs, configuration and source avoid phrases that readers found hard to understand.

``DONE`` lists what has been rewritten; a folder is added when it is done, and none is taken out again.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DONE = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs",
    "conf",
    "multirun_templates",
    "deit",
    "benchmarks",
    "tests",
)
# A phrase, and what to write instead.
HARD = {
    r"g(o|oes|oing|one) on with": "resume, continue",
    r"to be gone on": "can be resumed",
    r"com(e|es|ing) upon|came upon": "find",
    r"\banew\b": "again",
    r"without a word|'s word\b|no word from": "silently; taken from",
    r"\b(is|are|be) told\b": "is reported, is set, is given",
    r"\bstands? (in|beside|there|where|for each)\b": "is in, next to",
    r"\b(lies?|lay) (in|there|where|at|here|elsewhere|below)\b": "is in",
    r"doubles between|\b(a|no|as a) double\b": "duplicate",
    r"Exit codes?: 0 (all )?well": "0: success",
    r"\bmended\b|\bcan mend\b": "fixed",
    r"costs only itself": "does not affect the others",
    r"\breckoned\b": "estimated",
    r"\bwhoever\b": "name the one who does it",
    r"(Raises \w+( \([^)]*\))?|None|empty),? where\b": "if",
    r"\bat work\b": "running, works on",
    r"\b(which|it|that) holds (no|a|the)\b|\bholds no\b": "contains, has",
    r"\bexists already\b|\bis there already\b": "already exists",
    r"\bmake room\b": "free some space",
    r"\bbelongs to no\b": "does not belong to a",
    r"\bbut for\b(?! an?\b)": "except",
    r"\bfor ever\b": "forever",
    r"\btakes? note\b|\bhears? of\b": "record, is called with",
    r"\bthe (likeliest|right) class(es)?\b": "the most likely class, the true class",
    r"\bare (told|said) apart\b|\btells? (it|them) apart\b": "distinguish",
    r"\bhands? (it|them|a \w+) on\b": "forward",
    r"\bto be had\b": "available",
    r"\bis to be (found|seen|started)\b": "is in, will be",
    r"^(<{7}|>{7}) ": "what the merge should have left",
}
# Lines with such a phrase that may stay, and why.
EXCEPTIONS: dict[str, str] = {}


def files(place: str) -> list[Path]:
    path = ROOT / place
    found = [path] if path.is_file() else [file for kind in ("*.md", "*.yaml", "*.py") for file in sorted(path.rglob(kind))]
    return [file for file in found if "decisions" not in file.parts and file != Path(__file__).resolve()]


@pytest.mark.parametrize("place", DONE)
def test_no_hard_phrases(place: str) -> None:
    assert files(place)
    texts = {file: file.read_text(encoding="utf-8") for file in files(place)}
    found = [
        f"{file.relative_to(ROOT)}:{number}: {match[0]!r}, write: {better}"
        for file, text in texts.items()
        for phrase, better in HARD.items()
        if re.search(phrase, text, re.IGNORECASE | re.MULTILINE)  # which rules out nearly all before the slow search by lines
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() not in EXCEPTIONS
        for match in re.finditer(phrase, line, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)
