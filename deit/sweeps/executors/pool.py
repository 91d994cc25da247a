"""Allocation of cards to trials, without side effects, so that benchmarks can simulate it.

Cards of a server are wired in groups (four Ascend 910 of eight form a ring), and numbered so that a group is contiguous. So a
trial of n cards gets n contiguous ones that begin at a multiple of n if possible, from the smallest sufficient gap, which
keeps large gaps for large trials.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

SERVER = 16  # cards of the largest servers


class CardPool:
    """Cards by number; only ``take`` and ``give_back`` change it."""

    def __init__(self, cards: Collection[int]) -> None:
        self.cards = tuple(sorted(cards))
        self.free = set(self.cards)

    def take(self, count: int, wanted: Sequence[int] | None = None, without: Collection[int] = ()) -> list[int] | None:
        """``count`` free cards, or exactly those ``wanted``, without those in ``without``. None if they are not free."""
        free = self.free - set(without)
        if wanted is not None:
            chosen = list(wanted) if free.issuperset(wanted) else None
        else:
            chosen = _neighbours(free, count) or (sorted(free)[:count] if len(free) >= count else None)
        if chosen is not None:
            self.free.difference_update(chosen)
        return chosen

    def give_back(self, cards: Iterable[int]) -> None:
        """Return cards that were taken."""
        returned = set(cards)
        assert returned <= set(self.cards) and not returned & self.free, f"{returned} were not taken"
        self.free |= returned


def _neighbours(free: set[int], count: int) -> list[int] | None:
    """An aligned block in the smallest gap that has one, which keeps larger blocks whole."""
    starts = sorted({card - card % count for card in free})
    blocks = [list(range(start, start + count)) for start in starts]
    fitting = [block for block in blocks if free.issuperset(block)]
    return min(fitting, key=lambda block: (_room(free, block[0], count), block[0]), default=None)


def _room(free: set[int], start: int, count: int) -> int:
    """Size of the largest aligned free block around a free one, up to the size of a server."""
    size = count
    while size < SERVER:
        around = start - start % (2 * size)
        if not free.issuperset(range(around, around + 2 * size)):
            return size
        size *= 2
    return size
