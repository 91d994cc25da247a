"""The steps that are compiled for Ascend: a name, which step, and the configuration."""

from __future__ import annotations

from dataclasses import dataclass

# How many images there are changes no operator.
SMALL = (
    *("data=synthetic", "data.num_classes=10", "data.workers=0", "tracking=none", "hardware=ascend1"),
    *("data.batch_size=8", "data.eval_batch_size=8"),
)
STEPS = ("train", "evaluate", "explain", "teacher", "regnet", "export")
CARDS = ("ascend910b", "ascend910")  # 910B, 910A


@dataclass(frozen=True)
class Case:
    name: str
    step: str = "train"  # one of STEPS
    overrides: tuple[str, ...] = ()
    ranks: int = 1
    soc: str = "ascend910b"  # one of CARDS
    depth: int | None = 1  # blocks; None: those of the model
    jit_level: str = "O0"  # every operator is seen; O1 fuses some

    @property
    def settings(self) -> list[str]:
        """The command line of the configuration."""
        depth = [] if self.depth is None else [f"model.depth={self.depth}"]
        return [*SMALL, f"hardware.jit_level={self.jit_level}", *self.overrides, *depth]

    @property
    def process(self) -> tuple[int, str, str]:
        """Cases in which this is the same can share a process."""
        return self.ranks, self.soc, self.jit_level


# The default has mixing, erasing, gradient clipping, and drop path from the second block on.
CASES = (
    Case("o1", overrides=("ema=paper",), depth=2),
    Case("o2", overrides=("precision=o2", "ema=paper")),
    Case("o3", overrides=("precision=o3", "ema=paper")),
    Case("bf16", overrides=("precision=bf16", "ema=paper")),
    Case("fp32", overrides=("precision=fp32", "augment.remode=rand")),
    Case("hard_distillation", overrides=("model=deit_tiny_distilled", "distill=hard", "distill.teacher=teacher.safetensors")),
    Case("soft_distillation", overrides=("model=deit_tiny_distilled", "distill=soft", "distill.teacher=teacher.safetensors")),
    Case("accumulation", overrides=("optim.accumulation_steps=2",)),  # both graphs: a micro step and the last
    Case("dropout", overrides=("model.drop_rate=0.1",)),
    Case("sgd", overrides=("optim=sgd", "optim.clip_grad=1.0", "augment=none")),
    Case("deit3", overrides=("model=deit3_small", "optim=lamb", "loss=bce", "augment=deit3", "ema=paper"), depth=2),
    Case("ema_warmup", overrides=("ema=paper", "ema.warmup=true")),
    Case("evaluate", "evaluate"),
    Case("explain", "explain", depth=2),
    Case("teacher", "teacher"),
    Case("regnet_teacher", "regnet"),
    Case("export", "export", ("precision=fp32",)),
    Case("export_float16", "export", ("precision=o2",)),
    Case("ranks_8", overrides=("ema=paper",), ranks=8, depth=2),
    Case("910a", overrides=("precision=fp32",), soc="ascend910"),
    Case("deit_small", overrides=("model=deit_small", "ema=paper"), ranks=8, depth=None),
    # As a training on a 910B compiles them.
    Case("o1_fused", overrides=("ema=paper",), depth=2, jit_level="O1"),
    Case("deit_small_fused", overrides=("model=deit_small", "ema=paper"), ranks=8, depth=None, jit_level="O1"),
)
