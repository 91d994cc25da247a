"""``model.json``: the description in an exported folder, so that its users need neither the run nor this program's conf/.

    model.mindir | model.onnx | model.safetensors | model.air
    model.json

It describes the model, its classes, the preprocessing, input and output, the origin of the weights, and the measured
difference from them. Both sides read it; it needs no MindSpore.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from deit.config import frozen
from deit.config.schema import ModelConfig, sides
from deit.errors import UserError
from deit.files import sha256
from deit.runs.directory import RunDirectory

FILE = "model.json"
FORMAT = 1  # raised when older programs cannot read the new content
EXPORT_FORMATS = ("mindir", "air", "onnx", "safetensors")


@dataclass(frozen=True)
class Preprocessing:
    """From a decoded image to the network's input: resize it so that it covers img_size / crop_pct, crop the centre,
    (x / 255 - mean) / std. With ``in_graph`` the last step is part of the file, which then takes uint8 pixels.
    Transparent pixels show ``background`` (data.background).
    """

    in_graph: bool
    img_size: Any  # a number for a square, or [height, width]
    crop_pct: float
    interpolation: str
    mean: list[float]
    std: list[float]
    background: str = "none"  # of exports from before this was a choice

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return sides(self.img_size)

    @property
    def channels(self) -> int:
        """3 for RGB, 1 for grey (Pillow's mode L)."""
        return len(self.mean)


@dataclass(frozen=True)
class Input:
    """``shape`` has null for any number of images; ``layout`` is NCHW (normalised) or NHWC (pixels)."""

    name: str
    shape: list[Optional[int]]
    dtype: str
    layout: str


@dataclass(frozen=True)
class Output:
    """Logits; those of a distilled model are the mean of its heads, as in the evaluation."""

    name: str
    shape: list[Optional[int]]
    dtype: str


@dataclass(frozen=True)
class Source:
    """The run and step of the weights."""

    id: str
    directory: str
    step: int


@dataclass(frozen=True)
class Metrics:
    """The run's results for these weights on all its validation images: percent, percent, mean cross entropy."""

    top1: float
    top5: float
    loss: float


@dataclass(frozen=True)
class Verification:
    """Comparison of the reloaded file with the checkpoint's network in float32, on so many validation images.

    ``max_difference`` is of logits; a file above ``tolerance`` is not kept. ``top1_agreement`` is the fraction of images with
    the same class. ``against`` identifies the weight file by its SHA-256.
    """

    images: int
    max_difference: float
    tolerance: float
    top1_agreement: float
    against: str


@dataclass(frozen=True)
class Calibration:
    """The logits of the file are divided by ``temperature``, which has the least mean cross entropy (nll) on so many validation
    images. ``ece`` is the expected calibration error in percent, of 15 bins. ``metrics`` are those before the division.
    """

    temperature: float
    images: int
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float


@dataclass(frozen=True)
class Description:
    """All of ``model.json``."""

    format: int
    file: str
    export_format: str
    bytes: int
    sha256: str
    model: ModelConfig
    num_classes: int
    classes: list[str]
    weights: str
    precision: str
    preprocessing: Preprocessing
    input: Input
    output: Output
    run: Optional[Source]
    metrics: Optional[Metrics]
    verification: Optional[Verification]  # None for an AIR file, which cannot be read back
    calibration: Optional[Calibration] = None  # None without task.calibrate

    @property
    def batch(self) -> int | None:
        """The batch size of the file; None for any."""
        return self.input.shape[0]

    @property
    def run_here(self) -> RunDirectory | None:
        """The run directory of the weights; None if it is not on this machine."""
        run = RunDirectory(self.run.directory) if self.run is not None else None
        return run if run is not None and run.config.is_file() else None


def write(folder: Path, description: Description) -> None:
    """Write ``model.json`` into a folder that is not visible yet."""
    text = json.dumps(dataclasses.asdict(description), indent=1, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read(folder: Path, source: str) -> Description:
    """The description of an exported folder, after checking its file.

    Raises UserError, naming ``source`` (such as ``export=FOLDER``), if the folder is not an export or the file is damaged.
    """
    place = f"{source}: {folder / FILE}"
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{source}: not a folder of task=export, {FILE} is missing.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{place} is damaged ({error}).") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        found = values.get("format") if isinstance(values, dict) else None
        raise UserError(f"{place} has format {found}, this program reads format {FORMAT}.")
    description = frozen.typed(Description, values, place)
    wrong = _inconsistent(description)
    if wrong:
        raise UserError(f"{place}: {wrong}.")
    _check_file(folder / description.file, description, source)
    return description


def _inconsistent(found: Description) -> str | None:
    if found.export_format not in EXPORT_FORMATS:
        return f"export_format is {found.export_format!r}"
    size, channels, in_graph = found.model.image_size, found.model.in_chans, found.preprocessing.in_graph
    batch, expected = found.input.shape[:1], [*size, channels] if in_graph else [channels, *size]
    checks: dict[str, tuple[Any, Any]] = {
        "file": (found.file, f"model.{found.export_format}"),
        "the number of classes": (len(found.classes), found.num_classes),
        "preprocessing.img_size": (found.preprocessing.size, size),
        "the number of means": (len(found.preprocessing.mean), channels),
        "the number of deviations": (len(found.preprocessing.std), channels),
        "input.shape": (found.input.shape, [*batch, *expected]),
        "input.layout": (found.input.layout, "NHWC" if in_graph else "NCHW"),
        "input.dtype": (found.input.dtype, "uint8" if in_graph else "float32"),
        "output.shape": (found.output.shape, [*batch, found.num_classes]),
    }
    return next((f"{what} is {value}, expected {wanted}" for what, (value, wanted) in checks.items() if value != wanted), None)


def _check_file(path: Path, expected: Description, source: str) -> None:
    try:
        found = path.stat().st_size
        if found != expected.bytes:
            raise UserError(f"{source}: {path} is truncated or another file, {found} bytes instead of {expected.bytes}.")
        digest = sha256(path)
    except OSError as error:
        raise UserError(f"{source}: {path} cannot be read ({error.strerror}).") from None
    if digest != expected.sha256:
        raise UserError(f"{source}: {path} is damaged, its SHA-256 differs from the one in {FILE}.")
