"""The warning about folders that are ordered differently as text and as numbers."""

from __future__ import annotations

import pytest

from deit import notes
from deit.config.class_names import natural
from deit.config.schema import DataConfig
from deit.preflight.label_order import warn_of_order

NUMBERED = sorted(map(str, range(12)))


def test_the_natural_order_is_that_of_timm() -> None:
    """``sorted(names, key=natural_key)`` of timm 1.0.31."""
    assert natural(NUMBERED) == list(map(str, range(12)))
    assert natural(["b10", "B9", "a", "b9x", "2a"]) == ["2a", "a", "B9", "b9x", "b10"]


@pytest.mark.parametrize(
    ("classes", "changes", "warned"),
    [
        (NUMBERED, {}, True),
        (NUMBERED, {"class_map": "names.txt"}, False),
        (NUMBERED, {"source": "digits"}, False),
        (["a", "b"], {}, False),
        (["n01440764", "n01443537"], {}, False),
    ],
)
def test_label_order_warning_appears_only_if_orders_differ(
    classes: list[str],
    changes: dict[str, str],
    warned: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notes, "_said", set())
    warn_of_order(DataConfig(**{"source": "imagefolder", **changes}), classes, "checkpoint=x.pth")
    said = capsys.readouterr().err
    assert ("checkpoint=x.pth: does not name its classes" in said) == warned
    assert ("label 2 is 10 here and 2 there" in said and "data.class_map=FILE" in said) == warned
