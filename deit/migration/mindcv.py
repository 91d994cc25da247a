"""``configs/deit/*.yaml`` of MindCV, old and new."""

from __future__ import annotations

from typing import Any

from deit.migration.modelzoo import DATA, INTERPOLATIONS, LEVELS
from deit.migration.translation import Reader, Translation
from deit.migration.variant_names import choose_model

PROGRAM = "MindCV"
MARKS = ("model", "epoch_size", "image_resize")
# What MindCV takes for keys that are not in the file and that matter here.
DEFAULTS: dict[str, Any] = {
    "batch_size": 128,
    "scale": [0.08, 1.0],
    "ratio": [0.75, 1.333],
    "hflip": 0.5,
    "color_jitter": 0.4,
    "interpolation": "bilinear",
    "re_prob": 0.0,
    "crop_pct": 0.875,
    "mixup": 0.0,
    "cutmix": 0.0,
    "aug_repeats": 0,
    "drop_rate": 0.0,
    "drop_path_rate": 0.0,
    "ema": False,
    "ema_decay": 0.9999,
    "clip_grad": False,
    "clip_value": 15.0,
    "gradient_accumulation_steps": 1,
    "opt": "adam",
    "momentum": 0.9,
    "weight_decay": 1e-6,
    "use_nesterov": False,
    "eps": 1e-10,
    "lr": 0.001,
    "min_lr": 1e-6,
    "warmup_epochs": 3,
    "warmup_factor": 0.0,
    "decay_epochs": 100,
    "lr_epoch_stair": False,
    "loss": "CE",
    "label_smoothing": 0.0,
    "amp_level": "O0",
    "seed": 42,
    "keep_checkpoint_max": 10,
}
# Keys that mean the same here, by the type of their values.
NUMBERS = {
    "drop_rate": "model.drop_rate",
    "drop_path_rate": "model.drop_path_rate",
    "crop_pct": "data.crop_pct",
    "hflip": "augment.hflip",
    "color_jitter": "augment.color_jitter",  # there and here only without a policy
    "mixup": "augment.mixup",
    "cutmix": "augment.cutmix",
    "cutmix_prob": "augment.mixup_prob",
    "mixup_prob": "augment.mixup_prob",  # its old name
    "switch_prob": "augment.mixup_switch_prob",
    "label_smoothing": "augment.smoothing",
    "re_prob": "augment.reprob",
    "weight_decay": "optim.weight_decay",
    "lr": "optim.base_lr",
    "min_lr": "schedule.min_lr",
    "ema_decay": "ema.decay",
}
WHOLE = {
    "num_classes": "data.num_classes",
    "batch_size": "data.batch_size",
    "num_parallel_workers": "data.workers",
    "num_samples": "data.train_limit",
    "gradient_accumulation_steps": "optim.accumulation_steps",
    "val_interval": "schedule.eval_every",
    "log_interval": "tracking.log_every",
    "keep_checkpoint_max": "checkpointing.keep_last",
    "ckpt_save_interval": "checkpointing.every",
    "seed": "seed",
}
OPTIMIZERS = {"adamw": "adamw", "lamb": "lamb", "sgd": "sgd", "momentum": "sgd"}


