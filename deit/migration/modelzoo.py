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
INTERPOLATIONS = {"bicubic": "bicubic", "bilinear": "bilinear"}
DATA = {"imagenet": "imagenet", "imagenet2012": "imagenet", "cifar10": "cifar10", "cifar100": "cifar100"}
# Keys that mean the same here, by the type of their values; the first are also those of the program for GPUs.
COMMON_NUMBERS = {"weight_decay": "optim.weight_decay", "warmup_lr": "schedule.warmup_lr", "min_lr": "schedule.min_lr"}
COMMON_WHOLE = {
    "num_classes": "data.num_classes",
    "batch_size": "data.batch_size",
    "num_parallel_workers": "data.workers",
    "epochs": "schedule.epochs",
    "cooldown_epochs": "schedule.cooldown_epochs",
    "seed": "seed",
}
NUMBERS = COMMON_NUMBERS | {
    "drop_path_rate": "model.drop_path_rate",
    "drop_out": "model.drop_rate",
    "crop_pct": "data.crop_pct",
    "color_jitter": "augment.color_jitter",
    "mix_up": "augment.mixup",
    "cutmix": "augment.cutmix",
    "mixup_prob": "augment.mixup_prob",
    "switch_prob": "augment.mixup_switch_prob",
    "re_prob": "augment.reprob",
    "label_smoothing": "augment.smoothing",
    "base_lr": "optim.base_lr",  # times the global batch / 512, as here
    "clip_global_norm_value": "optim.clip_grad",
    "ema_decay": "ema.decay",
}
WHOLE = COMMON_WHOLE | {
    "re_count": "augment.recount",
    "warmup_length": "schedule.warmup_epochs",
    "eval_every": "schedule.eval_every",
    "save_every": "checkpointing.every",
}
TEXTS = {"pretrained": "model.pretrained", "mixup_mode": "augment.mixup_mode", "re_mode": "augment.remode"}


def translate(theirs: dict[str, Any]) -> Translation:
    """Keys that are not in the file keep the values here, which are those of this program's recipe."""
    reader = Reader(PROGRAM, theirs, {})
    choose_model(reader, "arch", "image_size")
    choose_data(reader, "data_url")
    reader.copy(reader.number, NUMBERS)
    reader.copy(reader.whole, WHOLE)
    reader.copy(reader.text, TEXTS)
    choose_policy(reader, "auto_augment")
    choose_optim(reader, "optimizer")
    reader.set("schedule.name", reader.one_of("lr_scheduler", SCHEDULES), "lr_scheduler")
    reader.set("ema.enabled", reader.flag("with_ema"), "with_ema")
    choose_precision(reader)
    choose_hardware(reader)
    reader.only("use_global_norm", (True, 1), "the norm that is clipped is always the global one; use optim.clip_grad=null")
    reader.leave("nonlinearity keep_bn_fp32", "always GELU, and norms in float32 up to precision=o2")
    reader.leave("run_modelarts train_url", "data.root and runs_dir take obs:// addresses")
    reader.leave("ckpt_url graph_mode print_freq file_format", "not part of a recipe here")
    return reader.finish()


def choose_data(reader: Reader, root: str) -> None:
    """The data set and its interpolation; another name is a set of class folders."""
    found = reader.text("set")
    option = DATA.get((found or "").lower(), "imagefolder")
    reader.choose("data", option, "set")
    if option == "imagefolder" and found:
        reader.set("data.name", found, "set")
    reader.set("data.root", reader.text(root), root)
    reader.set("data.interpolation", reader.one_of("interpolation", INTERPOLATIONS), "interpolation")


def choose_policy(reader: Reader, key: str) -> None:
    """The policy of RandAugment; a null in the file is one here, too."""
    policy = reader.text(key)
    if policy is not None and not policy.startswith("rand-") and policy != "3a":
        reader.refuse(key, "known: rand-... and 3a")
    elif reader.has(key):
        reader.put("augment.auto_augment", policy, key)


def choose_optim(reader: Reader, name: str) -> None:
    """The optimizer and its moments."""
    option = reader.one_of(name, OPTIMIZERS)
    momentum, moments = reader.number("momentum"), reader.numbers("beta")
    if option is not None:
        reader.choose("optim", option, name)
    if option == "sgd":
        reader.set("optim.momentum", momentum, "momentum")
    else:
        reader.set("optim.betas", moments, "beta")
        reader.leave("momentum", "the optimizer has none")


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
