"""The schema of the group ``task``: the keys of each task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from deit.config.field import option


@dataclass
class TaskConfig:
    name: str = option(
        "What to do.",
        choices=(
            *("train", "evaluate", "preview", "convert", "export", "check_data", "pack", "report", "sync", "register"),
            *("predict", "explain", "preprocess", "postprocess", "compare"),
        ),
    )


@dataclass
class TrainTask(TaskConfig):
    """Needs no keys of its own."""


@dataclass
class EvaluateTask(TaskConfig):
    which: str = option("Which checkpoint of `run` to take.", choices=("best", "last"))
    heads: bool = option("Evaluate each head of a distilled model by itself too, not only their mean.")


@dataclass
class PreviewTask(TaskConfig):
    images: int = option("Most images shown; of the training a batch is all there is.", unit="images", low=1, high=64)
    ranks: Optional[int] = option(
        "Processes of the training, of which the first is shown; null: hardware.cards * hardware.nodes.",
        unit="processes",
        low=1,
    )


@dataclass
class ConvertTask(TaskConfig):
    output: str = option("The .safetensors file to write; there must be none yet.")
    naming: str = option("Whose names the parameters get; they differ for the norms alone.", choices=("mindspore", "timm"))
    which: str = option("Which checkpoint of `run` to take.", choices=("best", "last"))
    weights: str = option(
        "Which weights of a run or checkpoint folder; auto takes the better by their recorded evaluation.",
        choices=("auto", "raw", "ema"),
    )


@dataclass
class CheckDataTask(TaskConfig):
    output: Optional[str] = option("The .json file to write the report to; there must be none yet. Null prints it only.")


@dataclass
class PackTask(TaskConfig):
    format: str = option(
        "tar: WebDataset's shards, which every tar program reads; mindrecord: what ms.dataset.MindDataset reads.",
        choices=("tar", "mindrecord"),
    )
    output: str = option("The folder to write; there must be none yet, or an empty one.")
    shard_mb: int = option("Most megabytes of images in a shard; a larger image has one to itself.", unit="MB", low=1)


@dataclass
class ExportTask(TaskConfig):
    format: str = option("What is written.", choices=("mindir", "onnx", "safetensors", "air"))
    which: str = option("Which checkpoint of `run` to take.", choices=("best", "last"))
    weights: str = option(
        "Which weights of a run or checkpoint folder; auto takes the better by their recorded evaluation.",
        choices=("auto", "raw", "ema"),
    )
    precision: str = option(
        "In which type parameters are stored and matrix products computed; norms and softmax stay float32.",
        choices=("float32", "float16"),
    )
    batch: Optional[int] = option("How many images the network takes at once; null: any number.", unit="images", low=1)
    preprocess_in_graph: bool = option(
        "Let the network take pixels, uint8 [N, H, W, 3], and normalise them; else it takes normalised float32 [N, 3, H, W]."
    )
    images: int = option("Validation images on which what was written is compared with the checkpoint.", unit="images", low=1)
    output: Optional[str] = option(
        "The folder to write, which must not be there yet; null: exports/<format>_<weights> in the run of the weights."
    )


@dataclass
class ReportTask(TaskConfig):
    """Needs no keys of its own: ``sweep.dir`` says which sweep."""


@dataclass
class SyncTask(TaskConfig):
    """Needs no keys of its own."""


@dataclass
class RegisterTask(TaskConfig):
    registered_model_name: str = option("Name in MLflow's model registry, of which this becomes the next version.")
    alias: Optional[str] = option("Alias that from now on means this version, such as champion; null sets none.")
    model: Optional[str] = option("A folder of task=export or its file; instead of it run= can be given.")
    format: str = option(
        "The export of `run` that is registered; it is made where it is not there.", choices=("mindir", "onnx")
    )
    which: str = option("Which checkpoint of `run` to take.", choices=("best", "last"))
    weights: str = option(
        "Which weights of a run; auto takes the better by their recorded evaluation.", choices=("auto", "raw", "ema")
    )


@dataclass
class InferenceTask(TaskConfig):
    """The keys of all tasks that give images to a trained network."""

    input: str = option(
        "An image, a folder of images, a .txt list of images (one path a line), a tree of class folders, or one of the two "
        "folders of task=pack."
    )
    model: Optional[str] = option(
        "Whose answers: a folder of task=export or its file, a run directory, `last`, an MLflow run id, a checkpoint folder, a "
        "file of weights or an official name. Instead of it run= or checkpoint= can be given."
    )
    which: str = option("Which checkpoint of a run to take.", choices=("best", "last"))
    weights: str = option(
        "Which weights of a run or checkpoint folder; auto takes the better by their recorded evaluation.",
        choices=("auto", "raw", "ema"),
    )
    classes: Optional[str] = option(
        "File of class names in the order of the labels, one a line; null takes those the model knows, else the class folders'."
    )


@dataclass
class PredictTask(InferenceTask):
    topk: int = option("Likeliest classes written for an image.", unit="classes", low=1)
    output: Optional[str] = option(
        "The .jsonl or .csv file to write; there must be none yet. null: predictions.jsonl in the run directory."
    )


@dataclass
class ExplainTask(InferenceTask):
    images: int = option("Most images shown, spread evenly over the input; each becomes a picture.", unit="images", low=1)


@dataclass
class PreprocessTask(InferenceTask):
    output: str = option("Folder to make for the .bin inputs and their labels; there must be none yet.")


@dataclass
class PostprocessTask(TaskConfig):
    input: str = option("The folder that task=preprocess has written.")
    results: str = option("Folder of the device's results: for each input NAME.bin a NAME_0.bin of float32 logits.")
    topk: int = option("Likeliest classes written for an image.", unit="classes", low=1)
    output: Optional[str] = option(
        "The .jsonl or .csv file to write; there must be none yet. null: predictions.jsonl in the run directory."
    )


@dataclass
class CompareTask(TaskConfig):
    models: list[str] = option(
        "The models to compare, two or more: each a run directory, `last`, an MLflow run id, a checkpoint folder, a folder of "
        "task=export or its file, a file of weights or an official name."
    )
    input: Optional[str] = option(
        "The images, a tree of class folders; null: the validation images of data, which is that of the first model's run."
    )
    classes: Optional[str] = option(
        "File of class names in the order of the labels, one a line; null takes those the models know, else the class folders'."
    )
    which: str = option("Which checkpoint of each run to take.", choices=("best", "last"))
    weights: str = option(
        "Which weights of each run or checkpoint folder; auto takes the better by their recorded evaluation.",
        choices=("auto", "raw", "ema"),
    )


TASKS: dict[str, type[TaskConfig]] = {
    "train": TrainTask,
    "evaluate": EvaluateTask,
    "preview": PreviewTask,
    "convert": ConvertTask,
    "check_data": CheckDataTask,
    "pack": PackTask,
    "export": ExportTask,
    "report": ReportTask,
    "sync": SyncTask,
    "compare": CompareTask,
    "register": RegisterTask,
    "predict": PredictTask,
    "explain": ExplainTask,
    "preprocess": PreprocessTask,
    "postprocess": PostprocessTask,
}
TRACKED_TASKS = ("train", "evaluate", "compare")  # the others find no metrics, so that there is nothing to send to MLflow
