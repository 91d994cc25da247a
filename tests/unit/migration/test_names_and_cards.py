"""Model names and numbers of cards in configurations of other programs."""

from __future__ import annotations

from typing import Any

import pytest

from deit.errors import UserError
from deit.migration.card_count import choose_hardware
from deit.migration.translation import Reader, Translation
from deit.migration.variant_names import choose_model


def model(name: str) -> str:
    reader = Reader("theirs", {"arch": name, "side": 224}, {})
    choose_model(reader, "arch", "side")
    return reader.result.groups["model"]


def hardware(**theirs: Any) -> Translation:
    reader = Reader("theirs", theirs, {})
    choose_hardware(reader)
    return reader.result


def test_names_of_timm_and_of_the_modelzoo_are_options() -> None:
    assert model("deit_small_patch16_224") == "deit_small" and model("deit_tiny") == "deit_tiny"
    assert model("deit_base_distilled_patch16_384") == "deit_base_distilled_384"
    for name in ("vit_base_patch16_224", "deit_small_distilled_patch16_384", "deit_huge"):
        with pytest.raises(UserError, match="allowed: deit_tiny, deit_small, deit_base"):
            model(name)


def test_cards_are_translated_if_their_number_is_known() -> None:
    assert hardware(device_target="Ascend", device_num=8).groups["hardware"] == "ascend8"
    one = hardware(device_target="Ascend", device_num=1, device_id=3)
    assert one.groups["hardware"] == "ascend1" and one.values["hardware.card_ids"] == [3]
    four = hardware(device_target="GPU", device_num=4)
    assert four.groups["hardware"] == "gpu8" and four.values["hardware.cards"] == 4
    assert hardware(device_target="CPU", device_num=8).groups["hardware"] == "cpu"
    assert "device_target" in hardware(device_target="Ascend").refused
