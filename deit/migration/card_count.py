"""The cards of the ModelZoo's configurations."""

from __future__ import annotations

from deit.migration.translation import Reader

TARGETS = {"ascend": "ascend", "gpu": "gpu", "cpu": "cpu"}


def choose_hardware(reader: Reader) -> None:
    """The group ``hardware``, where the file says how many cards it means; else the command line decides, as there."""
    target, cards, card = reader.one_of("device_target", TARGETS), reader.whole("device_num"), reader.whole("device_id")
    if target == "cpu":
        reader.choose("hardware", "cpu", "device_target")
        reader.leave("device_num device_id", "the CPU has no cards")
    elif target is not None and cards is None:
        reader.refuse("device_target", f"the number of cards is not in the file; give hardware={target}1 or hardware={target}8")
    elif target is not None:
        reader.choose("hardware", f"{target}1" if cards == 1 else f"{target}8", "device_target, device_num")
        if cards not in (1, 8):
            reader.set("hardware.cards", cards, "device_num")
    if card is not None and target != "cpu":
        if cards == 1:
            reader.set("hardware.card_ids", [card], "device_id")
        else:
            reader.leave("device_id", "several cards: hardware.card_ids=[...]; null takes the first")