def translate(theirs: dict[str, Any]) -> Translation:
    """The learning rate is not scaled by the batch there, and cosine and warm-up follow each other."""
    reader = Reader(PROGRAM, theirs, DEFAULTS)
    choose_model(reader, "model", "image_resize")
    reader.copy(reader.number, NUMBERS)
    reader.copy(reader.whole, WHOLE)
    reader.copy(reader.numbers, {"scale": "augment.scale", "ratio": "augment.ratio"})
    reader.copy(reader.text, {"ckpt_path": "model.pretrained", "data_dir": "data.root"})
    reader.only("pretrained", (False, None), "its weights are MindCV's; give model.pretrained=FILE, which reads their .ckpt")
    _data(reader)
    _augment(reader)
    _optim(reader)
    _schedule(reader)
    _precision(reader)
    reader.set("ema.enabled", reader.flag("ema"), "ema")
    loss = reader.one_of("loss", {"ce": "cross_entropy", "bce": "bce"})
    if loss is not None:
        reader.choose("loss", loss, "loss")
    _hardware(reader)
    reader.leave("ckpt_save_dir", "runs_dir")
    reader.leave("ckpt_save_policy val_while_train", "the last and the best are kept, and every evaluation counts")
    reader.leave("dataset_sink_mode dataset_download eval_shuffle", "not part of a recipe here")
    reader.leave("decay_rate multi_step_decay_milestones", "the cosine schedule does not use it")
    reader.leave("val_amp_level amp_cast_list", "evaluations use precision.level too")
    reader.only("resume_opt", (False,), "resume=RUN resumes")
    reader.only("layer_decay", (None,), "one learning rate for all blocks")
    reader.only("in_channels", (3,), "images are RGB")
    reader.only("aux_factor", (0, 0.0), "DeiT has no auxiliary loss")
    reader.only("reduction", ("mean",), "the loss is a mean")
    return reader.finish()


def _data(reader: Reader) -> None:
    name = reader.text("dataset")
    reader.choose("data", DATA.get((name or "imagenet").lower(), "imagefolder"), "dataset")
    reader.set("data.interpolation", reader.one_of("interpolation", INTERPOLATIONS), "interpolation")
    for key in ("mean", "std"):  # of values 0..255 there
        found = reader.numbers(key)
        reader.set(f"data.{key}", None if found is None else [round(value / 255, 6) for value in found], key)
    reader.only("train_split", ("train", "train/"), "the training images are in data.root/train")
    reader.only("val_split", ("val", "val/"), "the validation images are in data.root/val")
    reader.only("shuffle", (True,), "training images are always shuffled")
    reader.only("drop_remainder", (True,), "the last partial batch of an epoch is never trained on")


def _augment(reader: Reader) -> None:
    reader.set("augment.repeats", max(1, reader.whole("aug_repeats") or 1), "aug_repeats")
    reader.set("augment.mixup_mode", reader.one_of("mixup_mode", {"batch": "batch"}), "mixup_mode")
    fill = {"random": "pixel", "0": "const", "rand": "rand"}
    reader.set("augment.remode", reader.one_of("re_value", fill) or "const", "re_value")
    policy = reader.text("auto_augment")
    known = policy is not None and policy.startswith("randaug")
    reader.put("augment.auto_augment", policy.replace("randaug", "rand", 1) if policy and known else None, "auto_augment")
    if policy is not None and not known:
        reader.refuse("auto_augment", "known: randaug-...; augment.auto_augment is null now")
    reader.leave("re_scale re_ratio re_max_attempts", "boxes are drawn as in timm")
    reader.only("mixup_off_epoch", (0,), "mixing cannot be switched off in the middle")
    reader.only("vflip", (0, 0.0), "no vertical flip")
    reader.only("aug_splits", (0,), "no augmentation splits")


def _optim(reader: Reader) -> None:
    option = reader.one_of("opt", OPTIMIZERS)
    eps, momentum, nesterov = reader.number("eps"), reader.number("momentum"), reader.flag("use_nesterov")
    if option is not None:
        reader.choose("optim", option, "opt")
    if option == "sgd":
        reader.set("optim.momentum", momentum, "momentum")
        reader.set("optim.nesterov", nesterov, "use_nesterov")
        reader.leave("eps", "the optimizer has none")
    elif option is not None:
        reader.set("optim.eps", eps, "eps")
        reader.leave("momentum use_nesterov", "the optimizer has none")
    reader.only("filter_bias_and_bn", (True,), "biases, norms and embeddings are never decayed")
    reader.only("weight_decay_filter", ("norm_and_bias",), "biases, norms and embeddings are never decayed")
    if not (reader.has("filter_bias_and_bn") or reader.has("weight_decay_filter") or reader.has("lr_scheduler")):
        reader.refuse("weight_decay_filter", "not in the file, so MindCV decays all; here biases, norms, embeddings are not")
    reader.put("optim.lr_base_size", None, "MindCV does not scale lr")
    clips, value = reader.flag("clip_grad"), reader.number("clip_value")
    reader.put("optim.clip_grad", value if clips else None, "clip_grad", "clip_value")


