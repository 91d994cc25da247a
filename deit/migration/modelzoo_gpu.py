"""``research/cv/DeiT`` of the MindSpore ModelZoo, for GPUs, whose keys are mostly those of facebookresearch/deit."""

from __future__ import annotations

from typing import Any

from deit.migration.card_count import choose_hardware
from deit.migration.modelzoo import (
    COMMON_NUMBERS,
    COMMON_WHOLE,
    SCHEDULES,
    choose_data,
    choose_optim,
    choose_policy,
    choose_precision,
)
from deit.migration.translation import Reader, Translation
from deit.migration.variant_names import choose_model

PROGRAM = "the ModelZoo's DeiT for GPUs"
MARKS = ("model", "data_path", "lr", "epochs", "opt")
NUMBERS = COMMON_NUMBERS | {
    "drop_path": "model.drop_path_rate",
    "drop": "model.drop_rate",
    "eval_crop_ratio": "data.crop_pct",
    "color_jitter": "augment.color_jitter",
    "mixup": "augment.mixup",
    "cutmix": "augment.cutmix",
    "mixup_prob": "augment.mixup_prob",
    "mixup_switch_prob": "augment.mixup_switch_prob",
    "reprob": "augment.reprob",
    "smoothing": "augment.smoothing",
    "lr": "optim.base_lr",  # times the global batch / 512, unless unscale_lr
    "model_ema_decay": "ema.decay",
}
WHOLE = COMMON_WHOLE | {
    "num_workers": "data.workers",
    "recount": "augment.recount",
    "warmup_epochs": "schedule.warmup_epochs",
    "keep_checkpoint_max": "checkpointing.keep_last",
}
TEXTS = {"finetune": "model.pretrained", "mixup_mode": "augment.mixup_mode", "remode": "augment.remode"}


def translate(theirs: dict[str, Any]) -> Translation:
    """These files give every key of their program."""
    reader = Reader(PROGRAM, theirs, {})
    choose_model(reader, "model", "input_size")
    choose_data(reader, "data_path")
    reader.choose("data", "imagenet", "data_path")
    reader.copy(reader.number, NUMBERS)
    reader.copy(reader.whole, WHOLE)
    reader.copy(reader.text, TEXTS)
    reader.only("train_dir", ("train", "train/"), "the training images are in data.root/train")
    reader.only("val_dir", ("val", "val/"), "the validation images are in data.root/val; rename or link the folder")
    choose_policy(reader, "aa")
    reader.only("cutmix_minmax", (None,), "no counterpart that gives the same boxes")
    reader.only("mixup_off_epoch", (0,), "mixing cannot be switched off in the middle")
    reader.only("resplit", (False,), "no augmentation splits")
    _optim(reader)
    reader.set("schedule.name", reader.one_of("sched", SCHEDULES), "sched")
    reader.only("start_epoch", (0,), "resume=RUN resumes")
    reader.set("ema.enabled", reader.flag("model_ema"), "model_ema")
    reader.choose("loss", "bce" if reader.flag("bce_loss") else "cross_entropy", "bce_loss")
    choose_precision(reader)
    choose_hardware(reader)
    _distill(reader)
    reader.leave("decay_epochs decay_rate patience_epochs", "the cosine schedule does not use it")
    reader.leave("output_dir", "runs_dir")
    reader.leave("ckpt_keep_num ckpt_save_every_sec ckpt_save_every_step", "checkpointing.every, every_steps, every_minutes")
    reader.leave("no_dataset_sink_mode exclude_epoch_state", "not part of a recipe here")
    reader.leave("collect_input_data summary_loss_collect_freq print_loss_every", "tracking.log_every, and MLflow")
    return reader.finish()


def _optim(reader: Reader) -> None:
    choose_optim(reader, "opt")
    if reader.result.groups.get("optim") in ("adamw", "lamb"):
        reader.set("optim.eps", reader.number("opt_eps"), "opt_eps")
    else:
        reader.leave("opt_eps", "the optimizer has none")
    if reader.flag("unscale_lr"):
        reader.put("optim.lr_base_size", None, "unscale_lr")
    used, norm = reader.flag("use_clip_grad_norm"), reader.number("clip_grad_norm")
    reader.put("optim.clip_grad", norm if used else None, "use_clip_grad_norm", "clip_grad_norm")
    reader.only("clip_grad", (None,), "their scripts clip by use_clip_grad_norm and clip_grad_norm")


def _distill(reader: Reader) -> None:
    kind = reader.one_of("distillation_type", {"none": "none", "soft": "soft", "hard": "hard"})
    teacher, path = reader.text("teacher_model"), reader.text("teacher_path")
    alpha, tau = reader.number("distillation_alpha"), reader.number("distillation_tau")
    if kind in (None, "none"):
        reader.leave("teacher_model teacher_path distillation_alpha distillation_tau", "there is no distillation")
        return
    reader.choose("distill", str(kind), "distillation_type")
    reader.set("distill.teacher", path or teacher, "teacher_path" if path else "teacher_model")
    reader.set("distill.alpha", alpha, "distillation_alpha")
    if kind == "soft":
        reader.set("distill.tau", tau, "distillation_tau")
