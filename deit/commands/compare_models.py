"""The models of a comparison: found, checked against each other, and given short distinct names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deit.compose import rules
from deit.config import card_rules, class_names, frozen
from deit.config.schema import PREPROCESSING_KEYS, RunConfig
from deit.config.tasks import CompareTask, PredictTask, expect
from deit.data.datasets import open_dataset
from deit.data.source import Dataset, aligned, in_order
from deit.errors import UserError
from deit.exports import description
from deit.inference.labelled import open_tree
from deit.inference.model_source import export_folder, known_names, read_names
from deit.lookup.runs import run_behind
from deit.machine import cards
from deit.preflight import networks
from deit.preflight.learnt_images import warn_of_learnt
from deit.runs import checkpoint, status
from deit.runs.directory import RunDirectory, shown
from deit.text import label
from deit.tracking import progress
from deit.tracking import uri as store
from deit.tracking.sender import own_uri

MOST_KEYS = 3  # by which runs are named; recipes that differ in more are named otherwise
# Groups and keys that may differ between two runs of one recipe and do not affect what was learnt.
OF_NO_RECIPE = {"task", "hardware", "tracking", "checkpointing", "sweep", "name", "runs_dir", "run", "checkpoint", "resume"}
OF_NO_RECIPE |= {"weights_dir", "dry_run", "data.root", "data.workers", "data.eval_batch_size", "model.name"}


@dataclass
class Model:
    """One model of a comparison.

    ``source`` is its export folder or weight file, ``config`` its worker's configuration, ``classes`` their names as far as
    known, ``facts`` what it can be named by, ``run`` the run of its weights, if it is here, ``form`` MindSpore or the format of
    an export, ``size`` the bytes of its file.
    """

    text: str
    source: Path
    config: RunConfig
    classes: list[str] | None
    run: RunDirectory | None
    facts: dict[str, str]
    form: str
    precision: str
    size: int
    label: str = ""

    @property
    def mlflow(self) -> dict[str, str]:
        """The MLflow run of its training and its page on the server; empty if this machine does not know it."""
        if self.run is None:
            return {}
        try:
            uri = own_uri(self.run, frozen.load(self.run.config))
        except UserError:
            return {}
        sent = progress.read(self.run, store.identity(uri))
        if sent.run_id is None or sent.experiment_id is None:
            return {}
        url = store.run_url(uri, sent.experiment_id, sent.run_id)
        return {"mlflow_run": sent.run_id} | ({"mlflow_url": url} if store.ui_command(uri) is None else {})


def resolved(config: RunConfig) -> RunConfig:
    """The configuration with absolute paths, after all checks that need no worker.

    Raises UserError if a model is missing or cannot run here, if two are the same or have different classes, if there are no
    labelled images, or if the comparison to resume has already finished.
    """
    task = expect(config.task, CompareTask)
    if config.resume is not None and status.finished(RunDirectory(config.resume)):
        raise UserError(f"resume={config.resume}: this comparison has already finished.")
    if config.name == config.model.name:
        config = dataclasses.replace(config, name="compare")
    task = dataclasses.replace(
        task,
        models=[str(Path(text).resolve()) if Path(text).exists() else text for text in task.models],
        input=None if task.input is None else str(Path(task.input).resolve()),
        classes=None if task.classes is None else str(Path(task.classes).resolve()),
    )
    config = dataclasses.replace(config, task=task)
    open_images(config, find_models(config))
    return config


def find_models(config: RunConfig) -> list[Model]:
    """The models in the order of ``task.models``, each with its label. Raises UserError as ``resolved`` does."""
    generation = cards.generation(config.hardware)
    models = [_find(config, text, generation) for text in expect(config.task, CompareTask).models]
    for number, model in enumerate(models):
        same = next((other for other in models[:number] if other.source == model.source), None)
        if same is not None:
            raise UserError(
                f"task.models: {shown(same.text)} and {shown(model.text)} are the same model, {shown(model.source)}; allowed: "
                "each once. Name another checkpoint of a run by its folder or file, such as RUN/checkpoints/step_N."
            )
    _check_classes(models)
    add_recipes(models)
    for model, name in zip(models, labels([model.facts for model in models]), strict=True):
        model.label = name
    return models


def class_list(config: RunConfig, models: Sequence[Model]) -> list[str] | None:
    """The class names by label: ``task.classes``, else those of the first model that has them, else None."""
    classes, count = expect(config.task, CompareTask).classes, models[0].config.data.num_classes
    assert count is not None
    if classes is not None:
        return read_names(classes, count)
    return next((model.classes for model in models if model.classes is not None), None)


def open_images(config: RunConfig, models: Sequence[Model]) -> Dataset:
    """The images for all models. Raises UserError if they have no labels, or other classes than the models."""
    task, count = expect(config.task, CompareTask), models[0].config.data.num_classes
    assert count is not None
    known = class_list(config, models)
    if task.input is not None:
        return open_tree(task.input, "task.input", known, count, config.data)
    dataset = open_dataset(config.data, train=False)
    for model in models:
        if model.run is not None:
            warn_of_learnt(f"task.models: {shown(model.text)}", model.run, config.data, dataset)
    first = next((model for model in models if model.classes is not None), models[0])
    if len(dataset.classes) != count:
        apart = f"{count} and {len(dataset.classes)} classes"
        raise UserError(f"task.models: {shown(first.text)} has other classes than the data in {dataset.place}: {apart}.")
    if task.classes is not None:  # other names there do not mean other classes
        return in_order(dataset, known)
    return aligned(dataset, known, f"task.models: {shown(first.text)}")


def labels(facts: Sequence[dict[str, str]]) -> list[str]:
    """A short name for each model, made of the facts that distinguish them, the most meaningful first.

    A fact is used if it distinguishes more models than those before it; names that are still equal get a number.
    """
    taken: list[str] = []

    def told(keys: Sequence[str]) -> list[tuple[str, ...]]:
        return [tuple(fact[key] for key in keys if key in fact) for fact in facts]

    for key in dict.fromkeys(key for fact in facts for key in fact):
        if len(set(told([*taken, key]))) > len(set(told(taken))):
            taken.append(key)
    names = [" ".join(words) or "model" for words in told(taken)]
    return [name if names.count(name) == 1 else f"{name} #{number}" for number, name in enumerate(names, 1)]


def _find(config: RunConfig, text: str, generation: str | None) -> Model:
    task = expect(config.task, CompareTask)
    try:
        behind = run_behind(text, "task.models", config.runs_dir, None)
        asked = PredictTask("predict", "", None, task.which, task.weights, None, 1, None)
        if behind is None:
            own = dataclasses.replace(config, task=dataclasses.replace(asked, model=text), run=None, checkpoint=None)
        else:
            run, part = behind
            own = dataclasses.replace(frozen.load(run.config), task=asked, run=None, checkpoint=None)
            own.run, own.checkpoint = (str(run.path), None) if part is None else (None, str(part))
        found, network = networks.with_network(
            dataclasses.replace(own, hardware=config.hardware), expect(own.task, PredictTask)
        )
    except UserError as error:
        said = re.sub(r"^(task\.models?|run|checkpoint)=", "", str(error))
        raise UserError(f"task.models: {said}") from None
    broken = rules.network(found)
    if export_folder(text) is None:
        broken += card_rules.of_network(found, generation)
    if broken:
        raise UserError(
            f"task.models: {shown(text)} cannot run here as its run did: {broken[0].partition('; give')[0]}. Compare "
            "its export instead (task=export), which has its own precision."
        )
    assert network.model is not None
    return _model(config, text, Path(network.model), found, behind[0] if behind else None)


def _model(config: RunConfig, text: str, source: Path, found: RunConfig, run: RunDirectory | None) -> Model:
    """The model of a resolved prediction ``found``, with its facts."""
    task = expect(config.task, CompareTask)
    kept = {key: getattr(found.data, key) for key in (*PREPROCESSING_KEYS, "num_classes")}
    own = dataclasses.replace(
        found,
        task=dataclasses.replace(task, models=[str(source)]),
        data=dataclasses.replace(config.data, **kept, on_bad_image=config.data.on_bad_image if task.input is None else "skip"),
        tracking=dataclasses.replace(config.tracking, backend="none"),
        seed=config.seed,
        run=None,
        checkpoint=None,
        resume=None,
        weights_dir=config.weights_dir,
    )
    facts = {"model": found.model.name}
    weights: str | None
    classes: list[str] | None
    if source.is_dir():
        made = description.read(source, f"task.models: {text}")
        form, precision, file = made.export_format, made.precision, source / made.file
        run, weights, classes = made.run_here, made.weights, made.classes
        step = None if made.run is None else made.run.step
        special = ("pixels" if made.preprocessing.in_graph else "", f"batch{made.batch}" if made.batch else "")
    else:
        form, file, special = "MindSpore", source, ("", "")
        level = found.precision
        precision = "float32" if level.level == "O0" else f"{level.level} {level.dtype}"
        in_folder = (source.parent / checkpoint.STATE).is_file()
        weights = ("ema" if source.stem == "ema" else "raw") if in_folder else None
        step = checkpoint.read_state(source.parent)["step"] if in_folder else None
        classes = known_names(source, f"task.models: {text}")
    facts |= {"format": form, "weights": weights or "", "precision": precision, "pixels": special[0], "batch": special[1]}
    facts |= {"run": run.id[-6:] if run is not None else "", "step": "" if step is None else f"step {step}"}
    facts |= {"file": source.name, "path": shown(source)}
    facts = {key: value for key, value in facts.items() if value}
    return Model(text, source, own, classes, run, facts, form, precision, file.stat().st_size)


def add_recipes(models: Sequence[Model]) -> None:
    """Put what distinguishes the runs' recipes first: the name, or up to MOST_KEYS keys."""
    recipes = {model.run.id: frozen.load(model.run.config) for model in models if model.run is not None}
    flat = {run: dict(frozen.leaves(frozen.to_dict(recipe))) for run, recipe in recipes.items()}
    keys = [key for key in next(iter(flat.values()), {}) if OF_NO_RECIPE.isdisjoint((key, key.partition(".")[0]))]
    apart = [key for key in keys if len({str(values.get(key)) for values in flat.values()}) > 1]
    for model in models:
        if model.run is None:
            continue
        told = {"recipe": recipes[model.run.id].name}
        if 0 < len(apart) <= MOST_KEYS:
            values = flat[model.run.id]
            told |= {key: label({key: str(values.get(key))}) for key in apart if values.get(key) is not None}
        # The model's own name says more than its recipe's.
        model.facts = {"model": model.facts["model"]} | told | model.facts


def _check_classes(models: Sequence[Model]) -> None:
    first = models[0]
    for other in models[1:]:
        counts = [model.config.data.num_classes or 0 for model in (first, other)]
        apart = f"{counts[0]} and {counts[1]} classes" if counts[0] != counts[1] else ""
        if first.classes is not None and other.classes is not None:
            apart = class_names.difference(first.classes, other.classes)
        if apart:
            raise UserError(
                f"task.models: {shown(first.text)} and {shown(other.text)} have different classes: {apart}. Allowed: models of "
                "the same classes in the same order."
            )
        if first.classes is None:
            first = other  # compare the next with one whose names are known
