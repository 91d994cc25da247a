"""``dry_run=true``: every check of a start, and what it would do, as a table, without starting or writing anything."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from rich.table import Table
from rich.text import Text

from deit.compose import auto_keys
from deit.config.addresses import is_remote
from deit.config.schema import RunConfig, sides, size_text
from deit.console import console, titled
from deit.errors import UserError
from deit.models.freezing import is_trained, trained_count
from deit.models.shapes import gmacs, parameter_count, parameter_shapes
from deit.optim.parameter_groups import decayed, lr_scales
from deit.preflight import unchecked
from deit.recipe import lr_curve
from deit.recipe.augmentation import summary
from deit.recipe.plan import Plan, known_train_images, plan, ranks

Ready = TypeVar("Ready")
Rows = list[tuple[str, str]]


def rehearse(ready: Callable[[], Ready], outline: Callable[[Ready | None], None]) -> None:
    """Let ``ready`` do the checks of a start, then ``outline`` say what would be done with its result.

    Where it raises UserError, that is raised again below the outline, which then gets None.
    """
    try:
        found = ready()
    except UserError:
        outline(None)
        console().print("dry run: nothing was started or written, and this start would be refused:")
        raise
    outline(found)
    for line in unchecked.lines():
        console().print(titled("not checked", f" {line}"))
    console().print("dry run: nothing was started or written")


def show(
    config: RunConfig, recipe: Callable[[RunConfig, Plan | None], Rows], *, trains: bool, resumable: bool, starts: bool
) -> None:
    """Print what is computed on what; then the ``recipe`` of the task, which gets the steps if it ``trains`` and its images are
    here; the learning rate, if it is ``resumable``; and the command of the worker, if one ``starts``.
    """
    from deit.launching.worker_command import worker_command

    images, classes, source = _counted(config, trains)
    split, number = "training" if trains else "validation", "an unknown number of" if images is None else f"{images:,}"
    rows = [
        ("name", config.name),
        ("task", config.task.name),
        ("model", _model(config, classes)),
        ("data", f"{config.data.name}: {number} {split} images in {classes or 'unknown'} classes ({source})"),
    ]
    rows += recipe(config, plan(config, images) if trains and images else None)
    console().print(_grid((titled(label), value) for label, value in rows))
    if chosen := auto_keys.chosen():
        console().print(titled("\nchosen for this data and machine", "; a typed KEY=VALUE replaces each of these"))
        console().print(_grid((auto_keys.typed(key, choice), choice.why) for key, choice in chosen.items()))
    if resumable:
        console().print(titled("\nlearning rate", f"\n{lr_curve.plot_text(config)}"))
    if starts:
        console().print(titled("\nwould start", f" {shlex.join(worker_command(config, _example(config)))}"))
    console().print("every key: --cfg job --resolve")


def _grid(rows: Iterable[tuple[str | Text, str]]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 3, 0, 0), pad_edge=False)
    for row in rows:
        table.add_row(*row)
    return table


def _example(config: RunConfig) -> Path:
    """An example of a run directory; only the time and the id are not known yet."""
    folder = Path("runs") if is_remote(config.runs_dir) else Path(config.runs_dir)
    return folder.absolute() / config.name / "RUN"


def _counted(config: RunConfig, trains: bool) -> tuple[int | None, int | None, str]:
    """The number of images and classes, if they are not here those of the configuration, and where these are from."""
    from deit.data.datasets import open_dataset

    try:
        dataset = open_dataset(config.data, train=trains)
    except UserError as error:
        return known_train_images(config), config.data.num_classes, f"not counted: {error}"
    return len(dataset), len(dataset.classes), "counted"


def _model(config: RunConfig, classes: int | None) -> str:
    model, size = config.model, "number of classes unknown"
    if classes is not None:
        size = f"{parameter_count(model, classes):,} parameters, {gmacs(model, classes):.3f} GMACs"
    grey = "" if model.in_chans == 3 else " grey" if model.in_chans == 1 else f" {model.in_chans} channels"
    shape = f"{size_text(model.img_size)} px{grey}, patches of {model.patch_size}, width {model.embed_dim}, depth {model.depth}"
    return f"{model.name}: {size}; {shape}, {model.num_heads} heads"


def hardware(config: RunConfig) -> tuple[str, str]:
    """The row of the hardware."""
    machine = config.hardware
    of = f"{machine.target}, {machine.cards} card(s) on {machine.nodes} machine(s), {ranks(config)} process(es) in total"
    return "hardware", of


def device(config: RunConfig) -> Rows:
    """The device and precision."""
    return [hardware(config), ("precision", _precision(config))]


def _precision(config: RunConfig) -> str:
    precision = config.precision
    if precision.level == "O0":
        return "float32 (O0)"
    scale = "no loss scale" if precision.loss_scale == "none" else f"{precision.loss_scale} loss scale"
    return f"{precision.level}, {precision.dtype}, {scale}"


def weights(config: RunConfig) -> Rows:
    """The weights and the batch size."""
    of = f"run {config.run} ({getattr(config.task, 'which', '')})" if config.run else f"checkpoint {config.checkpoint}"
    return [("weights", of), ("batch", f"{config.data.eval_batch_size} per card")]


def training(config: RunConfig, planned: Plan | None) -> Rows:
    """The whole recipe; ``planned`` are its steps, if the number of images is known."""
    data, optim, schedule, ema = config.data, config.optim, config.schedule, config.ema
    numbers = planned or plan(config, 0)
    factors = f"{data.batch_size} x {config.hardware.cards} cards x {config.hardware.nodes} machines"
    scaled = (
        "not scaled" if optim.lr_base_size is None else f"{optim.base_lr:g} x {numbers.global_batch} / {optim.lr_base_size}"
    )
    steps = "unknown without the number of images"
    if planned is not None:
        steps = f"{planned.steps_per_epoch:,} per epoch, {planned.total_steps:,} in total"
        if planned.total_steps < planned.steps_per_epoch * planned.epochs:
            steps += f" (cut by schedule.max_steps={schedule.max_steps})"
    late = ", set after each epoch" if schedule.timing == "end" else ""
    return [
        ("batch", f"{numbers.global_batch} = {factors} x {optim.accumulation_steps} accumulated"),
        (
            "optimizer",
            f"{optim.name}, peak learning rate {numbers.peak_lr:.4g} ({scaled}), weight decay {optim.weight_decay:g}",
        ),
        ("starts from", config.model.pretrained or "initial weights"),
        *_layer_decay(config, numbers),
        *_groups(config),
        ("clipping", "none" if optim.clip_grad is None else f"global norm {optim.clip_grad:g}"),
        (
            "schedule",
            f"{schedule.name} by {schedule.granularity}{late}: {schedule.epochs} epochs, of which {schedule.warmup_epochs} "
            f"warmup from {schedule.warmup_lr:g}; then {schedule.cooldown_epochs} cooldown at {schedule.min_lr:g}",
        ),
        ("steps", steps),
        *_patience(config),
        *([] if data.balance == "none" else [("balance", f"{data.balance}, of the classes in an epoch")]),
        ("augment", summary(config.augment)),
        ("loss", _loss(config)),
        ("EMA", f"decay {ema.decay:g}{' after warm-up' if ema.warmup else ''}" if ema.enabled else "off"),
        ("distill", _distill(config)),
    ]


def _loss(config: RunConfig) -> str:
    loss, text = config.loss, config.loss.name
    if config.model.distilled and config.distill.type == "none":
        text += ", mean over both heads"
    if loss.name == "bce":
        return text if loss.target_threshold is None else f"{text}, targets above {loss.target_threshold:g} are 1"
    return text if loss.class_weights == "none" else f"{text}, class weights {loss.class_weights}"


def _distill(config: RunConfig) -> str:
    distill = config.distill
    if distill.type == "none":
        return "off"
    size = sides(distill.img_size or config.model.img_size)
    own = [f"{size_text(size)} px"] if size != config.model.image_size else []
    own += ["its own mean and deviation"] if (distill.mean or config.data.mean) != config.data.mean else []
    return f"{distill.type} from {distill.teacher}" + (f", with {' and '.join(own)}" if own else "")


def _patience(config: RunConfig) -> Rows:
    epochs, monitor = config.schedule.patience, config.checkpointing.monitor
    return [] if epochs is None else [("stops early", f"after {epochs} epochs without a better {monitor}")]


def _layer_decay(config: RunConfig, planned: Plan) -> Rows:
    factor = config.optim.layer_decay
    if factor == 1:
        return []
    scales = lr_scales(parameter_shapes(config.model, 1), factor)
    lowest = planned.peak_lr * min(scale for name, scale in scales.items() if is_trained(name, config.model.freeze))
    return [("layer decay", f"{factor:g} per layer: peaks from {lowest:.4g} in the first to {planned.peak_lr:.4g} in the head")]


def trained_text(config: RunConfig) -> str:
    """How many parameters a training with ``model.freeze`` changes."""
    assert config.data.num_classes is not None
    trained, every = (count(config.model, config.data.num_classes) for count in (trained_count, parameter_count))
    return f"{trained:,} of {every:,} parameters (model.freeze={config.model.freeze})"


def _groups(config: RunConfig) -> Rows:
    # The size of the head depends on the number of classes.
    if config.data.num_classes is None:
        return []
    every = parameter_shapes(config.model, config.data.num_classes)
    shapes = {name: shape for name, shape in every.items() if is_trained(name, config.model.freeze)}
    is_decayed = decayed(shapes, config.optim.decay_dist_token)
    rows = [("trained", trained_text(config))] if config.model.freeze != "none" else []
    for label, wanted in (("decayed", True), ("not decayed", False)):
        names = [name for name in shapes if is_decayed[name] is wanted]
        rows.append((label, f"{len(names)} tensors, {sum(math.prod(shapes[name]) for name in names):,} parameters"))
    return rows
