"""Processes are used only if they are worth their start."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from deit.data.prefetcher_choice import pays_for_processes
from deit.data.rows import Rows


@pytest.mark.parametrize(
    ("images", "in_memory", "processes"), [(666, False, False), (667, False, True), (10_000, True, False), (14_000, True, True)]
)
def test_processes_are_worth_their_start(images: int, in_memory: bool, processes: bool) -> None:
    dataset = type("Sized", (), {"in_memory": in_memory, "__len__": lambda self: images})()
    assert pays_for_processes(cast(Rows, SimpleNamespace(dataset=dataset))) is processes
