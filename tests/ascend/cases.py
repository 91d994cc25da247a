"""The steps that are compiled for Ascend: a name, which step, and the configuration."""

from __future__ import annotations

from dataclasses import dataclass

# How many images there are changes no operator.
SMALL = (
    *("data=synthetic", "data.num_classes=10", "data.workers=0", "tracking=none", "hardware=ascend1"),
    *("data.batch_size=8", "data.eval_batch_size=8"),
)


@dataclass(frozen=True)
class Case:
    name: str
    step: str = "train"  # train, evaluate, explain, teacher, regnet, export
    overrides: tuple[str, ...] = ()
    ranks: int = 1
    soc: str = "ascend910b"
    depth: int | None = 1  # blocks; None: those of the model

    @property
    def settings(self) -> list[str]:
        """The command line of the configuration."""
        return [*SMALL, *self.overrides, *([] if self.depth is None else [f"model.depth={self.depth}"])]


# The default has mixing, erasing, gradient clipping, and drop path from the second block on.
CASES = (
    Case("o1", overrides=("ema=paper",), depth=2),
    Case("evaluate", "evaluate"),
)
