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
    """No keys of its own."""


@dataclass
class EvaluateTask(TaskConfig):
    which: str = option("Which checkpoint of `run` to use.", choices=("best", "last"))
    heads: bool = option("Also evaluate each head of a distilled model separately, not only their mean.")


@dataclass
class PreviewTask(TaskConfig):
    images: int = option("Maximum number of images drawn; at most one training batch.", unit="images", low=1, high=64)
    ranks: Optional[int] = option(
        "Processes of the training; the batch of the first is drawn; null: hardware.cards * hardware.nodes.",
        unit="processes",
        low=1,
    )


@dataclass
class ConvertTask(TaskConfig):
    output: str = option("The .safetensors file to write, or a .ckpt for other MindSpore programs; it must not exist.")
    naming: str = option("Naming of the parameters; only the names of norms differ.", choices=("mindspore", "timm"))
    which: str = option("Which checkpoint of `run` to use.", choices=("best", "last"))
    weights: str = option(
        "Which weights of a run or checkpoint folder; auto takes the better by their recorded evaluation.",
        choices=("auto", "raw", "ema"),
    )


@dataclass
class CheckDataTask(TaskConfig):
    output: Optional[str] = option("The .json file for the report; it must not exist; null: print only.")


@dataclass
class PackTask(TaskConfig):
    format: str = option(
        "tar: WebDataset shards, readable by every tar program; mindrecord: readable by ms.dataset.MindDataset.",
        choices=("tar", "mindrecord"),
    )
    output: str = option("The folder to write; it must not exist or be empty.")
    shard_mb: int = option("Maximum megabytes of images per shard; a larger image gets its own shard.", unit="MB", low=1)


@dataclass
class ExportTask(TaskConfig):
    format: str = option("File format.", choices=("mindir", "onnx", "safetensors", "air"))
    which: str = option("Which checkpoint of `run` to use.", choices=("best", "last"))
    weights: str = option(
        "Which weights of a run or checkpoint folder; auto takes the better by their recorded evaluation.",
        choices=("auto", "raw", "ema"),
    )
    precision: str = option(
        "Type of stored parameters and matrix products; norms and softmax stay float32.",
        choices=("float32", "float16"),
    )
    batch: Optional[int] = option("Fixed batch size of the network; null: any.", unit="images", low=1)
    preprocess_in_graph: bool = option(
        "true: the network takes pixels, uint8 [N, H, W, 3], and normalises them; false: normalised float32 [N, 3, H, W]."
    )
    images: int = option("Validation images on which the exported file is compared with the checkpoint.", unit="images", low=1)
    output: Optional[str] = option(
        "The folder to write; it must not exist; null: exports/<format>_<weights> in the run of the weights."
    )


@dataclass
class ReportTask(TaskConfig):
    """No keys of its own: ``sweep.dir`` selects the sweep."""


@dataclass
class SyncTask(TaskConfig):
    """No keys of its own."""


@dataclass
class RegisterTask(TaskConfig):
    registered_model_name: str = option("Name in MLflow's model registry; a new version is added.")
    alias: Optional[str] = option("Alias to move to this version, such as champion; null: none.")
    model: Optional[str] = option("A folder of task=export or its file; or use run=.")
    format: str = option("Export of `run` to register; it is created if missing.", choices=("mindir", "onnx"))
    which: str = option("Which checkpoint of `run` to use.", choices=("best", "last"))
    weights: str = option(
        "Which weights of a run; auto takes the better by their recorded evaluation.", choices=("auto", "raw", "ema")
    )


@dataclass
class InferenceTask(TaskConfig):
    """The keys of all tasks that apply a trained network to images."""

    input: str = option(
        "An image, a folder of images, a .txt list of images (one path per line), a tree of class folders, or one of the two "
        "folders of task=pack."
    )
    model: Optional[str] = option(
        "Model: a folder of task=export or its file, a run directory, `last`, an MLflow run id, a checkpoint folder, a "
        "file of weights or an official name; or use run= or checkpoint=."
    )
    which: str = option("Which checkpoint of a run to use.", choices=("best", "last"))
    weights: str = option(
        "Which weights of a run or checkpoint folder; auto takes the better by their recorded evaluation.",
        choices=("auto", "raw", "ema"),
    )
    classes: Optional[str] = option(
        "File of class names in the order of the labels, one per line; null: those of the model, else of the class folders."
    )


@dataclass
class PredictTask(InferenceTask):
    topk: int = option("Number of most likely classes per image.", unit="classes", low=1)
    output: Optional[str] = option(
        "The .jsonl or .csv file to write; it must not exist; null: predictions.jsonl in the run directory."
    )


@dataclass
class ExplainTask(InferenceTask):
    images: int = option(
        "Maximum number of images drawn, spread evenly over the input; one picture each.", unit="images", low=1
    )


@dataclass
class PreprocessTask(InferenceTask):
    output: str = option("Folder for the .bin inputs and their labels; it must not exist.")


@dataclass
class PostprocessTask(TaskConfig):
    input: str = option("The output folder of task=preprocess.")
    results: str = option("Folder with the results of the device: float32 logits NAME_0.bin for each input NAME.bin.")
    topk: int = option("Number of most likely classes per image.", unit="classes", low=1)
    output: Optional[str] = option(
        "The .jsonl or .csv file to write; it must not exist; null: predictions.jsonl in the run directory."
    )


@dataclass
class CompareTask(TaskConfig):
    models: list[str] = option(
        "Two or more models: each a run directory, `last`, an MLflow run id, a checkpoint folder, a folder of "
        "task=export or its file, a file of weights or an official name."
    )
    input: Optional[str] = option(
        "A tree of class folders; null: the validation images of data, by default the data of the first model's run."
    )
    classes: Optional[str] = option(
        "File of class names in the order of the labels, one per line; null: those of the models, else of the class folders."
    )
    which: str = option("Which checkpoint of each run to use.", choices=("best", "last"))
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
