"""The typed schema of a run: every key, its type, unit, allowed values and meaning.

Hydra merges the YAML of ``conf/`` and the command line into these dataclasses, so an unknown key or a wrong type is always
rejected. Values are in the YAML: a field without a default must be set by its group's file. ``option`` keeps description and
limits next to the type; ``deit.compose.limits`` checks them. The tasks' own keys are in ``deit.config.tasks``. Both sides
use this module, so it imports neither Hydra nor MindSpore.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Optional

from deit.config.field import option
from deit.config.tasks import TASKS, TaskConfig

MONITORED = tuple(
    f"{prefix}/{name}" for prefix in ("val", "val_ema") for name in ("top1", "balanced_accuracy", "macro_f1", "loss")
)
PROFILE_WARMUP = 8  # steps before those of hardware.profile; MindSpore tries numbers of threads in the first of an operator


def sides(img_size: Any) -> tuple[int, int]:
    """Height and width of ``img_size``, which is a number for a square or a pair."""
    if isinstance(img_size, int):
        return img_size, img_size
    height, width = img_size
    return height, width


def size_text(img_size: Any) -> str:
    """``224``, or ``160 x 256``: height and width."""
    height, width = sides(img_size)
    return f"{height}" if height == width else f"{height} x {width}"


@dataclass
class ModelConfig:
    """A DeiT variant; names as in timm's VisionTransformer."""

    name: str = option("Name of the variant, as in timm.")
    img_size: Any = option("Side of the square input image, or [height, width].", unit="pixels", low=1)
    patch_size: int = option("Side of a square patch.", unit="pixels", low=1)
    embed_dim: int = option("Width of a token.", low=1)
    depth: int = option("Number of transformer blocks.", low=1)
    num_heads: int = option("Attention heads of a block.", low=1)
    mlp_ratio: float = option("Hidden width of a block's MLP over embed_dim.", above=0)
    distilled: bool = option("Add the distillation token and its head (DeiT paper, section 4).")
    drop_rate: float = option(
        "Dropout after the position embedding, the attention projection and in the MLP.", low=0, high=0.99
    )
    drop_path_rate: float = option(
        "Stochastic depth: how often a residual branch is dropped; drop_path_mode says in which blocks.", low=0, high=0.99
    )
    attention: str = option(
        "auto: flash attention where card, precision and head width allow it, plain elsewhere.",
        choices=("auto", "plain", "flash"),
    )
    pretrained: Optional[str] = option(
        "Weights to start the training from: a file (.safetensors, .pth), checkpoint folder, run directory, `last`, MLflow run "
        "id or official name; null: random initial weights."
    )
    pretrained_partial: bool = option(
        "Accept pretrained weights whose blocks, norms or embeddings do not all fit; the others keep their initial values.",
        default=False,
    )
    pos_embed_antialias: bool = option(
        "Resize position embeddings for another image size with antialiasing, as timm; false: as facebookresearch/deit.",
        default=False,
    )
    drop_path_mode: str = option(
        "linear: the rate of a block grows from 0 to drop_path_rate in the last; uniform: every block has drop_path_rate.",
        choices=("linear", "uniform"),
        default="linear",
    )
    init_values: Optional[float] = option(
        "LayerScale: initial value of the factors of each residual branch; null: no LayerScale.", above=0, default=None
    )
    no_embed_class: bool = option("The position embedding is of the patches alone, not of the class token.", default=False)
    in_chans: int = option(
        "Colour channels of the input image: 3, RGB; 1, grey, to which the images are converted.", low=1, default=3
    )
    freeze: str = option(
        "Parameters that the training leaves as they are: none; all_but_head, for a linear probe; all_but_attention, which "
        "trains attention, position embedding and heads; or a number, the embeddings and as many first blocks.",
        default="none",
    )

    def network(self) -> "ModelConfig":
        """What describes the network: without the origin of its first weights and what a training changes."""
        return replace(self, pretrained=None, freeze="none")

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the input image in pixels."""
        return sides(self.img_size)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        height, width = self.image_size
        return height // self.patch_size, width // self.patch_size


GREY, RGB = 1, 3  # the channels with which images can be read
# Of DataConfig: how the images are split, and what an evaluation does to an image, which an export knows of itself.
SPLIT_KEYS = ("labels", "val_fraction", "folds", "fold", "split_seed", "split_file")
PREPROCESSING_KEYS = ("background", "crop_pct", "interpolation", "mean", "std")


@dataclass
class DataConfig:
    name: str = option("Name of the data set; also the name of its MLflow experiment.")
    source: str = option("Format of the data set.", choices=("imagefolder", "cifar10", "cifar100", "digits", "synthetic"))
    root: Optional[str] = option(
        "Folder of the data set, or s3://BUCKET/PATH or obs://BUCKET/PATH, which is copied to this machine first; null for "
        "data without files (digits, synthetic)."
    )
    cache_dir: Optional[str] = option(
        "Local folder for the copy of a remote data.root; null: $DEIT_CACHE, else ~/.cache/deit.", default=None
    )
    format: str = option(
        "Format of the images in data.root: class folders, or shards of task=pack; auto detects it.",
        choices=("auto", "folder", "tar", "mindrecord"),
        default="auto",
    )
    num_classes: Optional[int] = option("Number of classes; null counts the class folders of train/.", low=2)
    class_map: Optional[str] = option(
        "File with the class names in label order, one per line, as timm's --class-map; null: the class folders in "
        "alphabetical order.",
        default=None,
    )
    labels: Optional[str] = option(
        "CSV, TSV or JSONL file with the columns path (relative to data.root, or without one to the folder of the file), label "
        "and, optionally, split (train, val, test); null: class folders.",
        default=None,
    )
    val_fraction: Optional[float] = option(
        "Share of each class for validation, if data.root has no val/ and data.labels no split; 1: all images. null: 0.2.",
        above=0,
        high=1,
        default=None,
    )
    folds: Optional[int] = option(
        "Split into this many folds instead of by val_fraction, for cross-validation; data.fold is for validation.",
        low=2,
        default=None,
    )
    fold: Optional[int] = option("The fold for validation, counted from 0.", low=0, default=None)
    split_seed: Optional[int] = option("Seed of such a split, which does not depend on seed. null: 0.", low=0, default=None)
    split_file: Optional[str] = option(
        "JSONL file with the images of both splits, as a run writes it (split.jsonl); it replaces labels, val_fraction and "
        "folds. run=, resume= and task.model=RUN set it to that of the run. null: split by the keys above.",
        default=None,
    )
    eval_split: str = option(
        "The images of evaluations: val, or test, those in data.root/test or with the split test in data.labels. A training "
        "uses val.",
        choices=("val", "test"),
        default="val",
    )
    train_size: Optional[int] = option("Expected number of training images; null: not checked.", unit="images", low=1)
    val_size: Optional[int] = option("The same for the validation images.", unit="images", low=1)
    train_limit: Optional[int] = option(
        "Use only this many training images, spread evenly over the data set.", unit="images", low=1
    )
    val_limit: Optional[int] = option("The same for the validation images.", unit="images", low=1)
    batch_size: int = option("Images per card and forward pass.", unit="images", low=1)
    last_batch: str = option(
        "The incomplete last step of an epoch: drop leaves its images out, others in each epoch; fill completes it with images "
        "of the same epoch, augmented differently. A set that is smaller than one step is always filled up.",
        choices=("drop", "fill"),
        default="drop",
    )
    eval_batch_size: int = option("Images per card and forward pass of an evaluation.", unit="images", low=1)
    workers: Optional[int] = option(
        "Processes per card that read and augment images (threads for data sets that are small or in memory); null: the "
        "CPU cores of this machine, shared among its cards; 0: read in the training process, for debugging.",
        unit="processes",
        low=0,
    )
    on_bad_image: str = option(
        "What happens on a damaged or unusable image: error stops the run, skip replaces it by another image of its batch, "
        "replace by a random training image. Evaluations leave it out and do not count it.",
        choices=("error", "skip", "replace"),
        default="error",
    )
    max_pixels: int = option(
        "Maximum pixels of an image, read from its header before decoding; a larger one is a bad image.",
        unit="pixels",
        low=1,
        default=178_956_970,  # where Pillow refuses a decompression bomb
    )
    background: str = option(
        "What transparent pixels show: white, black, or none for their own colour, as in timm, which drops the transparency.",
        choices=("white", "black", "none"),
        default="none",  # of runs from before this was a choice; conf/ says what new ones get
    )
    balance: str = option(
        "How often a training sees images of unequal classes: none, as they are; full, every class equally often; sqrt, in the "
        "ratio of the square roots of their numbers. An epoch has as many images in any case.",
        choices=("none", "sqrt", "full"),
        default="none",
    )
    crop_pct: float = option(
        "The evaluation resizes the image so that it covers img_size / crop_pct, then crops the centre.", above=0, high=1
    )
    interpolation: str = option("Interpolation of resizing.", choices=("bicubic", "bilinear"))
    mean: list[float] = option("Mean of each of the model.in_chans channels, of values scaled to 0..1.", low=0, high=1)
    std: list[float] = option("Standard deviation of each of the model.in_chans channels, of values scaled to 0..1.", above=0)


@dataclass
class AugmentConfig:
    """Training transform, mixing and target smoothing; names as timm's command line."""

    backend: str = option("opencv: fast, close to PIL; pil: the same pixels as timm, bit for bit.", choices=("opencv", "pil"))
    scale: list[float] = option(
        "Area of the random crop, minimum and maximum, as a fraction of the image.", above=0, high=1, length=2
    )
    ratio: list[float] = option("Aspect ratio (width / height) of the random crop, minimum and maximum.", above=0, length=2)
    hflip: float = option("Probability of a horizontal flip.", low=0, high=1)
    color_jitter: float = option("Strength of colour jitter; used only where auto_augment is null or 3a.", low=0, high=1)
    auto_augment: Optional[str] = option(
        "RandAugment policy, such as rand-m9-mstd0.5-inc1, or 3a for 3-Augment; null for none."
    )
    reprob: float = option("Probability of random erasing.", low=0, high=1)
    remode: str = option(
        "Fill of an erased box: zeros, one random color, or noise per pixel.", choices=("const", "rand", "pixel")
    )
    recount: int = option("Maximum number of boxes erased per image.", low=1)
    mixup: float = option("Alpha of mixup's Beta distribution; 0 is off.", low=0)
    cutmix: float = option("Alpha of CutMix's Beta distribution; 0 is off.", low=0)
    mixup_prob: float = option("Probability that mixup or CutMix is applied at all.", low=0, high=1)
    mixup_switch_prob: float = option("Probability of CutMix instead of mixup if both are on.", low=0, high=1)
    mixup_mode: str = option("One lambda per batch, per pair or per image.", choices=("batch", "pair", "elem"))
    smoothing: float = option("Label smoothing.", low=0, high=0.999)
    repeats: int = option("Repeated augmentation: copies of an image in one pass of the sampler; 1 is off.", low=1)
    crop: str = option(
        "rrc: random resized crop; src: the simple random crop of DeiT III, which resizes the short side to the image size, "
        "pads by 4 pixels with reflection and crops.",
        choices=("rrc", "src"),
        default="rrc",
    )


