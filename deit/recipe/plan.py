"""The numbers of a configuration: batch, learning rate and steps.

The dry run prints them, the rules check them, the launcher and the training loop use them, so that all four agree. Standard
library only.
"""

from __future__ import annotations

from dataclasses import dataclass

from deit.config.schema import RunConfig, ScheduleConfig
from deit.recipe.schedule import learning_rate, peak_lr


@dataclass(frozen=True)
class Plan:
    """A training in numbers."""

    schedule: ScheduleConfig
    train_images: int
    global_batch: int  # images of one optimizer step
    peak_lr: float  # the learning rate after warmup, scaled
    steps_per_epoch: int  # optimizer steps
    epochs: int  # of the schedule and its cooldown
    total_steps: int  # optimizer steps, cut by schedule.max_steps

    def learning_rate(self, step: int) -> float:
        """Learning rate of optimizer step ``step``, counted from 0."""
        return learning_rate(self.schedule, self.peak_lr, step, self.steps_per_epoch)


def plan(config: RunConfig, train_images: int) -> Plan:
    """The plan of a training on ``train_images`` images (of one epoch, train_limit applied).

    Without images ``steps_per_epoch`` is 0.
    """
    batch = global_batch(config)
    steps = steps_per_epoch(config, train_images)
    epochs = config.schedule.epochs + config.schedule.cooldown_epochs
    total = steps * epochs
    if config.schedule.max_steps is not None:
        total = min(total, config.schedule.max_steps)
    return Plan(config.schedule, train_images, batch, peak_lr(config.optim, batch), steps, epochs, total)


def ranks(config: RunConfig) -> int:
    """Processes of the whole training: one per card. A preview runs alone, but shows the first of so many."""
    return config.task.shown_ranks or config.hardware.cards * config.hardware.nodes


def global_batch(config: RunConfig) -> int:
    """Images of one optimizer step, over all cards, machines and accumulated passes."""
    return config.data.batch_size * ranks(config) * config.optim.accumulation_steps


def steps_per_epoch(config: RunConfig, train_images: int) -> int:
    """Optimizer steps of an epoch. An incomplete step is dropped, unless data.last_batch=fill or it is the only one.

    With repeated augmentation a rank takes floor(N // 256 * 256 / ranks) images (facebookresearch/deit: RASampler), or a share
    of all N where the last step is filled.
    """
    whole = train_images // global_batch(config)
    if config.augment.repeats > 1:
        a_rank = train_images // 256 * 256 // ranks(config)
        whole = a_rank // config.data.batch_size // config.optim.accumulation_steps
    return -(-train_images // global_batch(config)) if config.data.last_batch == "fill" or whole == 0 else whole


def expected_length(config: RunConfig) -> float:
    """Relative duration of a run, for ordering: image passes of one card times the multiply-adds of each."""
    from deit.models.shapes import gmacs  # late, because most commands do not need it

    cost = gmacs(config.model, config.data.num_classes or 1)
    if not config.task.is_training:
        return cost * (config.data.val_size or 1) / ranks(config)
    images = known_train_images(config) or 1
    passes = images * (config.schedule.epochs + config.schedule.cooldown_epochs)
    if config.schedule.max_steps is not None:
        passes = min(passes, config.schedule.max_steps * global_batch(config))
    return cost * passes / ranks(config)


def known_train_images(config: RunConfig) -> int | None:
    """The number of training images from the configuration, train_limit applied; None if unknown."""
    sizes = [size for size in (config.data.train_size, config.data.train_limit) if size is not None]
    return min(sizes) if config.data.train_size is not None else None
