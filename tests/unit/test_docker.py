"""The Dockerfiles, which no test can build here: the files they copy exist, and their versions are supported."""

from __future__ import annotations

import os
import re

import pytest
from command import ROOT
from packaging.requirements import Requirement

FILES = sorted((ROOT / "docker").glob("Dockerfile.*"))


@pytest.mark.parametrize("name", ["Dockerfile.ascend", "Dockerfile.cpu"])
def test_dockerfiles_copy_and_start_existing_files(name: str) -> None:
    text = (ROOT / "docker" / name).read_text()
    assert [file.name for file in FILES] == ["Dockerfile.ascend", "Dockerfile.cpu"]
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] not in "#!*."]
    for copied in re.findall(r"^COPY (.*) \./$", text, re.MULTILINE):
        assert all((ROOT / file).exists() and file not in ignored for file in copied.split())
    assert not {"conf", "deit", "docker", "launch.py", "multirun_templates"} & set(ignored)
    for started in re.findall(r"/opt/deit/([\w./]+)", text):
        assert (ROOT / started).exists()
    assert os.access(ROOT / "docker" / "with_cann.sh", os.X_OK)


def test_dockerfiles_name_supported_versions() -> None:
    project, constraints = (ROOT / "pyproject.toml").read_text(), (ROOT / "constraints.txt").read_text()
    supported = Requirement(re.findall(r'"(mindspore[^"]*)"', project)[0]).specifier
    (pinned,) = re.findall(r"^mindspore==(.*)$", constraints, re.MULTILINE)
    (in_image,) = re.findall(r"^ARG MINDSPORE=(.*)$", (ROOT / "docker" / "Dockerfile.ascend").read_text(), re.MULTILINE)
    (tested,) = re.findall(r"^VERSIONS \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert in_image == pinned and pinned in tested.split() and all(map(supported.contains, tested.split()))
    for page in ("README.md", "README_CN.md", "docs/hardware.md"):
        listed = re.findall(r"^\| (2\.\d+\.\d+)", (ROOT / page).read_text(), re.MULTILINE)
        assert listed == tested.split(), page
