"""Combinations of values: each rule names the keys, what was found and how to fix it.

Pure functions of a configuration whose values are within their limits (``limits.problems``); each returns one line per broken
rule. ``deit/commands/<task>.py`` chooses the rules of a task. Rules about a hardware.target of ``auto`` run again when the
launcher knows the device.
"""

from __future__ import annotations

import re

from deit.compose.keys import spoken
from deit.config import card_rules
from deit.config.addresses import is_remote
from deit.config.addresses import problem as remote_problem
from deit.config.schema import GREY, RGB, DataConfig, RunConfig
from deit.errors import UserError, nearest
from deit.models.freezing import blocks_to_freeze
from deit.recipe import plan
from deit.recipe.monitor import monitor_of
from deit.recipe.schedule import peak_lr
from deit.scores import columns

CLASSES = {"cifar10": 10, "cifar100": 100, "digits": 10}
WITHOUT_FOLDER = ("digits", "synthetic")


def metrics(config: RunConfig) -> list[str]:
    """The metrics by which trainings can be compared, named as in the journal."""
    classes = config.data.num_classes
    weights = ("val", "val_ema") if config.ema.enabled else ("val",)
    kept = dict.fromkeys(("top1", monitor_of(config).name))
    found = [f"best/{prefix}_{name}" for prefix in weights for name in kept]
    found += [f"{prefix}/{metric}" for prefix in weights for metric in columns(classes).values()]
    return [*found, "train/loss", "perf/images_per_s", "perf/step_ms", "perf/data_wait"]


def objectives(config: RunConfig) -> list[str]:
    names, directions, allowed = config.sweep.objectives, config.sweep.directions, metrics(config)
    found = [
        f"sweep.objectives has {name!r}, which no training records.{nearest(name, allowed)} "
        f"Allowed: {', '.join(allowed)}{'' if config.ema.enabled else '; those of val_ema with ema.enabled'}."
        for name in names
        if name not in allowed
    ]
    if len(names) != len(directions) or not names or len(set(names)) < len(names):
        found.append(
            f"sweep.objectives is [{', '.join(names)}] and sweep.directions [{', '.join(directions)}]; give different metrics, "
            "and for each maximize or minimize."
        )
    return found


def runs_dir(config: RunConfig) -> list[str]:
    if not is_remote(config.runs_dir):
        return []
    found = [f"runs_dir {wrong}."] if (wrong := remote_problem(config.runs_dir)) else []
    if config.hardware.nodes > 1:
        found.append(
            f"runs_dir is in a store, but hardware.nodes is {config.hardware.nodes}: several machines work on one "
            "run directory; give a folder that all of them share."
        )
    return found


def names(config: RunConfig) -> list[str]:
    return [
        f"{key} is {value!r}, but it names a folder; allowed: letters, digits, `.`, `_` and `-`, the first a letter or digit."
        for key, value in (("name", config.name), ("model.name", config.model.name), ("data.name", config.data.name))
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value)
    ]


def files(config: RunConfig) -> list[str]:
    """Store addresses for keys that need a local file or folder."""
    keys = {f"task.{key}": getattr(config.task, key, None) for key in ("input", "output", "results", "classes")}
    keys |= {"data.labels": config.data.labels, "data.split_file": config.data.split_file}
    return [
        f"{key} is {value!r}, but addresses in a store are for data.root, runs_dir and runs; give a file or folder of this "
        "machine."
        for key, value in {**keys, "checkpoint": config.checkpoint}.items()
        if is_remote(value)
    ]


def network(config: RunConfig) -> list[str]:
    """One line for each reason why the network cannot run on its device."""
    return model(config) + precision(config)


def model(config: RunConfig) -> list[str]:
    model, found = config.model, []
    if model.embed_dim % model.num_heads:
        found.append(
            f"model.embed_dim is {model.embed_dim} and model.num_heads {model.num_heads}, but all heads have the same "
            f"width; embed_dim must be a multiple of num_heads, such as {_multiple(model.embed_dim, model.num_heads)}."
        )
    if any(side % model.patch_size for side in model.image_size):
        such = [_multiple(side, model.patch_size) for side in model.image_size]
        found.append(
            f"model.img_size is {model.img_size} and model.patch_size {model.patch_size}, but the patches tile the image; "
            f"img_size must be a multiple of patch_size, such as {such[0] if isinstance(model.img_size, int) else such}."
        )
    return found


def freeze(config: RunConfig) -> list[str]:
    model = config.model
    blocks, wrong = blocks_to_freeze(model.freeze), f"model.freeze is {model.freeze}"
    named = ("none", "all_but_head", "all_but_attention")
    if model.freeze not in named and (blocks is None or not 0 < blocks <= model.depth):
        allowed = f"{', '.join(named)}, or a number of first blocks, from 1 to {model.depth}"
        return [f"{wrong}; allowed: {allowed}.{nearest(model.freeze, named)}"]
    if model.freeze != "none" and model.pretrained is None:
        return [f"{wrong}, but model.pretrained is null: random weights would stay random; give model.pretrained=WEIGHTS."]
    return []