@dataclass
class LossConfig:
    """The loss on the labels; with distillation, the part of it that the labels have."""

    name: str = option(
        "cross_entropy: over all classes; bce: binary cross-entropy of each class, as in DeiT III.",
        choices=("cross_entropy", "bce"),
        default="cross_entropy",
    )
    target_threshold: Optional[float] = option(
        "bce: targets above it become 1 and others 0, as timm's --bce-target-thresh; null: mixed targets stay as they are.",
        low=0,
        high=1,
        default=None,
    )
    class_weights: str = option(
        "cross_entropy: how much an image counts by its class: none, all the same; balanced, the less the more images its "
        "class has, so that all classes count the same; sqrt, the square roots of these weights. Their mean over the images "
        "is 1.",
        choices=("none", "sqrt", "balanced"),
        default="none",
    )


@dataclass
class OptimConfig:
    name: str = option("Optimizer.", choices=("adamw", "lamb", "sgd"))
    base_lr: float = option("Learning rate at a global batch size of lr_base_size.", above=0)
    lr_base_size: Optional[int] = option(
        "lr = base_lr * global batch / lr_base_size (linear scaling); null: no scaling.", unit="images", low=1
    )
    weight_decay: float = option("Decoupled weight decay of matrices; not applied to biases, norms and embeddings.", low=0)
    decay_dist_token: bool = option("Apply weight decay to dist_token, as facebookresearch/deit does; timm does not.")
    clip_grad: Optional[float] = option("Maximum global norm of the gradient; null: no clipping.", above=0)
    accumulation_steps: int = option("Forward passes per optimizer step.", low=1)
    on_nonfinite: str = option(
        "When the loss or gradient of a step is not finite and dynamic loss scaling cannot fix it: stop; skip the batch; or "
        "rollback: repeat the steps since the last checkpoint.",
        choices=("stop", "skip", "rollback"),
        default="stop",
    )
    max_nonfinite: int = option(
        "skip: stop after this many such steps in a row; rollback: stop after this many returns to one checkpoint.",
        low=1,
        default=10,
    )
    layer_decay: float = option(
        "Multiply the learning rate of a layer by this, to the power of its distance from the head, as timm's --layer-decay; "
        "1: all layers have the same rate.",
        above=0,
        high=1,
        default=1.0,
    )


