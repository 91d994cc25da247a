"""Keys that a configuration would ignore: each with the reason why.

Groups bring many values that lie idle; only what somebody typed is worth a complaint. A pure function of the configuration,
like ``deit.compose.rules``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from deit.config.addresses import is_remote
from deit.config.schema import RunConfig, SgdOptim
from deit.config.tasks import CompareTask, ConvertTask, ExportTask, InferenceTask, PreviewTask, RegisterTask
from deit.recipe import plan

_ALL_OF_A_RUN = ("model", "data", "augment", "optim", "schedule", "ema", "distill", "precision", "hardware", "checkpointing")
# Groups that a task does not use, whatever they contain.
IDLE_GROUPS = {
    "evaluate": ("augment", "optim", "schedule", "ema", "distill", "checkpointing"),
    "preview": ("optim", "schedule", "ema", "distill", "checkpointing", "precision"),
    "check_data": ("model", "optim", "schedule", "ema", "distill", "precision", "hardware", "tracking", "checkpointing"),
    "pack": ("model", "augment", "optim", "schedule", "ema", "distill", "precision", "hardware", "tracking", "checkpointing"),
    "convert": ("data", "augment", "optim", "schedule", "ema", "distill", "precision", "hardware", "checkpointing"),
    "export": ("augment", "optim", "schedule", "ema", "distill", "precision", "checkpointing"),
    "report": _ALL_OF_A_RUN,
    "sync": _ALL_OF_A_RUN,
    "register": ("augment", "optim", "schedule", "ema", "distill", "precision", "checkpointing"),
    "predict": ("augment", "optim", "schedule", "ema", "distill", "checkpointing"),
    "explain": ("augment", "optim", "schedule", "ema", "distill", "checkpointing"),
    "preprocess": ("augment", "optim", "schedule", "ema", "distill", "checkpointing", "precision", "hardware"),
    "postprocess": _ALL_OF_A_RUN,
    "compare": ("model", "augment", "optim", "schedule", "ema", "distill", "checkpointing"),
}


def problems(config: RunConfig, typed: Sequence[str]) -> list[str]:
    """One line for each key of ``typed`` (dotted keys a person gave) that this configuration would ignore."""
    reasons = _idle_reasons(config)
    return [f"{key} has no effect {reasons[key]}." for key in typed if key in reasons]


def unused(config: RunConfig) -> frozenset[str]:
    """The dotted keys that this configuration does not look at."""
    return frozenset(_idle_reasons(config))


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
    unused(not is_remote(config.data.root), "without a data.root in a store (s3://, obs://)", "data.cache_dir")
    unused(not is_remote(config.runs_dir), "without a runs_dir in a store (s3://, obs://)", "checkpointing.upload_timeout")
    if config.hardware.cards * config.hardware.nodes == 1:
        unused(True, "with one process", *(f"hardware.{key}" for key in ("bind_core", "rank_table", "cluster_timeout")))
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
    if isinstance(config.task, InferenceTask):
        _idle_of_inference(config, unused, unused_but)
    if isinstance(config.task, CompareTask):
        _idle_of_comparison(config, config.task, unused, unused_but)
    if config.task.name == "postprocess":
        unused_but("tracking")
        unused(True, "with task=postprocess", "seed", "weights_dir")
    if isinstance(config.task, ExportTask):
        used = ("backend", "uri") if config.run is not None else ()
        unused_but("tracking", *used)
        unused_but(
            "hardware", "hang_timeout", "grace_period", "max_restarts", *(["card_ids"] if config.task.format == "air" else [])
        )
        unused(True, "with task=export", "data.batch_size", "data.train_limit", "data.train_size", "seed")
        unused(True, "with task=export", "model.drop_rate", "model.drop_path_rate", "model.attention", "model.pretrained")
        unused(config.run is None, "without run=", "task.which")
        is_folder = config.checkpoint is None or Path(config.checkpoint).is_dir()
        unused(not is_folder, "with checkpoint=FILE, which holds one set of weights", "task.weights")
        plain = config.task.format == "safetensors"
        unused(plain, "with task.format=safetensors, which has no graph", "task.batch", "task.preprocess_in_graph")
        unused(config.task.format == "air", "with task.format=air, which cannot be read back", "task.images")
    if isinstance(config.task, RegisterTask):
        _idle_of_register(config, unused, unused_but)
    if config.task.name == "report":
        unused_but("sweep", "dir")
        unused_but("tracking", "backend")
        unused(True, "with task=report", "name", "seed", "weights_dir")
        unused(config.sweep.dir != "last", "unless sweep.dir is last", "runs_dir")
    unused(config.task.name != "report", "without task=report", "sweep.dir")
    unused(config.sweep.resume is None, "without sweep.resume", "sweep.retry_failed")
    if config.task.name == "check_data":
        unused_but("augment", "backend")
        unused(True, "with task=check_data", "seed", "name", "runs_dir", "weights_dir", "data.on_bad_image")
        unused(True, "with task=check_data", "data.batch_size", "data.eval_batch_size", "data.crop_pct")
        unused(True, "with task=check_data", "data.interpolation", "data.mean", "data.std")
    if config.task.name == "pack":
        unused_but("data", "name", "source", "root", "format", "num_classes", "train_size", "val_size", "workers")
        unused(True, "with task=pack", "seed", "name", "runs_dir", "weights_dir")
    in_memory = f"with data.source={config.data.source}, which has no image files"
    unused(config.data.source != "imagefolder", in_memory, "data.format", "data.on_bad_image", "data.max_pixels")
    if config.task.name == "sync":
        unused_but("tracking", "backend", "uri")
        unused(True, "with task=sync", "seed", "name", "weights_dir")
    named = (config.model.pretrained, config.distill.teacher, config.checkpoint, getattr(config.task, "model", None))
    nothing_named = named == (None,) * 4 and not isinstance(config.task, CompareTask)
    unused(nothing_named, "without model.pretrained, distill.teacher, checkpoint or task.model", "weights_dir")
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
    unused(config.optim.on_nonfinite == "stop", "with optim.on_nonfinite=stop", "optim.max_nonfinite")
    unused(config.optim.weight_decay == 0, "while optim.weight_decay is 0", "optim.decay_dist_token")
    shipping = ("uri", "experiment", "run_name", "upload_checkpoints", "flush_timeout", "system_metrics_every")
    unused(config.tracking.backend == "none", "with tracking.backend=none", *(f"tracking.{key}" for key in shipping))
    alone = plan.ranks(config) == 1
    unused(alone, "with one process", "hardware.master_port", "hardware.cluster_timeout")
    still = isinstance(config.optim, SgdOptim) and config.optim.momentum == 0
    unused(still, "while optim.momentum is 0", "optim.nesterov")
    return reasons


def _idle_of_inference(config: RunConfig, unused: Callable[..., None], unused_but: Callable[..., None]) -> None:
    """What the tasks that give images of their own to a trained network ignore."""
    task = config.task
    assert isinstance(task, InferenceTask)
    why = f"with task={task.name}"
    taken = ["num_classes", "eval_batch_size", "workers", "crop_pct", "interpolation", "mean", "std", "max_pixels"]
    if task.name in ("explain", "preprocess"):  # which take one image at a time
        taken.remove("eval_batch_size")
    unused_but("data", *taken)
    # An MLflow run id is looked up where tracking says.
    unused_but("tracking", *(("backend", "uri") if config.run is not None else ()))
    unused_but("hardware", "target", "card_ids", "jit", "grace_period", "hang_timeout", "max_restarts")
    unused(True, why, "seed", "model.drop_rate", "model.drop_path_rate", "model.pretrained")
    unused(True, why, *(f"precision.{key}" for key in vars(config.precision) if key.startswith("loss_scale")))
    unused(task.name == "preprocess", why, "model.attention", "task.weights", "task.which", "runs_dir")
    unused(config.run is None, "unless task.model or run is a run", "task.which")
    if task.model is None:
        return
    told = "while task.model says it"
    unused(True, told, *(f"model.{key}" for key in vars(config.model)), "data.num_classes")
    from deit.inference.model_source import export_folder  # here, so that most commands need no NumPy

    folder = export_folder(task.model)
    if folder is not None:
        unused(True, told, "task.weights", *(f"precision.{key}" for key in vars(config.precision)))
        unused(True, told, *(f"data.{key}" for key in ("crop_pct", "interpolation", "mean", "std")))
    if folder is not None and (Path(task.model).suffix == ".onnx" or (folder / "model.onnx").is_file()):
        unused(
            True, "with an ONNX file, which onnxruntime runs on the CPU", *(f"hardware.{key}" for key in vars(config.hardware))
        )


def _idle_of_comparison(
    config: RunConfig, task: CompareTask, unused: Callable[..., None], unused_but: Callable[..., None]
) -> None:
    from deit.inference.model_source import export_folder  # here, so that most commands need no NumPy
    from deit.lookup.runs import run_behind

    # By now paths of runs have replaced `last` and MLflow's ids.
    exported = [text for text in task.models if export_folder(text) is not None]
    of_runs = [text for text in task.models if text not in exported and run_behind(text, "task.models", "", None) is not None]
    preprocessing = ("crop_pct", "interpolation", "mean", "std")
    of_data = ["name", "eval_batch_size", "workers", "max_pixels", *preprocessing]
    if task.input is None:
        of_data += ["source", "root", "format", "num_classes", "val_size", "val_limit", "on_bad_image"]
    unused_but("data", *of_data)
    if len(exported) + len(of_runs) == len(task.models):
        told = "while each of task.models has its own"
        unused(True, told, *(f"data.{key}" for key in preprocessing), *(f"precision.{key}" for key in vars(config.precision)))
    unused(True, "with task=compare", *(f"precision.{key}" for key in vars(config.precision) if key.startswith("loss_scale")))
    unused_but("hardware", "target", "card_ids", "jit", "grace_period", "hang_timeout", "max_restarts")
    unused(True, "with task=compare", "seed", "tracking.log_every", "tracking.system_metrics_every")
    unused(True, "with task=compare", "tracking.upload_checkpoints")
    folders = [text for text in task.models if text not in exported and Path(text).is_dir()]
    unused(not folders, "unless one of task.models is a run or a checkpoint folder", "task.weights", "task.which")


def _idle_of_register(config: RunConfig, unused: Callable[..., None], unused_but: Callable[..., None]) -> None:
    """What a registration ignores: what an export of the run would, and of an export that is there all but the registry."""
    told = "while task.model is an export"
    if config.run is None:
        unused(True, told, "task.format", "task.which", "task.weights", "name", "runs_dir")
        unused(
            True, told, *(f"{group}.{key}" for group in ("model", "data", "hardware") for key in vars(getattr(config, group)))
        )
        unused_but("tracking", "backend", "uri", "experiment")
    else:
        unused_but("tracking", "backend", "uri", "experiment")
        unused_but("hardware", "hang_timeout", "grace_period", "max_restarts")
        unused_but("model")
        unused(True, "with task=register", "data.batch_size", "data.train_limit", "data.train_size")
    unused(True, "with task=register", "seed", "weights_dir")
