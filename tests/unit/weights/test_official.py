"""The list of official weights, and its table in the documentation."""

from __future__ import annotations

import re

import pytest
import yaml
from command import ROOT

from deit.compose import groups
from deit.config.schema import ModelConfig
from deit.models.shapes import parameter_count
from deit.weights import official
from deit.weights.official import OFFICIAL


def option(name: str) -> ModelConfig:
    return ModelConfig(**yaml.safe_load((groups.CONF / "model" / f"{name}.yaml").read_text(encoding="utf-8")))


@pytest.mark.parametrize("entry", OFFICIAL.values(), ids=OFFICIAL)
def test_official_files_are_of_our_models(entry: official.Official) -> None:
    if entry.model is None:
        return
    config = option(entry.model)
    assert entry.megabytes == round(4e-6 * parameter_count(config, 1000))
    assert (str(config.img_size) in entry.name) and config.distilled == ("distilled" in entry.name)
    # The headers of conf/model/ state the accuracy of the first file of their model.
    entry = next(first for first in OFFICIAL.values() if first.model == entry.model)
    header = groups.describe(groups.CONF / "model" / f"{entry.model}.yaml")
    assert f"{entry.top1:.1f} % top-1" in header


def test_documentation_lists_the_official_files() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", (ROOT / "docs" / "pretrained.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name, _ in rows] == list(OFFICIAL)
    for name, row in rows:
        entry = OFFICIAL[name]
        assert row.split(" | ") == [
            f"[{entry.file_name}]({entry.url})",
            f"{entry.megabytes} MB",
            f"`{entry.sha256}`" if entry.sha256 else "not published",
            f"`model={entry.model}`" if entry.model else "teacher only",
            f"{entry.top1:.3f} / {entry.top5:.3f}"
            if entry.top5
            else f"{entry.top1:.1f} / not stated"
            if entry.top1
            else "not stated",
        ]
