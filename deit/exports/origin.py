"""The origin of an export's weights, and its output folder. Used by the launcher and by the worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deit.config.schema import RunConfig, sides, size_text
from deit.config.tasks import ExportTask, expect
from deit.errors import UserError
from deit.exports.description import Metrics, Source
from deit.files import sha256
from deit.models.shapes import parameter_shapes
from deit.runs import checkpoint
from deit.runs.directory import RunDirectory
from deit.runs.task_output import check_new, new_folder
from deit.weights.choice import choose, measured
from deit.weights.find import files_to_load
from deit.weights.fit import compare
from deit.weights.read import grid_of, is_part, read_shapes, said_of
from deit.weights.whole import contradictions, recipe_of


@dataclass(frozen=True)
class Origin:
    """A weight file: ``weights`` is ``raw`` or ``ema``; ``run`` is None if it is not in a run's checkpoint."""

    file: Path
    weights: str
    run: RunDirectory | None
    key: str  # ``run`` or ``checkpoint``, which named it

    @property
    def source(self) -> Source | None:
        """The run and its step, for ``model.json``."""
        if self.run is None:
            return None
        return Source(self.run.id, str(self.run.path), checkpoint.read_state(self.file.parent)["step"])

    @property
    def metrics(self) -> Metrics | None:
        """The run's results for exactly these weights; None if it did not evaluate them."""
        if self.run is None:
            return None
        entry = measured(self.file)
        return Metrics(entry["top1"], entry["top5"], entry["loss"]) if entry else None

    @property
    def sha256(self) -> str:
        return sha256(self.file)


def find_origin(config: RunConfig) -> Origin:
    """The weights of ``run`` or ``checkpoint`` and ``task.weights``. Raises UserError if there are none."""
    task = expect(config.task, ExportTask)
    key, files = files_to_load(config, task.which)
    if config.checkpoint is not None and is_part(Path(config.checkpoint)):
        file = files["val"].resolve()
        weights = "ema" if file.stem == "ema" else "raw"
    else:
        choice = choose(files, task.weights, f"{key}={getattr(config, key)}")
        weights, file = choice.weights, choice.file.resolve()
    run = RunDirectory(file.parents[2]) if is_part(file) and file.parents[1].name == "checkpoints" else None
    return Origin(file, weights, run if run and run.config.is_file() else None, key)


def check_fit(config: RunConfig, origin: Origin) -> str | None:
    """Compare the header of the file with the model; returns how the position embedding will be resized, None if it is not.

    Raises UserError if more than the image size differs.
    """
    assert config.data.num_classes is not None  # set by the data check
    key = origin.key
    try:
        shapes, metadata = read_shapes(origin.file, origin.weights)
    except UserError as error:
        raise UserError(f"{key}={error}") from None
    grids = (grid_of(origin.file), config.model.grid)
    told = compare(shapes, parameter_shapes(config.model, config.data.num_classes), grids=grids)
    contradicted = contradictions(metadata, config.model)
    if told.missing or told.extra or told.misshapen or told.replaced or told.adapted or contradicted:
        reasons = [line for line in told.lines()[1:] if not line.startswith("pos_embed")] + contradicted
        reasons += [said] if (said := said_of(origin.file)) else []
        reasons += recipe_of(origin.file) if key == "checkpoint" else []
        raise UserError(f"{key}={origin.file}: belongs to another model than {config.model.name}: " + "; ".join(reasons) + ".")
    return told.resized.get("pos_embed")


def output_folder(config: RunConfig, origin: Origin) -> Path:
    """The output folder of the export: ``task.output``, or ``usual_folder``.

    Raises UserError if it exists or cannot be determined.
    """
    task = expect(config.task, ExportTask)
    if task.output is not None:
        return new_folder(task.output)
    if origin.run is None:
        raise UserError(f"task.output is null, but {origin.file} does not belong to a run; give task.output=FOLDER.")
    output = usual_folder(config, origin)
    check_new(output, "null")
    return output


def usual_folder(config: RunConfig, origin: Origin) -> Path:
    """``exports/<format>_<weights>`` in the run of the weights, with a suffix for unusual settings."""
    task = expect(config.task, ExportTask)
    assert origin.run is not None
    special = [task.precision] if task.precision != "float32" else []
    special += ["pixels"] if task.preprocess_in_graph else []
    special += [f"batch{task.batch}"] if task.batch is not None else []
    special += ["calibrated"] if task.calibrate else []
    trained = checkpoint.read_state(origin.file.parent)["model"]["img_size"]
    size = size_text(config.model.img_size).replace(" ", "")
    special += [f"{size}px"] if config.model.image_size != sides(trained) else []
    return origin.run.exports / "_".join([task.format, origin.weights, *special])