@dataclass
class AdamWOptim(OptimConfig):
    betas: list[float] = option("Decay rates of the two moments.", low=0, high=0.9999999, length=2)
    eps: float = option("Added to the square root of the second moment.", above=0)


@dataclass
class LambOptim(OptimConfig):
    betas: list[float] = option("Decay rates of the two moments.", low=0, high=0.9999999, length=2)
    eps: float = option("Added to the square root of the second moment.", above=0)


@dataclass
class SgdOptim(OptimConfig):
    momentum: float = option("Momentum.", low=0, high=0.9999999)
    nesterov: bool = option("Use Nesterov momentum.")


@dataclass
class ScheduleConfig:
    name: str = option("Learning-rate schedule.", choices=("cosine", "constant"))
    epochs: int = option("Epochs of the schedule, including warmup, without cooldown.", unit="epochs", low=1)
    cooldown_epochs: int = option("Epochs at min_lr after the schedule.", unit="epochs", low=0)
    warmup_epochs: int = option("Epochs of linear warmup.", unit="epochs", low=0)
    warmup_lr: float = option("Learning rate at the start of warmup; not scaled by the batch.", low=0)
    min_lr: float = option("Learning rate at the end; not scaled by the batch.", low=0)
    granularity: str = option("Update the learning rate once per epoch (as timm) or at each step.", choices=("epoch", "step"))
    eval_every: int = option("Evaluate every this many epochs, and always after the last.", unit="epochs", low=1)
    max_steps: Optional[int] = option(
        "Stop the training after this many optimizer steps; the schedule is not shortened.", unit="steps", low=1
    )
    timing: str = option(
        "When granularity=epoch updates the schedule: start, at the start of an epoch, as timm's train.py; end, after it, as "
        "facebookresearch/deit, where the first two epochs use the first rate.",
        choices=("start", "end"),
        default="start",
    )
    patience: Optional[int] = option(
        "Stop early, after this many epochs in which no evaluation of checkpointing.monitor was better than the best; null: "
        "train to the end.",
        unit="epochs",
        low=1,
        default=None,
    )


