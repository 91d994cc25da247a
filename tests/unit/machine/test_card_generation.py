"""Names of boards and chips, as npu-smi and MindSpore write them, and the generation of each."""

from __future__ import annotations

from pathlib import Path

import pytest
from npu_tables import A2, A3, FIRST, ascend, stand_in

from deit.machine import card_generation, cards, npu_smi


@pytest.mark.parametrize(
    ("name", "chip", "total_mb", "generation"),
    [
        ("910A", 0, 32768, "910A"),
        ("910ProB", 0, 32768, "910A"),
        ("910PremiumA", 0, 32768, "910A"),
        ("910B", 0, 32768, "910A"),  # a board of the first generation is called so
        ("910B", 0, 65536, "910B"),
        ("910B", 0, None, None),
        ("910B3", 0, 65536, "910B"),
        ("910B4", 0, 32768, "910B"),
        ("910B2C", 0, 65536, "910B"),
        ("910B4-1", 0, 65536, "910B"),
        ("Ascend910B1", 0, None, "910B"),
        ("Ascend910", 0, 65536, "910_93"),
        ("Ascend910", 1, None, "910_93"),
        ("Ascend910", 0, 32768, "910A"),
        ("Ascend910", 0, None, None),
        ("910_9382", 0, 65536, "910_93"),
        ("310P3", 0, 44280, None),
        ("950PR", 0, 131072, None),
    ],
)
def test_the_generation_of_a_board(name: str, chip: int, total_mb: int | None, generation: str | None) -> None:
    assert card_generation.of_chip(npu_smi.Chip(0, 0, chip, name, "OK", total_mb=total_mb)) == generation


def test_the_generation_of_a_chip_of_mindspore() -> None:
    named = {soc: card_generation.of_soc(soc) for soc in ("ascend910", "ascend910b", "ascend910_93", "ascend310p", "")}
    assert named == {"ascend910": "910A", "ascend910b": "910B", "ascend910_93": "910_93", "ascend310p": None, "": None}


@pytest.mark.parametrize(
    ("table", "names", "numbers", "generation", "driver"),
    [
        (FIRST, ["910B", "910B"], [0, 1], "910A", "23.0.0"),
        (A2, ["910B3"] * 8, list(range(8)), "910B", "24.1.rc3"),
        (A3, ["Ascend910"] * 4, [0, 1, 2, 3], "910_93", "25.2.1"),
        ("Segmentation fault\n", [], [], None, None),
    ],
)
def test_the_cards_of_a_machine(
    table: str,
    names: list[str],
    numbers: list[int],
    generation: str | None,
    driver: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_in(tmp_path, table, monkeypatch)
    chips = npu_smi.chips(npu_smi.table())
    assert ([chip.name for chip in chips], [chip.number for chip in chips]) == (names, numbers)
    assert npu_smi.driver_version(npu_smi.table()) == driver
    hardware = ascend(cards=1, card_ids=numbers[-1:] or [0])
    assert cards.generation(hardware) == generation
    assert len(cards.chips(hardware)) == len(numbers[-1:])


def test_generation_is_unknown_without_npu_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cards.generation(ascend()) is None and not npu_smi.installed()
