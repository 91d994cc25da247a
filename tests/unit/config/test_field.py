"""A key of the schema has its help and limits, and lists have no shared default."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from deit.config.field import MISSING, option
from deit.config.frozen import leaves
from deit.config.tasks import TASKS


@dataclass
class Keys:
    rate: float = option("A rate.", unit="1/s", low=0, above=None)
    sizes: list[int] = option("Sizes.", default=[1, 2], length=2)


def test_metadata_keeps_only_given_values() -> None:
    rate, sizes = dataclasses.fields(Keys)
    assert dict(rate.metadata) == {"help": "A rate.", "unit": "1/s", "low": 0} and rate.default == MISSING == "???"
    assert dict(sizes.metadata) == {"help": "Sizes.", "length": 2}
    first, second = Keys(1.0), Keys(2.0)
    first.sizes.append(3)
    assert second.sizes == [1, 2] == Keys(3.0).sizes


def test_options_of_several_tasks_are_the_same() -> None:
    for key in ("which", "weights"):
        metadata = [field.metadata for kind in TASKS.values() for field in dataclasses.fields(kind) if field.name == key]
        assert len(metadata) > 4 and len({entry["choices"] for entry in metadata}) == 1
        assert all(entry["help"].startswith("Which ") for entry in metadata)


def test_leaves_of_nested_values() -> None:
    assert dict(leaves({"a": 1, "b": {"c": [2], "d": {"e": None}}, "f": {}})) == {"a": 1, "b.c": [2], "b.d.e": None}
