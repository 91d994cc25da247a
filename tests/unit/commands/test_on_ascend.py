"""What a start on an Ascend server refuses before it writes anything; the server is an npu-smi that prints its table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command import Outcome
from npu_tables import A2, FIRST, stand_in

from deit.machine import cards

TRAIN = ("experiment=quickstart", "hardware=ascend1")
NARROW = ("model.embed_dim=24", "model.num_heads=3")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    (tmp_path / "dev").mkdir()
    for number in range(2):
        (tmp_path / "dev" / f"davinci{number}").touch()
    monkeypatch.setattr(cards, "DEVICES", tmp_path / "dev")
    monkeypatch.delenv("MS_ASCEND_CHECK_OVERFLOW_MODE", raising=False)
    monkeypatch.delenv("ASCEND_RT_VISIBLE_DEVICES", raising=False)
    return lambda table: (stand_in(tmp_path / "bin", table, monkeypatch), None)[1]


@pytest.mark.parametrize(
    ("table", "arguments", "words"),
    [
        (FIRST, ["precision=o1"], ["precision.level is O1", "910A", "precision=fp32"]),
        (FIRST, ["precision=bf16", "model.attention=flash"], ["precision.dtype is bfloat16", "910A", "attention=auto"]),
        (A2, ["precision=o1", "model.attention=flash", *NARROW], ["a multiple of 16", "which is 8", "attention=auto"]),
    ],
)
def test_unsupported_precision_is_rejected_before_the_start(
    table: str, arguments: list[str], words: list[str], server: Callable[[str], None], command: Callable[..., Outcome]
) -> None:
    server(table)
    outcome = command(*TRAIN, *arguments)
    assert outcome.code == 2 and "Traceback" not in outcome.err
    assert [word for word in words if word not in outcome.err] == []
    assert not Path("runs").exists()


def test_saturation_mode_is_rejected_and_supported_settings_are_not(
    server: Callable[[str], None], command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    server(A2)
    assert command(*TRAIN, "precision=o1", "model.attention=flash", "dry_run=true").code == 0
    monkeypatch.setenv("MS_ASCEND_CHECK_OVERFLOW_MODE", "SATURATION_MODE")
    outcome = command(*TRAIN, "precision=o1")
    assert outcome.code == 2 and "MS_ASCEND_CHECK_OVERFLOW_MODE=SATURATION_MODE" in outcome.err
    assert "INFNAN_MODE" in outcome.err and not Path("runs").exists()
    assert command("experiment=quickstart", "hardware=cpu", "dry_run=true").code == 0