@dataclass
class EmaConfig:
    enabled: bool = option("Keep an exponential moving average of the weights, and evaluate it too.")
    decay: float = option("ema = decay * ema + (1 - decay) * weights, once per optimizer step.", low=0, high=0.9999999)
    warmup: bool = option(
        "Begin with a small decay that grows up to ema.decay, as timm's ModelEmaV3: for trainings of few steps.", default=False
    )
    warmup_gamma: float = option(
        "The decay of step n, from 0, is 1 - (1 + n / warmup_gamma) ** -warmup_power.", above=0, default=1.0
    )
    warmup_power: float = option("Exponent of the warm-up; timm recommends 2/3 to 3/4.", above=0, default=2 / 3)


@dataclass
class DistillConfig:
    """Distillation of the DeiT paper, section 4."""

    type: str = option("Distillation loss.", choices=("none", "soft", "hard"))
    teacher: Optional[str] = option(
        "Teacher model: a run directory, `last`, an MLflow run id, a checkpoint folder, weights of a DeiT or RegNetY "
        "(.safetensors, .pth), an official name such as regnety_160, or a .mindir file."
    )
    alpha: float = option("Weight of the distillation loss; the label loss has 1 - alpha.", low=0, high=1)
    tau: float = option("Temperature of soft distillation.", above=0)
    img_size: Optional[Any] = option(
        "Size of the teacher's images, a number or [height, width]; null: that of its weights, for a RegNetY model.img_size.",
        unit="pixels",
        low=1,
        default=None,
    )
    mean: Optional[list[float]] = option(
        "Mean of each channel of the teacher's images; null: that of its run or export, ImageNet's for an official name, else "
        "data.mean.",
        low=0,
        high=1,
        default=None,
    )
    std: Optional[list[float]] = option("Standard deviation of each channel, as distill.mean.", above=0, default=None)


