"""What of a folder is copied to a store."""

from __future__ import annotations

import pytest

from deit.storage.mirror_base import _is_kept


@pytest.mark.parametrize("name", ["journal.jsonl", "worker_0.log", "checkpoints", "best.json", "ranking.csv"])
def test_results_and_logs_are_copied(name: str) -> None:
    assert _is_kept(name)


@pytest.mark.parametrize(
    "name",
    [
        "rank_0",
        "kernel_meta",
        "akg_kernel_meta",
        "kernel_meta_12_34",
        "offload",
        "superseded_step_00000001",
        ".uploading",
        "a.tmp",
    ],
)
def test_temporary_files_are_not_copied(name: str) -> None:
    """MindSpore and CANN write some of them into ``logs/`` on a card."""
    assert not _is_kept(name)
