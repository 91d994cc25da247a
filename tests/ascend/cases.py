"""The steps that are compiled for Ascend: a name, which step, and the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

# Small: how many blocks and images there are changes no operator.
SMALL = (
    *("data=synthetic", "data.num_classes=10", "data.workers=0", "tracking=none", "hardware=ascend1"),
    *("data.batch_size=8", "data.eval_batch_size=8", "model.depth=1"),
)
WHOLE_RECIPE = ("ema=paper", "optim.clip_grad=5.0")  # the default has mixing, erasing and drop path


@dataclass(frozen=True)
class Case:
    name: str
    step: str = "train"  # train, evaluate, explain, teacher, regnet, export
    overrides: tuple[str, ...] = ()
    ranks: int = 1
    soc: str = "ascend910b"
    settings: tuple[str, ...] = field(default=SMALL, repr=False)


CASES = (
    Case("o1", overrides=WHOLE_RECIPE),
    Case("evaluate", "evaluate"),
)