@dataclass
class PrecisionConfig:
    level: str = option(
        "O0: float32; O1: matrix products in half precision; O2: everything except norms and loss; O3: everything except the "
        "loss. Master weights stay float32.",
        choices=("O0", "O1", "O2", "O3"),
    )
    dtype: str = option("The half precision type of O1 to O3.", choices=("float16", "bfloat16"))
    loss_scale: str = option("Loss scaling against underflow.", choices=("none", "static", "dynamic"))
    loss_scale_init: float = option("The loss scale, or its initial value if dynamic.", above=0)
    loss_scale_window: int = option("A dynamic scale doubles after this many steps without overflow.", unit="steps", low=1)


@dataclass
class HardwareConfig:
    target: str = option(
        "Device type; auto: Ascend if the machine has a card, else the CPU.", choices=("auto", "cpu", "ascend", "gpu")
    )
    cards: int = option("Cards per machine, one process each (CPU: processes).", low=1)
    nodes: int = option("Number of machines.", low=1)
    node_rank: Optional[int] = option("Index of this machine, 0 is the master; null: taken from Slurm.", low=0)
    master_addr: Optional[str] = option("Address of machine 0; null: taken from Slurm.")
    master_port: Optional[int] = option(
        "Port of the scheduler; null: a free one; for several machines 8118, or one derived from the Slurm job id.",
        low=1,
        high=65535,
    )
    card_ids: Optional[list[int]] = option("Cards to use; null: the first ones.", low=0)
    jit: bool = option("Compile the steps as graphs; false: run operator by operator (slow, for a debugger).")
    cluster_timeout: int = option("Timeout for the processes to find each other at the start.", unit="seconds", low=10)
    max_restarts: int = option(
        "How many times all ranks are restarted from the last checkpoint after a crash or a hang.", low=0, default=0
    )
    hang_timeout: Optional[int] = option(
        "Stop a run that makes no progress for this long, and write the stacks of all ranks to their logs; null: never.",
        unit="seconds",
        low=1,
        default=3600,
    )
    grace_period: int = option(
        "Time the workers have to write a checkpoint after SIGTERM or SIGINT, before they are killed.",
        unit="seconds",
        low=1,
        default=60,
    )
    profile: Optional[int] = option(
        f"Steps of the training to record with MindSpore's profiler, after {PROFILE_WARMUP} others, into profile/ of the run "
        "directory; null: off.",
        unit="steps",
        low=1,
        high=100,
        default=None,
    )
    jit_level: str = option(
        "How MindSpore compiles graphs: O0, operator by operator; O1, with fused kernels; O2, as a whole by GE; "
        "auto: O1 on Ascend 910B and newer, O0 on 910A, MindSpore's default elsewhere.",
        choices=("auto", "O0", "O1", "O2"),
        default="auto",
    )
    deterministic: bool = option(
        "Let every operator of a card return the same bits for the same input; the cost is unknown. The CPU always does.",
        default=True,
    )
    compile_cache: Optional[bool] = option(
        "Keep the compiled steps of trainings and evaluations in $DEIT_CACHE/compiled (~/.cache/deit/compiled) for later runs "
        "with the same network and recipe; null: on the CPU, since nobody has tried it on a card.",
        default=None,
    )
    bind_core: bool = option("Let msrun pin each process to its own cores.", default=False)
    rank_table: Optional[str] = option("Rank table file, for clusters that still need one; msrun needs none.", default=None)


