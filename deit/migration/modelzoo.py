"""``research/cv/deit`` of the MindSpore ModelZoo: ``src/configs/deit_small_patch16_224.yaml``."""

from __future__ import annotations

from typing import Any

from deit.migration.card_count import choose_hardware
from deit.migration.translation import Reader, Translation
from deit.migration.variant_names import choose_model

PROGRAM = "the ModelZoo's deit"
MARKS = ("arch", "base_lr", "epochs")
OPTIMIZERS = {"adamw": "adamw", "sgd": "sgd", "momentum": "sgd", "lamb": "lamb"}
SCHEDULES = {"cosine_lr": "cosine", "cosine": "cosine", "constant_lr": "constant", "constant": "constant"}
LEVELS = {"o0": "fp32", "o1": "o1", "o2": "o2", "o3": "o3"}
DATA = {"imagenet": "imagenet", "imagenet2012": "imagenet", "cifar10": "cifar10", "cifar100": "cifar100"}


def translate(theirs: dict[str, Any]) -> Translation:
    """Keys that are not in the file keep the values here, which are those of this program's recipe."""
    reader = Reader(PROGRAM, theirs, {})
    choose_model(reader, "arch", "image_size")
    reader.set("model.drop_path_rate", reader.number("drop_path_rate"), "drop_path_rate")
    reader.set("model.drop_rate", reader.number("drop_out"), "drop_out")
    reader.set("model.pretrained", reader.text("pretrained"), "pretrained")
    choose_data(reader, "set", "data_url")
    reader.set("data.crop_pct", reader.number("crop_pct"), "crop_pct")
    choose_augment(reader, {name: name for name in AUGMENT})
    choose_optim(reader, "optimizer", "beta")
    reader.set("optim.base_lr", reader.number("base_lr"), "base_lr")  # times the global batch / 512, as here
    reader.set("optim.clip_grad", reader.number("clip_global_norm_value"), "clip_global_norm_value")
    choose_schedule(reader, "lr_scheduler", "warmup_length")
    reader.set("ema.enabled", reader.flag("with_ema"), "with_ema")
    reader.set("ema.decay", reader.number("ema_decay"), "ema_decay")
    choose_precision(reader)
    choose_hardware(reader)
    reader.set("schedule.eval_every", reader.whole("eval_every"), "eval_every")
    reader.set("checkpointing.every", reader.whole("save_every"), "save_every")
    reader.set("seed", reader.whole("seed"), "seed")
    reader.only("use_global_norm", (True, 1), "the norm that is clipped is always the global one; use optim.clip_grad=null")
    reader.leave("nonlinearity keep_bn_fp32", "always GELU, and norms in float32 up to precision=o2")
    reader.leave("run_modelarts train_url", "data.root and runs_dir take obs:// addresses")
    reader.leave("ckpt_url graph_mode print_freq file_format", "not part of a recipe here")
    return reader.finish()


def choose_data(reader: Reader, name: str, root: str) -> None:
    """The data set, its classes, batch size and processes; another name is a set of class folders."""
    found, folder = reader.text(name), reader.text(root)
    option = DATA.get((found or "").lower(), "imagefolder")
    reader.choose("data", option, name)
    if option == "imagefolder" and found:
        reader.set("data.name", found, name)
    reader.set("data.root", folder, root)
    for theirs, ours in (
        ("num_classes", "data.num_classes"),
        ("batch_size", "data.batch_size"),
        ("num_parallel_workers", "data.workers"),
    ):
        reader.set(ours, reader.whole(theirs), theirs)
    reader.set(
        "data.interpolation", reader.one_of("interpolation", {"bicubic": "bicubic", "bilinear": "bilinear"}), "interpolation"
    )


# Our key of the augmentation, and the ModelZoo's.
AUGMENT = {
    "auto_augment": "augment.auto_augment",
    "color_jitter": "augment.color_jitter",
    "mix_up": "augment.mixup",
    "cutmix": "augment.cutmix",
    "mixup_prob": "augment.mixup_prob",
    "switch_prob": "augment.mixup_switch_prob",
    "mixup_mode": "augment.mixup_mode",
    "re_prob": "augment.reprob",
    "re_mode": "augment.remode",
    "re_count": "augment.recount",
    "label_smoothing": "augment.smoothing",
}
_TEXTS = ("mixup_mode", "re_mode")


def choose_augment(reader: Reader, names: dict[str, str]) -> None:
    """The augmentation; ``names`` are the program's names for the ModelZoo's."""
    for usual, theirs in names.items():
        ours = AUGMENT[usual]
        if usual == "auto_augment":
            policy = reader.text(theirs)
            if policy is not None or reader.has(theirs):
                _policy(reader, theirs, policy)
        elif usual in _TEXTS:
            reader.set(ours, reader.text(theirs), theirs)
        elif usual == "re_count":
            reader.set(ours, reader.whole(theirs), theirs)
        else:
            reader.set(ours, reader.number(theirs), theirs)


def _policy(reader: Reader, theirs: str, policy: str | None) -> None:
    if policy is None:
        reader.result.values["augment.auto_augment"] = None
        reader.result.origins["augment.auto_augment"] = theirs
    elif policy.startswith("rand-") or policy == "3a":
        reader.set("augment.auto_augment", policy, theirs)
    else:
        reader.refuse(theirs, "known: rand-... and 3a")


def choose_optim(reader: Reader, name: str, betas: str) -> None:
    """The optimizer, its weight decay and moments."""
    option = reader.one_of(name, OPTIMIZERS)
    decay, momentum, moments = reader.number("weight_decay"), reader.number("momentum"), reader.numbers(betas)
    if option is not None:
        reader.choose("optim", option, name)
    reader.set("optim.weight_decay", decay, "weight_decay")
    if option == "sgd":
        reader.set("optim.momentum", momentum, "momentum")
    else:
        reader.set("optim.betas", moments, betas)
        reader.leave("momentum", "the optimizer has none")


def choose_schedule(reader: Reader, name: str, warmup: str) -> None:
    """The schedule by epochs, as timm's."""
    reader.set("schedule.name", reader.one_of(name, SCHEDULES), name)
    for theirs, ours in (
        ("epochs", "schedule.epochs"),
        ("cooldown_epochs", "schedule.cooldown_epochs"),
        (warmup, "schedule.warmup_epochs"),
    ):
        reader.set(ours, reader.whole(theirs), theirs)
    for key in ("warmup_lr", "min_lr"):
        reader.set(f"schedule.{key}", reader.number(key), key)


def choose_precision(reader: Reader) -> None:
    """Level and loss scale; float32 needs no scale."""
    option = reader.one_of("amp_level", LEVELS)
    dynamic, scale = reader.flag("is_dynamic_loss_scale"), reader.number("loss_scale")
    if option is not None:
        reader.choose("precision", option, "amp_level")
    if option == "fp32":
        reader.leave("is_dynamic_loss_scale loss_scale", "float32 needs no loss scale")
    elif dynamic is not None:
        reader.set("precision.loss_scale", "dynamic" if dynamic else "static", "is_dynamic_loss_scale")
        if dynamic:
            reader.leave("loss_scale", "a dynamic scale starts at precision.loss_scale_init, 65536")
        else:
            reader.set("precision.loss_scale_init", scale, "loss_scale")
    elif reader.has("loss_scale"):
        reader.refuse("loss_scale", "is_dynamic_loss_scale is not given, which says whether it is fixed")
