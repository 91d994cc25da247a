"""``research/cv/DeiT`` of the MindSpore ModelZoo, for GPUs, whose keys are mostly those of facebookresearch/deit."""

from __future__ import annotations

from typing import Any

from deit.migration.card_count import choose_hardware
from deit.migration.modelzoo import choose_augment, choose_data, choose_optim, choose_precision, choose_schedule
from deit.migration.translation import Reader, Translation
from deit.migration.variant_names import choose_model

PROGRAM = "the ModelZoo's DeiT for GPUs"
MARKS = ("model", "data_path", "lr", "epochs", "opt")
AUGMENT = {
    "auto_augment": "aa",
    "color_jitter": "color_jitter",
    "mix_up": "mixup",
    "cutmix": "cutmix",
    "mixup_prob": "mixup_prob",
    "switch_prob": "mixup_switch_prob",
    "mixup_mode": "mixup_mode",
    "re_prob": "reprob",
    "re_mode": "remode",
    "re_count": "recount",
    "label_smoothing": "smoothing",
}


def translate(theirs: dict[str, Any]) -> Translation:
    """These files give every key of their program."""
    reader = Reader(PROGRAM, theirs, {})
    choose_model(reader, "model", "input_size")
    reader.set("model.drop_path_rate", reader.number("drop_path"), "drop_path")
    reader.set("model.drop_rate", reader.number("drop"), "drop")
    reader.set("model.pretrained", reader.text("finetune"), "finetune")
    choose_data(reader, "set", "data_path")
    reader.choose("data", "imagenet", "data_path")
    reader.set("data.workers", reader.whole("num_workers"), "num_workers")
    reader.set("data.crop_pct", reader.number("eval_crop_ratio"), "eval_crop_ratio")
    reader.only("train_dir", ("train", "train/"), "the training images are in data.root/train")
    reader.only("val_dir", ("val", "val/"), "the validation images are in data.root/val; rename or link the folder")
    choose_augment(reader, AUGMENT)
    reader.only("cutmix_minmax", (None,), "no counterpart that gives the same boxes")
    reader.only("mixup_off_epoch", (0,), "mixing cannot be switched off in the middle")
    reader.only("resplit", (False,), "no augmentation splits")
    _optim(reader)
    choose_schedule(reader, "sched", "warmup_epochs")
    reader.only("start_epoch", (0,), "resume=RUN resumes")
    reader.set("ema.enabled", reader.flag("model_ema"), "model_ema")
    reader.set("ema.decay", reader.number("model_ema_decay"), "model_ema_decay")
    reader.choose("loss", "bce" if reader.flag("bce_loss") else "cross_entropy", "bce_loss")
    choose_precision(reader)
    choose_hardware(reader)
    _distill(reader)
    reader.set("checkpointing.keep_last", reader.whole("keep_checkpoint_max"), "keep_checkpoint_max")
    reader.set("seed", reader.whole("seed"), "seed")
    reader.leave("decay_epochs decay_rate patience_epochs", "the cosine schedule does not use it")
    reader.leave("output_dir", "runs_dir")
    reader.leave("ckpt_keep_num ckpt_save_every_sec ckpt_save_every_step", "checkpointing.every, every_steps, every_minutes")
    reader.leave("no_dataset_sink_mode exclude_epoch_state", "not part of a recipe here")
    reader.leave("collect_input_data summary_loss_collect_freq print_loss_every", "tracking.log_every, and MLflow")
    return reader.finish()


def _optim(reader: Reader) -> None:
    choose_optim(reader, "opt", "beta")
    if reader.result.groups.get("optim") in ("adamw", "lamb"):
        reader.set("optim.eps", reader.number("opt_eps"), "opt_eps")
    else:
        reader.leave("opt_eps", "the optimizer has none")
    reader.set("optim.base_lr", reader.number("lr"), "lr")  # times the global batch / 512, unless unscale_lr
    if reader.flag("unscale_lr"):
        reader.result.values["optim.lr_base_size"] = None
        reader.result.origins["optim.lr_base_size"] = "unscale_lr"
    norm = reader.number("clip_grad_norm")
    used = reader.flag("use_clip_grad_norm")
    reader.result.values["optim.clip_grad"] = norm if used else None
    reader.result.origins["optim.clip_grad"] = "use_clip_grad_norm, clip_grad_norm"
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