@dataclass
class TrackingConfig:
    backend: str = option("Where metrics are recorded; the journal of the run is always written.", choices=("mlflow", "none"))
    uri: Optional[str] = option("MLflow tracking URI: sqlite:///FILE or http(s)://HOST:PORT.")
    experiment: str = option("MLflow experiment: its name, or its number as id:NUMBER.")
    run_name: Optional[str] = option("Name of the MLflow run; null: name and short id of the run.")
    log_every: int = option("Write training metrics every this many optimizer steps.", unit="steps", low=1)
    system_metrics_every: int = option("Interval at which CPU and memory use are sampled; 0: off.", unit="seconds", low=0)
    upload_checkpoints: bool = option("Upload the best checkpoint to MLflow; false: record only its path.")
    flush_timeout: int = option("How long the end of a run waits for metrics to reach MLflow.", unit="seconds", low=0)


@dataclass
class CheckpointingConfig:
    every: int = option("Write a checkpoint every this many epochs, and always after the last.", unit="epochs", low=1)
    keep_last: int = option("Number of newest checkpoints to keep; the best are kept too.", low=1)
    every_steps: Optional[int] = option(
        "Also write a checkpoint every this many optimizer steps; null: off.", unit="steps", low=1, default=None
    )
    every_minutes: Optional[float] = option(
        "Also write a checkpoint when the last one is this old; null: off.", unit="minutes", above=0, default=None
    )
    monitor: str = option(
        "The figure by which an evaluation is the best: raw and EMA weights each keep the checkpoint with the best one; "
        "schedule.patience waits for those of its prefix, val (raw) or val_ema.",
        choices=MONITORED,
        default="val/top1",
    )
    upload_timeout: int = option(
        "How long the end of a run waits for uploads to a remote runs_dir.", unit="seconds", low=0, default=600
    )


@dataclass
class SweepConfig:
    """How the trials of a sweep (`-m`, or sweep=TEMPLATE) share this machine; single runs do not use it."""

    cards: Optional[int] = option(
        "Cards the trials share, hardware.cards for each; null: all cards of this machine (CPU: one slot per core).",
        low=1,
        default=None,
    )
    trial_timeout: Optional[int] = option(
        "Stop a trial that takes longer, and count it as failed; null: no limit.", unit="seconds", low=1, default=None
    )
    retries: int = option(
        "How many times a failed, killed or timed-out trial is retried, from its checkpoint.",
        low=0,
        default=0,
    )
    objectives: list[str] = option("Metrics by which trials are ranked, named as in the journal.", default=["best/val_top1"])
    directions: list[str] = option("Direction of each objective.", choices=("maximize", "minimize"), default=["maximize"])
    case: Optional[str] = option("Name of the case, set by templates that list cases.", default=None)
    resume: Optional[str] = option("Sweep to resume: its directory, its address in a store, or `last`.", default=None)
    retry_failed: bool = option("With sweep.resume: retry failed trials too.", default=False)
    dir: Optional[str] = option("Sweep of task=report: its directory, its address in a store, or `last`.", default=None)


@dataclass
class RunConfig:
    """One complete run: the content of ``config.yaml`` in a run directory."""

    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    precision: PrecisionConfig = field(default_factory=PrecisionConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    checkpointing: CheckpointingConfig = field(default_factory=CheckpointingConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    name: str = option("Name of the recipe; runs are written to runs_dir/name/.")
    seed: int = option("Seed of every random choice.", low=0, high=2**63 - 1)
    runs_dir: str = option(
        "Folder of all runs, or s3://BUCKET/PATH or obs://BUCKET/PATH: runs are then written to $DEIT_CACHE/runs "
        "(~/.cache/deit/runs) and copied there while they run."
    )
    run: Optional[str] = option(
        "Run to evaluate, preview, convert, export, register, sync or predict with: its directory, `last`, or its MLflow "
        "run id."
    )
    checkpoint: Optional[str] = option(
        "Checkpoint to evaluate, convert, export or predict with: a checkpoint folder, a file (.safetensors, .pth) or an "
        "official name."
    )
    weights_dir: str = option("Folder of official weights, found by name; before the caches of timm, torch and Hugging Face.")
    resume: Optional[str] = option("Run to resume: its directory, `last`, or its MLflow run id.")
    dry_run: bool = option("Print the recipe and start nothing.")


# Groups whose options have different keys: the key `name` selects the type of an option.
VARIANTS: dict[type, dict[str, type]] = {
    TaskConfig: TASKS,
    OptimConfig: {"adamw": AdamWOptim, "lamb": LambOptim, "sgd": SgdOptim},
}
