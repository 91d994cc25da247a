"""A sample of what a RandAugment of timm draws: which operations, how many of them, with which arguments."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from reference.inputs_augment import SEED


def sample(key: str, policy: Any, images: int) -> dict[str, np.ndarray]:
    """Of so many images: how many had 0, 1, ... operations; the operation and the argument of each that was applied."""
    drawn: list[tuple[int, float]] = []

    def recorder(number: int) -> Callable:
        def record(image: Any, *arguments: float, **_: Any) -> Any:
            drawn.append((number, arguments[0] if arguments else 0.0))
            return image

        return record

    for number, operation in enumerate(policy.ops):
        operation.aug_fn = recorder(number)
    random.seed(SEED)
    np.random.seed(SEED)
    ends = [0]
    for _ in range(images):
        policy(None)
        ends.append(len(drawn))
    operations, arguments = zip(*drawn, strict=True)
    return {
        f"{key}.layers": np.bincount(np.diff(ends), minlength=policy.num_layers + 1),
        f"{key}.operations": np.array(operations, np.uint8),
        f"{key}.arguments": np.array(arguments, np.float32),
    }
