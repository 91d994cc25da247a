"""``task=compare``: two or more models on the same labelled images.

Each model runs in its own worker process, one after another, so that their times are comparable and a crash affects one
model. Its part is in ``models/<number>/`` of the comparison's run directory; ``resume=`` continues a stopped comparison at the
first unfinished model. At the end this process computes the results.

    config.yaml, environment.json, journal.jsonl, status.json    as in any run
    models/1/                                                    the first model's part
    classes.txt                                                  class names by label, if known
    compare.json, compare.csv, ...                               see deit.comparison.output_files
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deit.commands import compare_table
from deit.commands.compare_models import Model, class_list, find_models, open_images, resolved
from deit.commands.task import Task
from deit.comparison import answers, output_files, results
from deit.comparison.answers import Answers
from deit.comparison.results import ModelResult, Results
from deit.compose import rules
from deit.compose.unused_keys import Unused
from deit.config import card_rules, frozen
from deit.config.schema import PREPROCESSING_KEYS, SPLIT_KEYS, RunConfig
from deit.config.tasks import CompareTask, expect
from deit.console import console
from deit.data.source import Dataset
from deit.errors import UserError
from deit.files import read_json, write_json, write_text
from deit.inference.model_source import export_folder
from deit.installation import program
from deit.launching.nodes import Machines
from deit.launching.run import Start
from deit.launching.supervisor import Supervisor
from deit.lookup.base_run import References
from deit.lookup.runs import run_behind
from deit.machine import signals
from deit.models.shapes import gmacs, parameter_count
from deit.preflight.placement import on_one_card
from deit.preflight.recipe_data import bring, with_data
from deit.runs import status
from deit.runs.directory import RunDirectory
from deit.runs.journal import Journal
from deit.runs.outcome import FINISHED, INTERRUPTED, Outcome, failed, finished, signal_code
from deit.text import line_to_type
from deit.tracking.shipper_process import Shipper

CLASSES = "classes.txt"


class Compare(Task[CompareTask]):
    takes = ("resume",)
    instead = "task.models selects what to compare; leave out {}."

    def refuses(self, named: References) -> list[str]:
        if refused := super().refuses(named):
            return refused
        models = named.models or ()
        if len(models) < 2:
            return [f"task.models is [{', '.join(models)}]; allowed: two models or more, such as task.models=[RUN,RUN]."]
        twice = [text for text in dict.fromkeys(models) if models.count(text) > 1]
        return [f"task.models names {twice[0]} twice; allowed: each model once."] if twice else []

    def rules(self, config: RunConfig) -> list[str]:
        # Each model has its own recipe, so only device and images are checked.
        of_data = rules.data(config) if self.of(config).input is None else []
        return of_data + rules.hardware(config) + rules.tracking(config)

    def card_problems(self, config: RunConfig) -> list[str]:
        return card_rules.overflow_mode(config.hardware.target, os.environ)  # `find_models` checks each network

    def unused(self, found: Unused) -> None:
        config, task = found.config, self.of(found.config)
        # `last` and MLflow ids have been replaced by paths.
        exported = [text for text in task.models if export_folder(text) is not None]
        others = [text for text in task.models if text not in exported]
        of_runs = [text for text in others if run_behind(text, "task.models", "", None) is not None]
        of_data = ["name", "eval_batch_size", "workers", "max_pixels", *PREPROCESSING_KEYS]
        if task.input is None:
            of_data += [*SPLIT_KEYS, "eval_split", "source", "root", "format", "num_classes", "val_size", "val_limit"]
            of_data += ["on_bad_image"]
        found.all_but("data", *of_data)
        if len(exported) + len(of_runs) == len(task.models):
            told = "while each of task.models has its own"
            keys = (*(f"data.{key}" for key in PREPROCESSING_KEYS), *(f"precision.{key}" for key in vars(config.precision)))
            found.add(True, told, *keys)
        found.loss_scale()
        found.several_cards()
        found.with_task("seed", "tracking.log_every", "tracking.system_metrics_every", "tracking.upload_checkpoints")
        folders = [text for text in others if Path(text).is_dir()]
        found.add(not folders, "unless one of task.models is a run or a checkpoint folder", "task.weights", "task.which")

    def placed(self, config: RunConfig) -> RunConfig:
        return on_one_card(config, self.of(config).models)

    def check(self, config: RunConfig) -> RunConfig:
        if self.of(config).input is None:
            config = _with_images(config)
            if not bring(config):  # a dry run, whose data is not here
                find_models(config)
                return config
        return resolved(config)

    def outline(self, config: RunConfig, *, starts: bool) -> None:
        task = self.of(config)
        console().print(f"would compare {', '.join(task.models)} on {task.input or f'the data {config.data.name}'}")

    def work(self, start: Start) -> int:
        """Run all models, compute and show the results, and send them to MLflow; returns the exit code.

        Raises UserError if the models have changed since the run directory was created.
        """
        run, config = start.run, start.config
        now = status.Status(state=status.RUNNING, launcher_pid=os.getpid())
        with signals.noted() as got, status.failure_recorded(run, now):
            found = _found(run, config, start.cards, now, got)
        if found is None:
            assert now.exit_code is not None
            return now.exit_code
        now.progress, now.results = {}, {"models": len(found.models), "pairs": len(found.pairs)}
        code = status.end(run, now, finished())
        compare_table.show(run, found)
        _send(run, config)
        return code


def _with_images(config: RunConfig) -> RunConfig:
    """With the data checked; an error explains where the images of a comparison come from."""
    try:
        return with_data(config, trains=False)
    except UserError as error:
        raise UserError(
            f"{error} Models are compared on the validation images of this data; task.input=FOLDER uses class folders instead."
        ) from None


def _found(
    run: RunDirectory, config: RunConfig, cards: Sequence[int], now: status.Status, signalled: Sequence[int]
) -> Results | None:
    """The results of all models, written into the run; None if one did not finish; ``now`` is its status."""
    again = f"resume with:  {program()} {line_to_type('resume', run)}"
    models = find_models(config)
    data = open_images(config, models)
    _name(run, models)
    for number, model in enumerate(models, 1):
        now.progress = {"phase": f"model {number} of {len(models)}"}
        status.write(run, now)
        part = _part(run, config, models, data, number)
        console().print(f"{number} of {len(models)}: {model.text}")
        final = _answer(part, cards)
        if signalled or final.state == INTERRUPTED:
            how = f"stopped at {model.label}"
            console().print(f"{how}; {again}")
            code = final.exit_code if final.state == INTERRUPTED and final.exit_code else signal_code(signalled[0])
            status.end(run, now, Outcome(INTERRUPTED, code, how))
            return None
        if final.state != FINISHED:
            console().print(f"after fixing it, {again}")
            status.end(run, now, failed(f"{model.label}: {final.message}", final.exit_code or 1))
            return None
    found, of_models = _results(run, config, models, data)
    output_files.write(run, found, of_models, class_list(config, models) or data.classes)
    journal = Journal(run.journal)
    journal.metrics(0, {_metric(name): value for name, value in found.metrics().items()})
    journal.close()
    return found


class _Part(Supervisor):
    """The worker of one model; the comparison reports its end and sends its results."""

    def __init__(self, run: RunDirectory, config: RunConfig, cards: Sequence[int]) -> None:
        super().__init__(Start(run, config, cards, Machines(run, config.hardware)), TASK)
        self.shipper = _Unsent(run, config)

    def _show(self, final: status.Status) -> None:
        if final.state != FINISHED:
            super()._show(final)


class _Unsent(Shipper):
    """A part of a comparison sends nothing to MLflow."""

    def start(self) -> None:
        pass


def _part(run: RunDirectory, config: RunConfig, models: Sequence[Model], data: Dataset, number: int) -> RunDirectory:
    """The directory of one model's part, created if necessary, with its worker's configuration."""
    part = RunDirectory(run.path / "models" / str(number))
    for folder in (part.checkpoints, part.logs, part.tracking):
        folder.mkdir(parents=True, exist_ok=True)
    own, known = models[number - 1].config, class_list(config, models)
    if known is not None:
        write_text(run.path / CLASSES, "".join(f"{name}\n" for name in known))
    wanted = dataclasses.replace(
        own,
        name=models[number - 1].label,
        runs_dir=str(run.path),
        task=dataclasses.replace(expect(own.task, CompareTask), classes=None if known is None else str(run.path / CLASSES)),
        data=dataclasses.replace(own.data, eval_batch_size=min(config.data.eval_batch_size, len(data))),
    )
    if not part.config.is_file() or frozen.load(part.config) != wanted:
        frozen.save(wanted, part.config)
        status.write(part, status.Status())
    return part


def _answer(part: RunDirectory, cards: Sequence[int]) -> status.Status:
    """Run the worker of a part, unless it has already finished; returns its final status."""
    if status.finished(part) and (part.path / answers.FILE).is_file():
        console().print("already finished")
        return status.read(part)
    status.write(part, status.Status(launcher_pid=os.getpid()))
    _Part(part, frozen.load(part.config), cards).execute()
    return status.read(part)


def _results(run: RunDirectory, config: RunConfig, models: Sequence[Model], data: Dataset) -> tuple[Results, list[Answers]]:
    parts = [RunDirectory(run.path / "models" / str(number)) for number in range(1, len(models) + 1)]
    found = [answers.read(part.path / answers.FILE) for part in parts]
    labels = [model.label for model in models]
    results.check_same_images(labels, found)
    rows = [
        _of_model(model, answer, status.read(part).results["ms_per_image"])
        for model, answer, part in zip(models, found, parts, strict=True)
    ]
    assert models[0].config.data.num_classes is not None
    called = expect(config.task, CompareTask).input or config.data.name
    left_out = len(data) - len(found[0])
    return Results(
        called, len(found[0]), models[0].config.data.num_classes, left_out, rows, results.pairs(labels, found)
    ), found


def _of_model(model: Model, answer: Answers, ms_per_image: float) -> ModelResult:
    classes = model.config.data.num_classes
    assert classes is not None
    return ModelResult(
        model.label,
        str(model.source),
        model.form,
        model.precision,
        model.facts.get("weights"),
        len(answer),
        *results.accuracy(answer.right),
        *results.accuracy(answer.right5),
        float(answer.loss.mean()),
        ms_per_image,
        1000 / ms_per_image,
        model.size / 1e6,
        parameter_count(model.config.model, classes),
        gmacs(model.config.model, classes),
        mlflow_run=model.mlflow.get("mlflow_run"),
        mlflow_url=model.mlflow.get("mlflow_url"),
    )


def _name(run: RunDirectory, models: Sequence[Model]) -> None:
    """Record the models in ``environment.json``, whose entries become MLflow tags."""
    named: dict[str, Any] = {model.label: {"model": str(model.source), **model.mlflow} for model in models}
    write_json(run.environment, (read_json(run.environment) or {}) | {"compare": named})


def _metric(name: str) -> str:
    """``text`` with only the characters that MLflow allows in a metric name."""
    return re.sub(r"[^\w.\- :/]", "_", name)


def _send(run: RunDirectory, config: RunConfig) -> None:
    """Called after the models are timed: importing MLflow uses a core for seconds."""
    shipper = Shipper(run, config)
    with signals.noted() as got:
        try:
            shipper.start()
            shipper.finish(hurry=lambda: bool(got))
        finally:
            shipper.stop()


TASK = Compare()
