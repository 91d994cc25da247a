"""The schema of the group ``task``: the keys of each task, and the facts about it that both sides need.

What only the control side knows of a task is in ``deit/commands/<task>.py``, the worker's half in ``deit/tasks/<task>.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, TypeVar

from deit.config.field import option

# Keys that several tasks have.


def _which(run: str = "`run`") -> Any:
    return option(f"Which checkpoint of {run} to use.", choices=("best", "last"))


def _weights(of: str = "a run or checkpoint folder") -> Any:
    return option(f"Which weights of {of}; auto takes the better by their recorded evaluation.", choices=("auto", "raw", "ema"))


def _class_names(of: str) -> Any:
    return option(
        f"File of class names in the order of the labels, one per line; null: those of {of}, else of the class folders."
    )


def _predictions() -> Any:
    return option("The .jsonl or .csv file to write; it must not exist; null: predictions.jsonl in the run directory.")


TASKS: "dict[str, type[TaskConfig]]" = {}  # by name, as ``task`` lists them
NO_TRAINING = ("augment", "loss", "optim", "schedule", "ema", "distill", "checkpointing")  # groups that only training uses
_NO_RUN = ("model", "data", *NO_TRAINING, "precision", "hardware")


@dataclass
class TaskConfig:
    idle_groups: ClassVar[tuple[str, ...]] = ()  # groups that the task does not use
    is_training: ClassVar[bool] = False  # whether it has steps and writes checkpoints, which other tasks then take
    tracked: ClassVar[bool] = False  # whether its metrics go to MLflow
    fixed_by_weights: ClassVar[bool] = True  # whether its model is that of a run or of given weights
    resizable: ClassVar[tuple[str, ...]] = ()  # keys of that model that may still change

    name: str = option("What to do.", choices=TASKS)

    @property
    def shown_ranks(self) -> int | None:
        """Processes of the training that it shows part of; None: those that it runs on itself."""
        return None


Kind = TypeVar("Kind", bound=TaskConfig)


def expect(task: TaskConfig, kind: type[Kind]) -> Kind:
    """``task`` narrowed to ``kind``, for code that works for one task only."""
    assert isinstance(task, kind), f"{task.name} came to the code of {kind.__name__}"
    return task


def task(name: str) -> Callable[[type[Kind]], type[Kind]]:
    """Register the keys of a task under its name."""

    def listed(kind: type[Kind]) -> type[Kind]:
        TASKS[name] = kind
        return kind

    return listed


@task("train")
@dataclass
class TrainTask(TaskConfig):
    """No keys of its own."""

    is_training: ClassVar[bool] = True
    tracked: ClassVar[bool] = True


@task("evaluate")
@dataclass
class EvaluateTask(TaskConfig):
    idle_groups: ClassVar[tuple[str, ...]] = NO_TRAINING
    tracked: ClassVar[bool] = True

    which: str = _which()
    heads: bool = option("Also evaluate each head of a distilled model separately, not only their mean.")
    tta: str = option(
        "Test-time augmentation, the mean of the probabilities of several views of an image: flip, it and its mirror image; "
        "five_crop, its four corners and its centre.",
        choices=("none", "flip", "five_crop"),
        default="none",
    )


@task("preview")
@dataclass
class PreviewTask(TaskConfig):
    idle_groups: ClassVar[tuple[str, ...]] = ("loss", "optim", "schedule", "ema", "distill", "checkpointing", "precision")
    fixed_by_weights: ClassVar[bool] = False

    images: int = option("Maximum number of images drawn, at most one training batch.", unit="images", low=1, high=64)
    ranks: Optional[int] = option(
        "Number of training processes; the batch of the first is drawn; null: hardware.cards * hardware.nodes.",
        unit="processes",
        low=1,
    )

    @property
    def shown_ranks(self) -> int | None:
        return self.ranks


@task("convert")
@dataclass
class ConvertTask(TaskConfig):
    idle_groups: ClassVar[tuple[str, ...]] = ("data", *NO_TRAINING, "precision", "hardware")

    output: str = option("The .safetensors file to write, or a .ckpt for other MindSpore programs; it must not exist.")
    naming: str = option("Naming of the parameters; only the names of norms differ.", choices=("mindspore", "timm"))
    which: str = _which()
    weights: str = _weights()


@task("convert_config")
@dataclass
class ConvertConfigTask(TaskConfig):
    idle_groups: ClassVar[tuple[str, ...]] = (*_NO_RUN, "tracking", "sweep")
    fixed_by_weights: ClassVar[bool] = False

    input: str = option("The YAML configuration of the ModelZoo's DeiT or of MindCV.")
    output: str = option("The .yaml file to write, best in conf/experiment/; it must not exist.")


@task("fetch_weights")
@dataclass
class FetchWeightsTask(TaskConfig):
    idle_groups: ClassVar[tuple[str, ...]] = ("data", *NO_TRAINING, "precision", "hardware", "tracking", "sweep")
    fixed_by_weights: ClassVar[bool] = False

    official: Optional[str] = option("Official name of the weights; null: those of the model.")
    url: Optional[str] = option("Address of a folder with the same files, https://, for a mirror; null: that of the authors.")


@task("check_data")
@dataclass
class CheckDataTask(TaskConfig):
    idle_groups: ClassVar[tuple[str, ...]] = ("model", *NO_TRAINING[1:], "precision", "hardware", "tracking")

    output: Optional[str] = option("The .json file for the report; it must not exist; null: print only.")


@task("doctor")
@dataclass
class DoctorTask(TaskConfig):
    """Every key of a training may be given: it looks at the machine for that training."""

    format: str = option("text for people, json for programs.", choices=("text", "json"))


@task("pack")
@dataclass
class PackTask(TaskConfig):
    idle_groups: ClassVar[tuple[str, ...]] = ("model", *NO_TRAINING, "precision", "hardware", "tracking")

    format: str = option(
        "tar: WebDataset shards, readable by every tar program; mindrecord: readable by ms.dataset.MindDataset.",
        choices=("tar", "mindrecord"),
    )
    output: str = option("The folder to write; it must not exist or be empty.")
    shard_mb: int = option("Maximum megabytes of images per shard; a larger image gets its own shard.", unit="MB", low=1)
    source: Optional[str] = option(
        "Folder with the files of ImageNet as one downloads them (ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar, "
        "ILSVRC2012_devkit_t12.tar.gz), read instead of data.root; null: pack data.root.",
        default=None,
    )


@task("export")
@dataclass
class ExportTask(TaskConfig):
    idle_groups: ClassVar[tuple[str, ...]] = (*NO_TRAINING, "precision")
    resizable: ClassVar[tuple[str, ...]] = ("model.img_size",)  # it resizes the position embedding

    format: str = option("File format.", choices=("mindir", "onnx", "safetensors", "air"))
    which: str = _which()
    weights: str = _weights()
    precision: str = option(
        "Type of stored parameters and matrix products; norms and softmax stay float32.",
        choices=("float32", "float16"),
    )
    batch: Optional[int] = option("Fixed batch size of the network; null: any.", unit="images", low=1)
    preprocess_in_graph: bool = option(
        "true: the network takes pixels, uint8 [N, H, W, C], and normalises them; false: normalised float32 [N, C, H, W]."
    )
    images: int = option("Validation images on which the exported file is compared with the checkpoint.", unit="images", low=1)
    output: Optional[str] = option(
        "The folder to write; it must not exist; null: exports/<format>_<weights> in the run of the weights."
    )
    calibrate: bool = option(
        "Divide the logits by the temperature that has the least loss on the validation images, so that the probabilities "
        "are calibrated.",
        default=False,
    )


@task("report")
@dataclass
class ReportTask(TaskConfig):
    """No keys of its own: ``sweep.dir`` selects the sweep."""

    idle_groups: ClassVar[tuple[str, ...]] = _NO_RUN


@task("sync")
@dataclass
class SyncTask(TaskConfig):
    """No keys of its own."""

    idle_groups: ClassVar[tuple[str, ...]] = _NO_RUN


@task("register")
@dataclass
class RegisterTask(TaskConfig):
    idle_groups: ClassVar[tuple[str, ...]] = (*NO_TRAINING, "precision")

    registered_model_name: str = option("Name in MLflow's model registry; a new version is added.")
    alias: Optional[str] = option("Alias to move to this version, such as champion; null: none.")
    model: Optional[str] = option("A folder of task=export or its file; or use run=.")
    format: str = option("Export of `run` to register; it is created if missing.", choices=("mindir", "onnx"))
    which: str = _which()
    weights: str = _weights("a run")


@dataclass
class InferenceTask(TaskConfig):
    """Keys of all tasks that apply a trained network to images."""

    idle_groups: ClassVar[tuple[str, ...]] = NO_TRAINING

    input: str = option(
        "An image, a folder of images, a .txt list of images (one path per line), a tree of class folders, or one of the two "
        "folders of task=pack."
    )
    model: Optional[str] = option(
        "Model: a folder of task=export or its file, a run directory, `last`, an MLflow run id, a checkpoint folder, a "
        "file of weights or an official name; or use run= or checkpoint=."
    )
    which: str = _which("a run")
    weights: str = _weights()
    classes: Optional[str] = _class_names("the model")


@task("predict")
@dataclass
class PredictTask(InferenceTask):
    topk: int = option("Number of most likely classes per image.", unit="classes", low=1)
    output: Optional[str] = _predictions()


@task("explain")
@dataclass
class ExplainTask(InferenceTask):
    images: int = option(
        "Maximum number of images drawn, spread evenly over the input; one picture each.", unit="images", low=1
    )


@task("preprocess")
@dataclass
class PreprocessTask(InferenceTask):
    idle_groups: ClassVar[tuple[str, ...]] = (*NO_TRAINING, "precision", "hardware")

    output: str = option("Folder for the .bin inputs and their labels; it must not exist.")


@task("postprocess")
@dataclass
class PostprocessTask(TaskConfig):
    idle_groups: ClassVar[tuple[str, ...]] = _NO_RUN

    input: str = option("The output folder of task=preprocess.")
    results: str = option("Folder with the results of the device: float32 logits NAME_0.bin for each input NAME.bin.")
    topk: int = option("Number of most likely classes per image.", unit="classes", low=1)
    output: Optional[str] = _predictions()


@task("compare")
@dataclass
class CompareTask(TaskConfig):
    idle_groups: ClassVar[tuple[str, ...]] = ("model", *NO_TRAINING)
    tracked: ClassVar[bool] = True
    fixed_by_weights: ClassVar[bool] = False

    models: list[str] = option(
        "Two or more models: each a run directory, `last`, an MLflow run id, a checkpoint folder, a folder of "
        "task=export or its file, a file of weights or an official name."
    )
    input: Optional[str] = option(
        "A tree of class folders; null: the validation images of data, by default the data of the first model's run."
    )
    classes: Optional[str] = _class_names("the models")
    which: str = _which("each run")
    weights: str = _weights("each run or checkpoint folder")