def channels(config: RunConfig) -> list[str]:
    """The channels of the images, of the model and of the normalisation."""
    data, count = config.data, config.model.in_chans
    if count not in (GREY, RGB):
        return [
            f"model.in_chans is {count}, but every data.source gives images of 3 channels (RGB) or 1 (grey); give "
            "model.in_chans=3 or 1."
        ]
    found = []
    for key, values in (("mean", data.mean), ("std", data.std)):
        if len(values) != count:
            such = ",".join([f"{sum(values) / max(len(values), 1):.3g}"] * count)
            found.append(
                f"data.{key} has {len(values)} value{'' if len(values) == 1 else 's'}, but model.in_chans is {count}, and each "
                f"channel has one; give data.{key}=[{such}], for example."
            )
    return found


def _multiple(value: int, of: int) -> int:
    return max(of, round(value / of) * of)


def data(config: RunConfig) -> list[str]:
    data, found = config.data, []
    if data.source in WITHOUT_FOLDER and data.root is not None:
        found.append(f"data.root is {data.root!r}, but data.source={data.source} reads no folder; give data.root=null.")
    by_list = data.source == "imagefolder" and data.labels is not None
    if data.source not in WITHOUT_FOLDER and not data.root and not by_list:
        found.append(f"data.root is {spoken(data.root)}, but data.source={data.source} reads a folder; give data.root=FOLDER.")
    if data.root is not None and is_remote(data.root) and (wrong := remote_problem(data.root)):
        found.append(f"data.root {wrong}.")
    found += _split(data)
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


def training_split(config: RunConfig) -> list[str]:
    """A training that would be chosen by its test images."""
    if config.data.eval_split == "val":
        return []
    return [
        f"data.eval_split is {config.data.eval_split}, but a training chooses its best checkpoint by the images that it "
        "evaluates, so that they no longer test it; give data.eval_split=val, and test with task=evaluate run=RUN "
        "data.eval_split=test."
    ]


def _split(data: DataConfig) -> list[str]:
    found = []
    if data.labels is not None and data.format not in ("auto", "folder"):
        found.append(
            f"data.labels is {data.labels!r}, but data.format={data.format} reads shards, which have their own labels."
        )
    if (data.folds is None) != (data.fold is None):
        given, other = ("fold", "folds") if data.folds is None else ("folds", "fold")
        found.append(
            f"data.{given} is {getattr(data, given)}, but data.{other} is null; give both, such as data.folds=5 data.fold=0."
        )
    elif data.folds is not None and data.fold is not None:
        if data.fold >= data.folds:
            found.append(f"data.fold is {data.fold} and data.folds {data.folds}; allowed: 0 to {data.folds - 1}.")
        if data.val_fraction is not None:
            found.append(
                f"data.val_fraction is {data.val_fraction:g} and data.folds {data.folds}, which split in another way; give one."
            )
    return found


def augment(config: RunConfig) -> list[str]:
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
            found.append(f"augment.{key} is [{least:g}, {most:g}], but the minimum comes first; give [{most:g}, {least:g}].")
    if augment.auto_augment is not None:
        from deit.data.policy import parse_policy  # late, because --cfg needs no policy

        try:
            parse_policy(augment.auto_augment)
        except UserError as error:
            found.append(str(error))
    return found


def balance(config: RunConfig) -> list[str]:
    if config.data.balance == "none" or config.loss.class_weights == "none":
        return []
    return [
        f"data.balance is {config.data.balance} and loss.class_weights {config.loss.class_weights}, but either makes up for "
        "unequal classes, and both together overdo it; give one of them as none."
    ]


def loss(config: RunConfig) -> list[str]:
    threshold, smoothing, classes = config.loss.target_threshold, config.augment.smoothing, config.data.num_classes
    if config.loss.name != "bce" or threshold is None:
        return []
    given = f"loss.target_threshold is {threshold:g} and augment.smoothing {smoothing:g}, so "
    if smoothing > 0 and (threshold == 0 or (classes is not None and smoothing / classes > threshold)):
        return [given + "every class of every image would become 1; give augment.smoothing=0, or a higher threshold."]
    if threshold >= 1 - smoothing + smoothing / (classes or 2):
        return [given + "no class of any image would become 1; give a lower threshold."]
    return []


def distill(config: RunConfig) -> list[str]:
    distill, model, found = config.distill, config.model, []
    if distill.type == "none":
        if distill.teacher is not None:
            found.append(f"distill.teacher is {distill.teacher!r}, but distill.type=none has no teacher; give distill=hard.")
        if model.distilled and model.pretrained is None:
            found.append(
                f"model.distilled is true (model={model.name}), but with distill.type=none its second head has no teacher; "
                "give distill=hard distill.teacher=RUN, a model without `distilled`, or model.pretrained=WEIGHTS to fine-tune "
                "both heads on the labels."
            )
        return found
    if not model.distilled:
        found.append(
            f"distill.type is {distill.type}, but model.distilled is false (model={model.name}); "
            "give a distilled model, such as model=deit_small_distilled."
        )
    if distill.mean is not None and distill.std is not None and len(distill.mean) != len(distill.std):
        found.append(
            f"distill.mean has {len(distill.mean)} values and distill.std {len(distill.std)}; give one for each channel of the "
            "teacher."
        )
    if distill.teacher is None:
        found.append(f"distill.type is {distill.type}, but distill.teacher is null; give distill.teacher=RUN, or distill=none.")
    return found


