"""Keys that a configuration ignores, each with the reason.

Groups set many values that are unused; only typed ones are reported. Pure functions of the configuration, like
``deit.compose.rules``. Keys that only one task ignores are in ``deit/commands/<task>.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deit.config.addresses import is_remote
from deit.config.schema import SPLIT_KEYS, RunConfig, SgdOptim
from deit.recipe import plan

OF_TRAINING_DATA = ("batch_size", "last_batch", "balance", "train_limit", "train_size")  # of data, for trainings alone
OF_TRAINED_MODEL = ("drop_rate", "drop_path_rate", "drop_path_mode", "freeze", "pretrained")  # of model, for trainings alone
OF_TEACHER = ("alpha", "tau", "img_size", "mean", "std")  # of distill


class Unused:
    """The unused keys of a configuration; for a key with several reasons the first counts."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.reasons: dict[str, str] = {}

    def add(self, when: bool, why: str, *keys: str) -> None:
        """``keys`` are unused ``when`` this is true; ``why`` follows "has no effect"."""
        if when:
            self.reasons.update({key: self.reasons.get(key, why) for key in keys})

    def with_task(self, *keys: str) -> None:
        """The task never uses ``keys``."""
        self.add(True, f"with task={self.config.task.name}", *keys)

    def training_data(self) -> None:
        """The task reads no training images."""
        self.with_task(*(f"data.{key}" for key in OF_TRAINING_DATA))

    def trained_model(self) -> None:
        """The task trains no network: it also draws no random numbers, so it needs no seed."""
        self.with_task("seed", *(f"model.{key}" for key in OF_TRAINED_MODEL))

    def loss_scale(self) -> None:
        """The task computes no gradient."""
        self.with_task(*(f"precision.{key}" for key in vars(self.config.precision) if key.startswith("loss_scale")))

    def tracked_metrics(self) -> None:
        """The task sends nothing to MLflow; but a run that is named by its MLflow id is looked up there."""
        self.all_but("tracking", *(("backend", "uri") if self.config.run is not None else ()))

    def several_cards(self) -> None:
        """The task works on one card."""
        of_card = ("target", "card_ids", "jit", "jit_level", "deterministic")
        self.all_but("hardware", *of_card, "grace_period", "hang_timeout", "max_restarts")

    def all_but(self, group: str, *used: str) -> None:
        """The task uses no key of ``group`` except ``used``."""
        self.with_task(*(f"{group}.{key}" for key in vars(getattr(self.config, group)) if key not in used))


OfTask = Callable[[Unused], None]  # adds the keys that only this task ignores


def unused(config: RunConfig, of_task: OfTask) -> dict[str, str]:
    """The dotted keys that this configuration ignores, with the reasons."""
    found = Unused(config)
    for group in config.task.idle_groups:
        found.all_but(group)
    of_task(found)
    _of_any_task(found)
    return found.reasons


def problems(config: RunConfig, typed: Sequence[str], of_task: OfTask) -> list[str]:
    """One line for each key in ``typed`` (dotted) that this configuration ignores."""
    reasons = unused(config, of_task)
    return [f"{key} has no effect {reasons[key]}." for key in typed if key in reasons]


