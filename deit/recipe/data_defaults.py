"""Values of a training that follow from its data: what ``${auto:}`` means for each key that may have it.

``experiment=finetune`` uses them, and any file or command may. A pure function of the facts and of the values that are given:
a rule sees a typed batch size or number of epochs instead of its own. Each choice comes with its reason, which a dry run shows.
Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from deit.errors import UserError

STEPS = 25  # optimizer steps of an epoch that the batch should leave
SMALL, LARGE = 5_000, 50_000  # training images below and from which the augmentation is weak and strong
WIDTH = 384  # of DeiT-small, for which the learning rate is given; wider networks need smaller ones
COMPARISONS = 25  # evaluations of a training, at most


@dataclass(frozen=True)
class Facts:
    """What the rules start from."""

    images: int | None  # training images, train_limit applied; None if they are not here, or not used by the task
    device: str  # cpu, ascend or gpu
    ranks: int  # processes of the whole training
    gmacs: float  # billions of multiply-accumulates of an image's forward pass
    variant: str  # model.name
    width: int  # model.embed_dim
    official: str | None = None  # the official weights of the variant


@dataclass(frozen=True)
class Choice:
    value: Any
    why: str


UNKNOWN = 1_000  # images for which the rules choose if nobody has counted them


def derive(facts: Facts, asked: Iterable[str], given: Mapping[str, Any]) -> dict[str, Choice]:
    """A choice for each of the keys ``asked`` (dotted).

    ``given`` are the values of all other keys. Raises UserError for a key without a rule, and for official weights of a model
    that has none.
    """
    wanted = list(asked)
    unknown = [key for key in wanted if key not in RULES]
    if unknown:
        raise UserError("\n".join(f"{key} is ${{auto:}}, but has no rule; allowed for {', '.join(RULES)}." for key in unknown))
    rules = _Rules(facts, wanted, given)
    return {key: rules.choice(key) for key in wanted}


class _Rules:
    """The rules, each computed once, in the order in which they need each other."""

    def __init__(self, facts: Facts, asked: Iterable[str], given: Mapping[str, Any]) -> None:
        self.facts, self._asked, self._given = facts, set(asked), given
        self._chosen: dict[str, Choice] = {}

    def choice(self, key: str) -> Choice:
        if key not in self._chosen:
            self._chosen[key] = RULES[key](self)
        return self._chosen[key]

    def value(self, key: str) -> Any:
        return self.choice(key).value if key in self._asked else self._given.get(key)

    @property
    def images(self) -> int:
        return UNKNOWN if self.facts.images is None else self.facts.images

    @property
    def counted(self) -> str:
        """The training images, for a reason."""
        return f"as for {UNKNOWN:,} images, not counted" if self.facts.images is None else f"{self.images:,} training images"

    @property
    def pretrained(self) -> bool:
        return self.value("model.pretrained") is not None

    @property
    def passes(self) -> int:
        """Forward passes of one image each, other than data.batch_size, that make an optimizer step."""
        return self.facts.ranks * int(self.value("optim.accumulation_steps") or 1)

    @property
    def global_batch(self) -> int:
        return int(self.value("data.batch_size")) * self.passes

    @property
    def steps(self) -> int:
        """Optimizer steps of an epoch, without repeated augmentation."""
        filled = self._given.get("data.last_batch") == "fill"
        return max(1, -(-self.images // self.global_batch) if filled else self.images // self.global_batch)

    @property
    def largest_batch(self) -> int:
        """Images of a pass that fit in memory with room to spare, and beyond which nothing gets faster."""
        if self.facts.gmacs < 0.5:
            return 256
        if self.facts.device == "cpu":
            return 32
        return next((batch for most, batch in ((6, 128), (20, 64), (60, 32)) if self.facts.gmacs <= most), 16)

    def of_size(self, weak: Any, medium: Any, strong: Any) -> Choice:
        """For a kind of regularisation."""
        if self.images < SMALL:
            return Choice(weak, f"{self.counted}, fewer than {SMALL:,}")
        if self.images < LARGE:
            return Choice(medium, f"{self.counted}, from {SMALL:,} to {LARGE:,}")
        return Choice(strong, f"{self.counted}, at least {LARGE:,}: as in the DeiT paper")


def _power_of_two(most: float) -> int:
    """The largest that is not above ``most``, at least 1."""
    return 1 << max(0, math.floor(math.log2(max(1.0, most))))


def _batch_size(rules: _Rules) -> Choice:
    step = min(max(_power_of_two(rules.images / STEPS), min(8, _power_of_two(rules.images / 8))), 256)
    share = max(1, step // rules.passes)
    size = min(share, rules.largest_batch)
    limit = f"; at most {size} per process for this model and device" if size < share else ""
    return Choice(size, f"{rules.counted}: a power of two for about {STEPS} steps an epoch, 8 to 256 images in a step{limit}")


def _eval_batch_size(rules: _Rules) -> Choice:
    return Choice(rules.largest_batch, f"what {rules.facts.variant} needs on device {rules.facts.device}")


def _pretrained(rules: _Rules) -> Choice:
    if rules.facts.official is None:
        raise UserError(
            f"model.pretrained is ${{auto:}}, but there are no official weights of model.name={rules.facts.variant}; give "
            "model.pretrained=FILE, a run or a checkpoint, or model.pretrained=null to start from random weights."
        )
    return Choice(rules.facts.official, f"the official weights of {rules.facts.variant}")


def _epochs(rules: _Rules) -> Choice:
    steps, least, most = (3_000, 5, 50) if rules.pretrained else (12_000, 20, 200)
    begin = "from pretrained weights" if rules.pretrained else "from random weights"
    epochs = min(max(round(steps / rules.steps), least), most)
    return Choice(epochs, f"{rules.steps:,} steps an epoch; about {steps:,} in all {begin}, {least} to {most} epochs")


def _warmup_epochs(rules: _Rules) -> Choice:
    epochs = int(rules.value("schedule.epochs"))
    return Choice(min(max(1, round(epochs / 10)), epochs - 1), f"a tenth of {epochs} epochs")


def _eval_every(rules: _Rules) -> Choice:
    epochs = int(rules.value("schedule.epochs"))
    return Choice(-(-epochs // COMPARISONS), f"at most {COMPARISONS} evaluations in {epochs} epochs")


def _log_every(rules: _Rules) -> Choice:
    return Choice(min(max(1, rules.steps // 5), 50), f"five times in the {rules.steps:,} steps of an epoch, every 50 at most")


def _base_lr(rules: _Rules) -> Choice:
    at64, begin = (1e-4, "pretrained") if rules.pretrained else (5e-4, "random")
    batch, width = rules.global_batch, rules.facts.width
    peak = float(f"{at64 * (WIDTH / width) * math.sqrt(batch / 64):.2g}")
    why = f"{at64:g} x {WIDTH}/{width} for the width x sqrt({batch}/64) for the batch, from {begin} weights"
    base = rules.value("optim.lr_base_size")
    return Choice(peak if base is None else peak * base / batch, why)


def _ema_decay(rules: _Rules) -> Choice:
    total = rules.steps * int(rules.value("schedule.epochs"))
    decay = min(round(1 - 1 / max(10.0, total / 20), 4), 0.9999)
    return Choice(decay, f"an average over about a twentieth of {total:,} steps")


def _level(rules: _Rules) -> Choice:
    if rules.facts.device == "cpu":
        return Choice("O0", "float32 on the CPU, which half precision does not make faster")
    return Choice("O1", f"matrix products in half precision on device {rules.facts.device}")


def _loss_scale(rules: _Rules) -> Choice:
    level, dtype = rules.value("precision.level"), rules.value("precision.dtype")
    if level == "O0" or dtype == "bfloat16":
        return Choice("none", f"{'float32' if level == 'O0' else dtype} has enough range without it")
    return Choice("dynamic", f"{level} in {dtype}")


RULES: dict[str, Callable[[_Rules], Choice]] = {
    "model.pretrained": _pretrained,
    "data.batch_size": _batch_size,
    "data.eval_batch_size": _eval_batch_size,
    "schedule.epochs": _epochs,
    "schedule.warmup_epochs": _warmup_epochs,
    "schedule.eval_every": _eval_every,
    "checkpointing.every": lambda rules: Choice(rules.value("schedule.eval_every"), "as often as schedule.eval_every"),
    "tracking.log_every": _log_every,
    "schedule.cooldown_epochs": lambda rules: Choice(0, "the schedule itself ends at the smallest rate"),
    "schedule.granularity": lambda rules: Choice("step", "few epochs need a smooth schedule"),
    "optim.base_lr": _base_lr,
    "optim.lr_base_size": lambda rules: Choice(None, "optim.base_lr is by the batch already"),
    "optim.clip_grad": lambda rules: Choice(1.0, "a few odd images must not undo what was pretrained"),
    "ema.decay": _ema_decay,
    "model.drop_path_rate": lambda rules: rules.of_size(0.0, 0.05, 0.1),
    "augment.scale": lambda rules: rules.of_size([0.4, 1.0], [0.2, 1.0], [0.08, 1.0]),
    "augment.auto_augment": lambda rules: rules.of_size(*(f"rand-m{strength}-mstd0.5-inc1" for strength in (5, 7, 9))),
    "augment.reprob": lambda rules: rules.of_size(0.0, 0.1, 0.25),
    "augment.mixup": lambda rules: rules.of_size(0.0, 0.2, 0.8),
    "augment.cutmix": lambda rules: rules.of_size(0.0, 0.5, 1.0),
    "precision.level": _level,
    "precision.loss_scale": _loss_scale,
}
