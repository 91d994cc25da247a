"""Values that do not go together: each rule names the keys, what was found and how to mend it.

Pure functions of the configuration. A hardware.target of ``auto`` is judged when it is known: the launcher
puts the real target in its place and asks again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from deit import plan
from deit.config.keys import spoken
from deit.config.schema import ConvertTask, PreviewTask, RunConfig, SgdOptim
from deit.errors import UserError

CLASSES = {"cifar10": 10, "cifar100": 100, "digits": 10}
WITHOUT_FOLDER = ("digits", "synthetic")
# Groups that a task does not look at, whatever stands in them.
IDLE_GROUPS = {
    "evaluate": ("augment", "optim", "schedule", "ema", "distill", "checkpointing"),
    "preview": ("optim", "schedule", "ema", "distill", "checkpointing", "precision"),
    "convert": ("data", "augment", "optim", "schedule", "ema", "distill", "precision", "hardware", "checkpointing"),
}


def problems(config: RunConfig) -> list[str]:
    """One line for each broken rule. The values must have passed ``check.problems``."""
    found = _names(config) + _task(config)
    if config.task.name == "convert":  # which needs neither data nor device
        return found + _model(config)
    found += _data(config)
    if config.task.name != "preview":  # which has no network, no device and no metrics
        found += _model(config) + _hardware(config) + _precision(config) + _tracking(config)
    if config.task.name in ("train", "preview"):
        found += _augment(config) + _batch(config)
    if config.task.name == "train":
        found += _distill(config) + _schedule(config)
    return found


def _names(config: RunConfig) -> list[str]:
    return [
        f"{key} is {value!r}, but it names a folder; allowed: letters, digits, `.`, `_` and `-`, the first a letter or digit."
        for key, value in (("name", config.name), ("model.name", config.model.name), ("data.name", config.data.name))
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value)
    ]


def _task(config: RunConfig) -> list[str]:
    task = config.task.name
    given = [key for key in ("run", "checkpoint", "resume") if getattr(config, key) is not None]
    values = ", ".join(f"{key}={getattr(config, key)}" for key in given)
    if task == "train" and set(given) - {"resume"}:
        return [f"{values} with task=train: run and checkpoint say what to evaluate; give task=evaluate, or resume= to go on."]
    if task in ("evaluate", "convert") and "resume" in given:
        return [f"{values} with task={task}: resume goes on with a training; give run= or checkpoint= instead."]
    if task == "preview" and set(given) - {"run"}:
        return [f"{values} with task=preview: it looks at no weights; give run= for the recipe of a run, or leave them out."]
    if task in ("evaluate", "convert") and len(given) != 1:
        found = f"both are given ({values})" if given else "neither is given"
        return [f"task={task} needs either run (a run directory, `last`, an MLflow run id) or checkpoint, but {found}."]
    return []


def _model(config: RunConfig) -> list[str]:
    model, found = config.model, []
    if model.embed_dim % model.num_heads:
        found.append(
            f"model.embed_dim is {model.embed_dim} and model.num_heads {model.num_heads}, but the heads share the width "
            f"evenly; embed_dim must be a multiple of num_heads, such as {_multiple(model.embed_dim, model.num_heads)}."
        )
    if model.img_size % model.patch_size:
        found.append(
            f"model.img_size is {model.img_size} and model.patch_size {model.patch_size}, but the patches tile the image; "
            f"img_size must be a multiple of patch_size, such as {_multiple(model.img_size, model.patch_size)}."
        )
    return found


def _multiple(value: int, of: int) -> int:
    return max(of, round(value / of) * of)


def _data(config: RunConfig) -> list[str]:
    data, found = config.data, []
    if data.source in WITHOUT_FOLDER and data.root is not None:
        found.append(f"data.root is {data.root!r}, but data.source={data.source} reads no folder; give data.root=null.")
    if data.source not in WITHOUT_FOLDER and not data.root:
        found.append(f"data.root is {spoken(data.root)}, but data.source={data.source} reads a folder; give data.root=FOLDER.")
    classes = CLASSES.get(data.source)
    if classes is not None and data.num_classes not in (None, classes):
        found.append(f"data.num_classes is {data.num_classes}, but data.source={data.source} has {classes}.")
    if data.source == "synthetic":
        made = ("num_classes", "train_size", "val_size")
        found += [
            f"data.{key} is null, but data.source=synthetic makes its images; give data.{key}=NUMBER."
            for key in made
            if getattr(data, key) is None
        ]
    return found


def _augment(config: RunConfig) -> list[str]:
    augment, batch, found = config.augment, config.data.batch_size, []
    mixing = [key for key in ("mixup", "cutmix") if getattr(augment, key) > 0]
    if batch % 2 and mixing and augment.mixup_prob > 0:
        values = " and ".join(f"augment.{key}={getattr(augment, key):g}" for key in mixing)
        found.append(
            f"data.batch_size is {batch}, but {values} pairs the images of a batch; allowed: an even number, or "
            "augment.mixup=0 augment.cutmix=0."
        )
    for key in ("scale", "ratio"):
        least, most = getattr(augment, key)
        if least > most:
            found.append(f"augment.{key} is [{least:g}, {most:g}], but the first is the least; give [{most:g}, {least:g}].")
    if augment.auto_augment is not None:
        from deit.data.policy import parse_policy  # here, so that most commands need no NumPy

        try:
            parse_policy(augment.auto_augment)
        except UserError as error:
            found.append(str(error))
    return found


def _distill(config: RunConfig) -> list[str]:
    distill, model, found = config.distill, config.model, []
    if distill.type == "none":
        if distill.teacher is not None:
            found.append(f"distill.teacher is {distill.teacher!r}, but distill.type=none has no teacher; give distill=hard.")
        if model.distilled:
            found.append(
                f"model.distilled is true (model={model.name}), but distill.type=none leaves its distillation head untrained; "
                "give distill=hard distill.teacher=RUN, or a model without `distilled`."
            )
        return found
    if not model.distilled:
        found.append(
            f"distill.type is {distill.type}, but model.distilled is false (model={model.name}); "
            "give a distilled model, such as model=deit_small_distilled."
        )
    if distill.teacher is None:
        found.append(f"distill.type is {distill.type}, but distill.teacher is null; give distill.teacher=RUN, or distill=none.")
    return found


def _batch(config: RunConfig) -> list[str]:
    images = plan.known_train_images(config)
    return [too_few_images(config, images)] if images is not None and plan.steps_per_epoch(config, images) == 0 else []


def _schedule(config: RunConfig) -> list[str]:
    schedule, found = config.schedule, []
    if schedule.warmup_epochs >= schedule.epochs:
        found.append(
            f"schedule.warmup_epochs is {schedule.warmup_epochs} and schedule.epochs {schedule.epochs}; "
            "allowed: less warmup than epochs, of which it is a part."
        )
    peak = plan.peak_lr(config.optim, plan.global_batch(config))
    idle = {"warmup_lr": schedule.warmup_epochs == 0, "min_lr": schedule.name == "constant" and schedule.cooldown_epochs == 0}
    for key, unused in idle.items():
        value = getattr(schedule, key)
        if value > peak and not unused:
            found.append(
                f"schedule.{key} is {value:g}, above the peak of {peak:g} (optim.base_lr={config.optim.base_lr:g}, scaled "
                f"to a batch of {plan.global_batch(config)}); allowed: at most the peak."
            )
    return found


def too_few_images(config: RunConfig, train_images: int) -> str:
    """The message for a batch that the data cannot fill once; also for images counted later."""
    cards = f"hardware.cards={config.hardware.cards} x hardware.nodes={config.hardware.nodes}"
    if isinstance(config.task, PreviewTask) and config.task.ranks is not None:
        cards = f"task.ranks={config.task.ranks}"
    factors = f"data.batch_size={config.data.batch_size} x {cards} x optim.accumulation_steps={config.optim.accumulation_steps}"
    repeated = " (in whole blocks of 256, as augment.repeats is above 1)" if config.augment.repeats > 1 else ""
    return (
        f"A step takes {plan.global_batch(config)} images ({factors}), but there are {train_images} training images{repeated}; "
        "make the batch smaller."
    )


def _hardware(config: RunConfig) -> list[str]:
    hardware, found = config.hardware, []
    if hardware.nodes > 1:
        needed = ("node_rank", "master_addr", "master_port")
        found += [
            f"hardware.{key} is null, but hardware.nodes is {hardware.nodes}; give hardware.{key}=VALUE on each machine."
            for key in needed
            if getattr(hardware, key) is None
        ]
        if hardware.node_rank is not None and hardware.node_rank >= hardware.nodes:
            found.append(
                f"hardware.node_rank is {hardware.node_rank}, but hardware.nodes is {hardware.nodes}; "
                f"allowed: 0 to {hardware.nodes - 1}."
            )
    else:
        found += [
            f"hardware.{key} is {getattr(hardware, key)!r}, but hardware.nodes is 1; give hardware.{key}=null, or more nodes."
            for key in ("node_rank", "master_addr")
            if getattr(hardware, key) is not None
        ]
    ids = hardware.card_ids
    if ids is not None:
        if hardware.target == "cpu":
            found.append(f"hardware.card_ids is {ids}, but hardware.target=cpu has no cards; give hardware.card_ids=null.")
        elif len(ids) != hardware.cards:
            found.append(f"hardware.card_ids is {ids}, but hardware.cards is {hardware.cards}; name each card once.")
        if len(set(ids)) != len(ids):
            found.append(f"hardware.card_ids is {ids}; allowed: each card once.")
    return found


def _precision(config: RunConfig) -> list[str]:
    precision, target, found = config.precision, config.hardware.target, []
    half = precision.level != "O0"
    if precision.dtype == "bfloat16" and not half:
        found.append(
            "precision.dtype is bfloat16, but precision.level=O0 computes in float32; "
            "give precision=bf16, or precision.dtype=float16, which O0 does not use."
        )
    if precision.dtype == "bfloat16" and half and target == "cpu":
        found.append(
            "precision.dtype is bfloat16, but MindSpore's CPU operators have none and hardware.target is cpu; "
            "give precision=fp32 or precision=o1."
        )
    if precision.loss_scale != "none" and (not half or precision.dtype == "bfloat16"):
        kind = "float32" if not half else "bfloat16"
        found.append(
            f"precision.loss_scale is {precision.loss_scale}, but {kind} has the range that makes it useless; "
            "give precision.loss_scale=none."
        )
    if config.model.attention == "flash":
        if target in ("cpu", "gpu"):
            found.append(
                f"model.attention is flash, which needs Ascend, but hardware.target is {target}; give model.attention=auto."
            )
        if not half:
            found.append(
                "model.attention is flash, which needs half precision, but precision.level is O0; give model.attention=auto."
            )
    return found


def _tracking(config: RunConfig) -> list[str]:
    tracking = config.tracking
    if tracking.backend == "none":
        return []
    if tracking.uri is None:
        return [
            "tracking.uri is null, but tracking.backend=mlflow needs one, such as sqlite:///mlflow.db; or give tracking=none."
        ]
    from deit.tracking.store import check_uri

    try:
        check_uri(tracking.uri)
    except UserError as error:
        return [str(error)]
    return []


def idle(config: RunConfig, typed: Sequence[str]) -> list[str]:
    """One line for each key of ``typed`` (dotted keys a person gave) that this configuration would ignore.

    Groups bring many values that lie idle; only what somebody typed is worth a complaint.
    """
    reasons = _idle_reasons(config)
    return [f"{key} has no effect {reasons[key]}." for key in typed if key in reasons]


def _idle_reasons(config: RunConfig) -> dict[str, str]:
    from deit.data.policy import jitters  # here, so that most commands need no NumPy

    augment, schedule, precision = config.augment, config.schedule, config.precision
    reasons: dict[str, str] = {}

    def unused(when: bool, why: str, *keys: str) -> None:
        if when:
            reasons.update({key: reasons.get(key, why) for key in keys})

    def unused_but(group: str, *used: str) -> None:
        keys = (f"{group}.{key}" for key in vars(getattr(config, group)) if key not in used)
        unused(True, f"with task={config.task.name}", *keys)

    for group in IDLE_GROUPS.get(config.task.name, ()):
        unused_but(group)
    if isinstance(config.task, PreviewTask):
        unused_but("model", "name", "img_size")
        unused_but("hardware", "cards", "nodes", "jit")
        # An MLflow run id is looked up where tracking says.
        unused_but("tracking", *(("backend", "uri") if config.run is not None else ()))
        unused(True, "with task=preview", "data.eval_batch_size", "weights_dir")
        unused(config.task.ranks is not None, "while task.ranks is set", "hardware.cards", "hardware.nodes")
    if config.task.name == "evaluate":
        unused(True, "with task=evaluate", "data.batch_size", "data.train_limit", "data.train_size", "seed")
        unused(True, "with task=evaluate", "model.drop_rate", "model.drop_path_rate", "model.pretrained", "tracking.log_every")
        unused(True, "with task=evaluate", *(f"precision.{key}" for key in vars(precision) if key.startswith("loss_scale")))
        unused(config.run is None, "without run=", "task.which")
        unused(not config.model.distilled, "without model.distilled", "task.heads")
    if isinstance(config.task, ConvertTask):
        used = ("backend", "uri") if config.run is not None else ()
        unused_but("tracking", *used)
        unused(True, "with task=convert", "model.drop_rate", "model.drop_path_rate", "model.attention", "model.pretrained")
        unused(True, "with task=convert", "seed", "name")
        unused(config.run is None, "without run=", "task.which", "runs_dir")
        is_folder = config.checkpoint is None or Path(config.checkpoint).is_dir()
        unused(not is_folder, "with checkpoint=FILE, which holds one set of weights", "task.weights")
    named = (config.model.pretrained, config.distill.teacher, config.checkpoint)
    unused(named == (None,) * 3, "without model.pretrained, distill.teacher or checkpoint", "weights_dir")
    policy_alone = not jitters(augment.auto_augment)
    unused(policy_alone, f"while augment.auto_augment is {augment.auto_augment}", "augment.color_jitter")
    unused(augment.reprob == 0, "while augment.reprob is 0", "augment.remode", "augment.recount")
    mixing = (augment.mixup > 0) + (augment.cutmix > 0)
    drawn = ("augment.mixup", "augment.cutmix", "augment.mixup_mode", "augment.mixup_switch_prob")
    unused(augment.mixup_prob == 0, "while augment.mixup_prob is 0", *drawn)
    unused(mixing == 0, "while augment.mixup and augment.cutmix are 0", "augment.mixup_prob", "augment.mixup_mode")
    unused(mixing < 2, "unless augment.mixup and augment.cutmix are both above 0", "augment.mixup_switch_prob")
    unused(not config.ema.enabled, "while ema.enabled is false", "ema.decay")
    unused(config.distill.type == "none", "with distill.type=none", "distill.alpha", "distill.tau")
    unused(config.distill.type == "hard", "with distill.type=hard", "distill.tau")
    unused(not config.model.distilled, "without model.distilled", "optim.decay_dist_token")
    unused(schedule.warmup_epochs == 0, "while schedule.warmup_epochs is 0", "schedule.warmup_lr")
    constant = schedule.name == "constant" and schedule.cooldown_epochs == 0
    unused(constant, "with schedule.name=constant and no cooldown", "schedule.min_lr")
    unused(precision.level == "O0", "with precision.level=O0", "precision.dtype")
    unused(precision.loss_scale == "none", "with precision.loss_scale=none", "precision.loss_scale_init")
    unused(precision.loss_scale != "dynamic", "unless precision.loss_scale=dynamic", "precision.loss_scale_window")
    unused(config.optim.weight_decay == 0, "while optim.weight_decay is 0", "optim.decay_dist_token")
    shipping = ("uri", "experiment", "run_name", "upload_checkpoints", "flush_timeout", "system_metrics_every")
    unused(config.tracking.backend == "none", "with tracking.backend=none", *(f"tracking.{key}" for key in shipping))
    alone = plan.ranks(config) == 1
    unused(alone, "with one process", "hardware.master_port", "hardware.cluster_timeout")
    still = isinstance(config.optim, SgdOptim) and config.optim.momentum == 0
    unused(still, "while optim.momentum is 0", "optim.nesterov")
    return reasons