def _of_any_task(found: Unused) -> None:
    from deit.data.policy import jitters  # late, because --cfg needs no policy

    config = found.config
    augment, schedule, precision = config.augment, config.schedule, config.precision
    found.add(not is_remote(config.runs_dir), "without a runs_dir in a store (s3://, obs://)", "checkpointing.upload_timeout")
    found.add(config.task.name != "report", "without task=report", "sweep.dir")
    found.add(config.task.name != "train", "without task=train", "hardware.profile")
    compiles = config.task.name in ("train", "evaluate")
    found.add(not compiles, "without task=train or task=evaluate", "hardware.compile_cache")
    found.add(not config.hardware.jit, "with hardware.jit=false", "hardware.jit_level", "hardware.compile_cache")
    same_bits = "with hardware.target=cpu, which always computes the same bits"
    found.add(config.hardware.target == "cpu", same_bits, "hardware.deterministic")
    found.add(config.sweep.resume is None, "without sweep.resume", "sweep.retry_failed")
    _of_data(found)
    of_task = (getattr(config.task, key, None) for key in ("model", "models"))
    none_named = all(named is None for named in (config.model.pretrained, config.distill.teacher, config.checkpoint, *of_task))
    none_named = none_named and config.task.name != "fetch_weights"
    found.add(none_named, "without model.pretrained, distill.teacher, checkpoint or task.model", "weights_dir")
    if config.model.pretrained is None:
        found.add(config.task.name != "export", "without model.pretrained", "model.pos_embed_antialias")
        found.add(True, "without model.pretrained", "model.pretrained_partial")
    policy_alone = not jitters(augment.auto_augment)
    found.add(policy_alone, f"while augment.auto_augment is {augment.auto_augment}", "augment.color_jitter")
    found.add(augment.crop != "rrc", f"with augment.crop={augment.crop}", "augment.scale", "augment.ratio")
    found.add(config.loss.name != "bce", "unless loss=bce", "loss.target_threshold")
    found.add(config.loss.name == "bce", "with loss=bce", "loss.class_weights")
    found.add(augment.reprob == 0, "while augment.reprob is 0", "augment.remode", "augment.recount")
    mixing = (augment.mixup > 0) + (augment.cutmix > 0)
    drawn = ("augment.mixup", "augment.cutmix", "augment.mixup_mode", "augment.mixup_switch_prob")
    found.add(augment.mixup_prob == 0, "while augment.mixup_prob is 0", *drawn)
    found.add(mixing == 0, "while augment.mixup and augment.cutmix are 0", "augment.mixup_prob", "augment.mixup_mode")
    found.add(mixing < 2, "unless augment.mixup and augment.cutmix are both above 0", "augment.mixup_switch_prob")
    of_warmup = ("ema.warmup_gamma", "ema.warmup_power")
    found.add(not config.ema.enabled, "while ema.enabled is false", "ema.decay", "ema.warmup", *of_warmup)
    found.add(not config.ema.warmup, "while ema.warmup is false", *of_warmup)
    found.add(config.distill.type == "none", "with distill.type=none", *(f"distill.{key}" for key in OF_TEACHER))
    found.add(config.distill.type == "hard", "with distill.type=hard", "distill.tau")
    found.add(config.model.drop_path_rate == 0, "while model.drop_path_rate is 0", "model.drop_path_mode")
    found.add(schedule.warmup_epochs == 0, "while schedule.warmup_epochs is 0", "schedule.warmup_lr")
    constant = schedule.name == "constant" and schedule.cooldown_epochs == 0
    found.add(constant, "with schedule.name=constant and no cooldown", "schedule.min_lr")
    found.add(precision.level == "O0", "with precision.level=O0", "precision.dtype")
    found.add(precision.loss_scale == "none", "with precision.loss_scale=none", "precision.loss_scale_init")
    found.add(precision.loss_scale != "dynamic", "unless precision.loss_scale=dynamic", "precision.loss_scale_window")
    shipping = ("uri", "experiment", "run_name", "upload_checkpoints", "flush_timeout", "system_metrics_every")
    found.add(config.tracking.backend == "none", "with tracking.backend=none", *(f"tracking.{key}" for key in shipping))
    of_several = ("master_port", "cluster_timeout", "bind_core", "rank_table")
    found.add(plan.ranks(config) == 1, "with one process", *(f"hardware.{key}" for key in of_several))
    _of_optimizer(found)


def _of_optimizer(found: Unused) -> None:
    model, optim = found.config.model, found.config.optim
    found.add(not model.distilled, "without model.distilled", "optim.decay_dist_token")
    found.add(optim.on_nonfinite == "stop", "with optim.on_nonfinite=stop", "optim.max_nonfinite")
    found.add(model.freeze == "all_but_head", "with model.freeze=all_but_head", "optim.layer_decay")
    found.add(optim.weight_decay == 0, "while optim.weight_decay is 0", "optim.decay_dist_token")
    still = isinstance(optim, SgdOptim) and optim.momentum == 0
    found.add(still, "while optim.momentum is 0", "optim.nesterov")


def _of_data(found: Unused) -> None:
    data = found.config.data
    found.add(not is_remote(data.root), "without a data.root in a store (s3://, obs://)", "data.cache_dir")
    split = [f"data.{key}" for key in SPLIT_KEYS]
    of_files = [*(f"data.{key}" for key in ("format", "eval_split", "on_bad_image", "max_pixels", "background")), *split]
    found.add(data.source != "imagefolder", f"with data.source={data.source}, which has no image files", *of_files)
    found.add(data.split_file is not None, "with data.split_file", *(key for key in split if key != "data.split_file"))
