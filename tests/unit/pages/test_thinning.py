"""Curves with fewer points."""

from __future__ import annotations

from deit.pages.thinning import thin


def test_a_spike_and_both_ends_are_kept() -> None:
    curve = [(float(x), 9.0 if x == 333 else 0.0) for x in range(1000)]
    found = thin(curve, 10)
    assert len(found) == 10 and found[0] == curve[0] and found[-1] == curve[-1] and (333.0, 9.0) in found
    assert thin(curve[:10], 10) == curve[:10] and thin([], 10) == []
