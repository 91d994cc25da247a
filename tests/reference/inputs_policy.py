"""Policies of RandAugment as people write them, and magnitudes that only timm's mmax allows."""

from __future__ import annotations

TEXTS = (
    "rand",
    "rand-m9-mstd0.5-inc1",  # DeiT
    "rand-m9-mstd0.5",
    "rand-m9-inc1-mstd0.5",
    "rand-m7-mstd0.5-inc1",
    "rand-m15-n2-mstd0.5",
    "rand-m15-mstd0.5-inc1",
    "rand-m10-inc0",
    "rand-m0",
    "rand-m5-n1",
    "rand-n3-m7",
    "rand-n4-mstd1",
    "rand-mstd1",
    "rand-mstd0",
    "rand-mstd2.75-inc1",
    "rand-mstd100",
    "rand-mstd101",
    "rand-m8-mstd101.5-inc1",
    "rand-m20-mmax20",
    "rand-m12-mmax15-mstd1.5-inc1",
    "rand-mmax5",
    "rand-p0.3",
    "rand-m6-n4-p1",
    "rand-p1.0-mstd0.5",
    "rand-p0",
    "rand-m9-n3-mstd0.5-p0.75-mmax12-inc1",
    "rand-tweights",
    "rand-m9-mstd0.5-tweights",
    "rand-t3a",
    "rand-m6-inc1-t3a-n1",
    "rand-m7-mstd0.5-t3aw",
)
# What timm 0.3.2 reads and timm 1.0.31 does not: its weights.
OLD_TEXTS = ("rand-m9-mstd0.5-inc1", "rand-mstd1-w0", "rand-w0-inc1-m4-n3", "rand-n1-m8", "rand")
REFUSED = ("rand-m9.5", "rand-q9", "rand-n1.5", "rand-m9-mtsd0.5", "rand-9", "rand-w0", "rand-mstd0.5.1", "augmix-m5", "v0")

MOST = 30  # timm's mmax
LEVELS = (10.5, 12.0, 15.0, 20.0, 27.3, 30.0)

SAMPLED = (
    "rand-m8-n3-mstd101-p0.8-inc1",
    "rand-m13-mstd3-mmax16-inc1",
    "rand-m9-n3-mstd0.5-tweights",
    "rand-m6-mstd1-t3aw",
    "rand-m5-mstd2-t3a-p0.7",
)
SAMPLES = 5_000

# Heights and widths of the pictures that the simple random crop takes: larger, smaller and of the size of the result.
CROPPED = ((90, 120), (121, 55), (40, 40), (40, 63), (23, 31))