def schedule(config: RunConfig) -> list[str]:
    schedule, found = config.schedule, []
    monitor = monitor_of(config)
    if monitor.prefix == "val_ema" and not config.ema.enabled:
        found.append(
            f"checkpointing.monitor is {monitor.key}, but ema.enabled is false; give checkpointing.monitor=val/{monitor.name}, "
            "or a moving average, such as ema=short."
        )
    if schedule.timing == "end" and schedule.granularity == "step":
        found.append(
            "schedule.timing is end and schedule.granularity step, but the rate of a step cannot wait for the end of an epoch; "
            "give schedule.timing=start or schedule.granularity=epoch."
        )
    if schedule.warmup_epochs >= schedule.epochs:
        found.append(
            f"schedule.warmup_epochs is {schedule.warmup_epochs} and schedule.epochs {schedule.epochs}; "
            "allowed: fewer warmup epochs than epochs, which include them."
        )
    peak = peak_lr(config.optim, plan.global_batch(config))
    idle = {"warmup_lr": schedule.warmup_epochs == 0, "min_lr": schedule.name == "constant" and schedule.cooldown_epochs == 0}
    for key, unused in idle.items():
        value = getattr(schedule, key)
        if value > peak and not unused:
            found.append(
                f"schedule.{key} is {value:g}, above the peak of {peak:g} (optim.base_lr={config.optim.base_lr:g}, scaled "
                f"to a batch of {plan.global_batch(config)}); allowed: at most the peak."
            )
    return found


def hardware(config: RunConfig) -> list[str]:
    hardware, found = config.hardware, []
    if hardware.nodes > 1:
        if hardware.max_restarts:
            found.append(
                f"hardware.max_restarts is {hardware.max_restarts}, but hardware.nodes is {hardware.nodes}: restarts work "
                "on one machine only; give hardware.max_restarts=0 (sweep.retries retries a trial)."
            )
        # The node rank may stay open: it is set where the run is started, by hand or from Slurm (machine/cards.py).
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
    if hardware.rank_table is not None and hardware.target == "cpu":
        found.append(f"hardware.rank_table is {hardware.rank_table!r}, but hardware.target=cpu has no cards; remove it.")
    ids = hardware.card_ids
    if ids is not None:
        if hardware.target == "cpu":
            found.append(f"hardware.card_ids is {ids}, but hardware.target=cpu has no cards; give hardware.card_ids=null.")
        elif len(ids) != hardware.cards:
            found.append(f"hardware.card_ids is {ids}, but hardware.cards is {hardware.cards}; name each card once.")
        if len(set(ids)) != len(ids):
            found.append(f"hardware.card_ids is {ids}; allowed: each card once.")
    return found


def precision(config: RunConfig) -> list[str]:
    precision, target, found = config.precision, config.hardware.target, []
    half = precision.level != "O0"
    if precision.dtype == "bfloat16" and not half:
        found.append(
            "precision.dtype is bfloat16, but precision.level=O0 computes in float32; "
            "give precision=bf16, or precision.dtype=float16, which O0 does not use."
        )
    if precision.dtype == "bfloat16" and half and target == "cpu":
        found.append(
            "precision.dtype is bfloat16, but MindSpore's CPU operators do not support it and hardware.target is cpu; "
            "give precision=fp32 or precision=o1."
        )
    if precision.loss_scale != "none" and (not half or precision.dtype == "bfloat16"):
        kind = "float32" if not half else "bfloat16"
        found.append(
            f"precision.loss_scale is {precision.loss_scale}, but {kind} has enough range without it; "
            "give precision.loss_scale=none."
        )
    if config.model.attention == "flash":
        found += card_rules.flash_obstacles(config.model, precision, target)
    return found


def tracking(config: RunConfig) -> list[str]:
    tracking = config.tracking
    if tracking.backend == "none":
        return []
    if tracking.uri is None:
        return [
            "tracking.uri is null, but tracking.backend=mlflow needs one, such as sqlite:///mlflow.db; or give tracking=none."
        ]
    from deit.tracking.uri import EXPERIMENT_NAME, RUN_NAME, check_uri

    try:
        check_uri(tracking.uri)
    except UserError as error:
        return [str(error)]
    return [
        f"{key} has {len(value)} characters, but MLflow takes 1 to {most}: {value[:40]}..."
        for key, value, most in (
            ("tracking.experiment", tracking.experiment, EXPERIMENT_NAME),
            ("tracking.run_name", tracking.run_name, RUN_NAME),
        )
        if value is not None and not 0 < len(value.strip()) <= most
    ]
