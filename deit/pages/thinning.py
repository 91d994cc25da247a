"""Fewer points for a curve of the same shape."""

from __future__ import annotations

from collections.abc import Sequence

Curve = list[tuple[float, float]]  # (epoch, value)


def thin(curve: Sequence[tuple[float, float]], most: int) -> Curve:
    """At most ``most`` (3 or more) of the points, keeping the shape of the curve.

    Largest-Triangle-Three-Buckets (Steinarsson, 2013): keeps the first and last point, and from each bucket between them the
    point with the largest triangle to the previous kept point and the mean of the next bucket.
    """
    if len(curve) <= most:
        return list(curve)
    kept, inner = [curve[0]], len(curve) - 2
    edges = [1 + inner * i // (most - 2) for i in range(most - 1)] + [len(curve)]
    for start, end, after in zip(edges, edges[1:], edges[2:], strict=False):
        x0, y0 = kept[-1]
        ahead = curve[end:after] or curve[-1:]
        x2, y2 = sum(x for x, _ in ahead) / len(ahead), sum(y for _, y in ahead) / len(ahead)
        area = [abs((x0 - x2) * (y - y0) - (x0 - x) * (y2 - y0)) for x, y in curve[start:end]]
        kept.append(curve[start + area.index(max(area))])
    return [*kept, curve[-1]]
