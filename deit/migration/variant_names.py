"""The options of ``model`` by the names that other programs give to DeiT."""

from __future__ import annotations

import re

from deit.errors import UserError
from deit.migration.translation import Reader

NAMES = re.compile(r"deit_(?P<size>tiny|small|base)(?P<distilled>_distilled)?(_patch16)?(_(?P<side>224|384))?")
WITH_384 = ("deit_base", "deit_base_distilled")


def choose_model(reader: Reader, key: str, side_key: str) -> None:
    """Set the group ``model`` and the image size. Raises UserError if the network is not a DeiT that is here."""
    name, side = reader.text(key), reader.whole(side_key)
    match = NAMES.fullmatch(name or "")
    option = f"deit_{match['size']}{match['distilled'] or ''}" if match else ""
    if match is None or (option == "deit_small_distilled" and match["side"] == "384"):
        raise UserError(f"{key} is {name!r}; allowed: deit_tiny, deit_small, deit_base and their names of timm.")
    if match["side"] == "384" and option in WITH_384:
        option += "_384"
    reader.choose("model", option, key)
    reader.set("model.img_size", side, side_key)
