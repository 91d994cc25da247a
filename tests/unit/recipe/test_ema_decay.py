"""The decay of the moving average against timm's ModelEmaV3."""

from __future__ import annotations

import pytest

from deit.config.schema import EmaConfig
from deit.recipe.ema_decay import decay_at

STEPS = (1, 2, 3, 10, 100, 1000, 100_000, 3_000_000)
# ModelEmaV3(model, use_warmup=True, **keys).get_decay(step) of timm 1.0.31, which counts the update itself.
TIMM = [
    (
        {"decay": 0.9999},
        [0.0, 0.3700394750525634, 0.5192501432308638, 0.7845565309968117, 0.9535841116638722, 0.99, 0.9995358411166387, 0.9999],
    ),
    ({"decay": 0.9}, [0.0, 0.3700394750525634, 0.5192501432308638, 0.7845565309968117, 0.9, 0.9, 0.9, 0.9]),
    (
        {"decay": 0.9999, "warmup_gamma": 10.0, "warmup_power": 0.75},
        [
            *(0.0, 0.06898755537777723, 0.12780405050657873, 0.3820763758189376),
            *(0.8333021008570076, 0.9685890099439638, 0.9990000674946848, 0.9999),
        ],
    ),
]


@pytest.mark.parametrize(("keys", "wanted"), TIMM)
def test_the_warm_up_is_that_of_timm(keys: dict[str, float], wanted: list[float]) -> None:
    ema = EmaConfig(enabled=True, warmup=True, **keys)
    assert [decay_at(ema, step - 1) for step in STEPS] == pytest.approx(wanted, rel=1e-12, abs=1e-15)


def test_a_sequence_of_updates_is_that_of_timm() -> None:
    """``ModelEmaV3.update(model, step)`` of a weight that is 1 first, then 1, 4, 9, ... after the steps 1, 2, 3, ..."""
    ema, average, found = EmaConfig(enabled=True, decay=0.9, warmup=True), 1.0, []
    for done in range(6):
        decay = decay_at(ema, done)
        average = decay * average + (1 - decay) * (done + 1) ** 2
        found.append(average)
    timm = [1.0, 2.8898816108703613, 5.827320098876953, 9.864350318908691, 15.040669441223145, 21.388275146484375]
    assert found == pytest.approx(timm, rel=1e-6)


def test_without_warm_up_the_decay_is_constant() -> None:
    assert {decay_at(EmaConfig(enabled=True, decay=0.5), done) for done in (0, 1, 10**6)} == {0.5}
