"""A summary of a split: for MLflow, and to distinguish two versions of the same folder."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from deit.data.source import Dataset, evenly

CONTENTS = 64  # images whose bytes are in the digest; all would take as long as an epoch


def fingerprint(dataset: Dataset) -> dict[str, Any]:
    """``{"images": N, "classes": [names], "counts": [images of each class], "digest": 16 hex digits}``.

    The digest covers the class names, all labels, and the names and bytes of up to 64 images, spread evenly.
    """
    digest = hashlib.sha256("\n".join(dataset.classes).encode())
    digest.update(np.asarray(dataset.labels, np.int64).tobytes())
    for index in evenly(len(dataset), CONTENTS):
        digest.update(dataset.name(int(index)).encode())
        try:
            digest.update(dataset.content(int(index)))
        except Exception as error:  # a broken file is part of the data, too
            digest.update(type(error).__name__.encode())
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    return {
        "images": len(dataset),
        "classes": list(dataset.classes),
        "counts": counts.tolist(),
        "digest": digest.hexdigest()[:16],
    }