def _schedule(reader: Reader) -> None:
    key = "scheduler" if reader.has("scheduler") or not reader.has("lr_scheduler") else "lr_scheduler"
    kinds = {"cosine_decay": "cosine", "warmup_cosine_decay": "cosine", "constant": "constant"}
    kind = reader.one_of(key, kinds) if reader.has(key) else "cosine"
    epochs, warmup, decay = reader.whole("epoch_size"), reader.whole("warmup_epochs") or 0, reader.whole("decay_epochs")
    lr, factor = reader.number("lr"), reader.number("warmup_factor")
    reader.set("schedule.name", kind, key)
    if kind == "cosine" and decay is not None and epochs is not None and warmup + decay < epochs:
        # There the rate stays at min_lr after decay_epochs of cosine.
        reader.set("schedule.epochs", warmup + decay, "warmup_epochs", "decay_epochs")
        reader.set("schedule.cooldown_epochs", epochs - warmup - decay, "epoch_size")
    else:
        reader.set("schedule.epochs", epochs, "epoch_size")
        reader.set("schedule.cooldown_epochs", 0, "epoch_size")
        if kind == "cosine" and decay is not None and epochs is not None and warmup + decay > epochs:
            reader.refuse("decay_epochs", "it goes beyond epoch_size, but here the cosine ends with schedule.epochs")
    reader.set("schedule.warmup_epochs", warmup, "warmup_epochs")
    lowest = None if lr is None or factor is None else float(f"{lr * factor:.9g}")
    reader.set("schedule.warmup_lr", lowest, "lr", "warmup_factor")
    reader.set("schedule.granularity", "epoch" if reader.flag("lr_epoch_stair") else "step", "lr_epoch_stair")
    reader.only("num_cycles", (1,), "one cosine")
    reader.only("cycle_decay", (1, 1.0), "one cosine")


def _precision(reader: Reader) -> None:
    option = reader.one_of("amp_level", LEVELS)
    kind, old, scale = reader.text("loss_scale_type"), reader.flag("dynamic_loss_scale"), reader.number("loss_scale")
    if option is None:
        return
    reader.choose("precision", option, "amp_level")
    if option == "fp32":
        reader.leave("loss_scale_type dynamic_loss_scale loss_scale drop_overflow_update", "float32 needs no loss scale")
        return
    if kind == "dynamic" or (kind is None and old):
        reader.set("precision.loss_scale", "dynamic", "loss_scale_type" if kind else "dynamic_loss_scale")
        reader.set("precision.loss_scale_init", scale, "loss_scale")
    elif kind in (None, "fixed"):
        reader.set("precision.loss_scale", "static", "loss_scale_type")
        reader.set("precision.loss_scale_init", scale or 1.0, "loss_scale")
    else:
        reader.refuse("loss_scale_type", "known: fixed, dynamic")
    reader.leave("drop_overflow_update", "a step whose gradient is not finite is never applied")


def _hardware(reader: Reader) -> None:
    if reader.whole("mode") == 1:
        reader.set("hardware.jit", False, "mode")
    several, target = reader.flag("distribute"), reader.text("device_target")
    if target is not None and target.lower() == "cpu":
        reader.choose("hardware", "cpu", "device_target")
    elif several:
        reader.refuse("distribute", "mpirun says there how many cards; give hardware=ascend8 or hardware=gpu8")
    elif target is not None and target.lower() in ("ascend", "gpu"):
        reader.choose("hardware", f"{target.lower()}1", "device_target", "distribute")
    elif target is not None:
        reader.refuse("device_target", "known: Ascend, GPU, CPU")
