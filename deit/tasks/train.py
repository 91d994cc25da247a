"""Train a model, from the first step to the last evaluation, in one linear program.

Where it begins, the first that is there:

1. the newest whole checkpoint of its own run directory (a resumed run); pretrained weights are then not looked at,
2. ``model.pretrained``, as far as it fits; what it lacks is initial,
3. initial weights, a function of ``seed``.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from deit.config.schema import RunConfig
from deit.data.datasets import open_dataset
from deit.data.loader import EvalLoader, TrainBatch, TrainLoader
from deit.data.source import Dataset
from deit.engine import resume, step_randomness
from deit.engine.distributed import sum_over_ranks
from deit.engine.evaluation import Accuracy, Answers, EvalStep, evaluate
from deit.engine.loss import build_loss
from deit.engine.meter import Meter
from deit.engine.nonfinite import Verdict, Watch
from deit.engine.pace import Pace
from deit.engine.saver import Saver
from deit.engine.state import TrainState, first_weights
from deit.engine.step import TrainStep
from deit.engine.step_inputs import StepInputs, batch_inputs
from deit.engine.teacher import Teaching, build_teaching
from deit.errors import UserError
from deit.files import write_json
from deit.recipe.plan import plan
from deit.runs import checkpoint
from deit.tasks.context import Context, Interrupted, StopRequested
from deit.tasks.figures import Figures
from deit.weights.fit import fit
from deit.weights.read import names_of, read_weights
from deit.weights.whole import require_whole

SHOWN = ("train/loss", "perf/images_per_s", "perf/data_wait")  # metrics that the live display shows


def run(context: Context) -> dict[str, Any]:
    """Run the training of ``context.config``; returns the best and the last results.

    ``{"best": {"val": {...}, "val_ema": {...}}, "last": {...}}``, each with top1, top5, loss, step, epoch; of a
    distillation also ``"teacher"``, with top1, top5, loss, images, description.
    Raises Interrupted after a signal, when a checkpoint has been written.
    """
    config, report, rank, world = context.config, context.report, context.rank, context.world

    train_data, val_data = open_dataset(config.data, train=True), open_dataset(config.data, train=False)
    loader = TrainLoader(config, train_data, rank, world)
    course = plan(config, len(train_data))
    passes, steps_per_epoch, total_steps = config.optim.accumulation_steps, course.steps_per_epoch, course.total_steps

    figures = Figures(context, val_data)
    figures.note_data(train=train_data, val=val_data)
    restored = resume.newest(context.run, report, rank, world)
    state = TrainState(config, None if restored else _begin(context, train_data.classes))
    teaching = build_teaching(config)
    train_step = _steps(config, state, teaching, world)
    networks = {"val": state.network} | ({"val_ema": state.average} if state.average is not None else {})
    eval_steps = {prefix: EvalStep(config, network) for prefix, network in networks.items()}

    done = 0  # optimizer steps done
    best: dict[str, dict[str, Any]] = {}
    last: dict[str, dict[str, Any]] = {}
    teacher: dict[str, Any] | None = None  # what is known of it
    meter = Meter(dynamic=config.precision.loss_scale == "dynamic")
    meter.begin(state.scale())
    pace, watch = Pace(), Watch(config, report)
    saver = Saver(context.run, config.checkpointing, report, steps_per_epoch, writes=rank == 0)

    def go_on_from(restored: resume.Restored) -> None:
        """Put the training where it stood when this checkpoint was written."""
        nonlocal done, best, last
        state.load(restored.parts)
        done, best, last = restored.step, dict(restored.state["best"]), dict(restored.state["last"])
        meter.begin(state.scale(), restored.state)
        saver.at(done)

    if restored:
        _check_data(restored.state, train_data)
        teacher = _check_teacher(restored.state, teaching)
        go_on_from(restored)
        report.event("resumed", done, checkpoint=restored.name)

    def save() -> None:
        facts = {
            "epoch": done // steps_per_epoch,
            # A checkpoint describes its network; where the first weights came from is no part of that.
            "model": dataclasses.asdict(dataclasses.replace(config.model, pretrained=None)),
            "num_classes": config.data.num_classes,
            "classes": train_data.classes,
            "train_images": len(train_data),
            "best": best,
            "last": last,
            "teacher": teacher,
        }
        saver.save(done, state.parts, facts | meter.saved())

    def stop() -> None:
        """Write a checkpoint and end, because of a signal."""
        save()
        saver.wait()
        raise Interrupted(context.stop_signals[0])

    def roll_back() -> None:
        """Return to the last checkpoint. Raises UserError where that cannot help any more."""
        saver.wait()  # rank 0's; the others wait for it in ``newest``
        restored = resume.newest(context.run, report, rank, world)
        if restored is None or not watch.returns_to(restored.step):
            raise watch.stop(context.run, train_data, world, rank)
        go_on_from(restored)

    def evaluation_is_due() -> bool:
        epoch, rest = divmod(done, steps_per_epoch)
        at_its_time = done == total_steps or (rest == 0 and epoch > 0 and epoch % config.schedule.eval_every == 0)
        return at_its_time and ("val" not in last or last["val"]["step"] != done)

    def count(images: int) -> None:
        pace.batch(images)
        context.evaluated(images)

    def evaluations_left() -> int:
        """How many more networks will be evaluated."""
        every = steps_per_epoch * config.schedule.eval_every
        return len(eval_steps) * ((total_steps - 1) // every - done // every + 1)

    def evaluate_all() -> bool:
        """Evaluate raw and EMA weights; returns whether either is better than ever."""
        found, answers = {}, {prefix: Answers() for prefix in eval_steps}
        for prefix, step in eval_steps.items():
            context.evaluating("evaluating" if prefix == "val" else "evaluating EMA", len(val_data))
            batches = context.noting(done, EvalLoader(config, val_data, rank, world))
            accuracy = evaluate(step, batches, world, count, answers[prefix])
            pace.evaluation()
            found[prefix] = _entry(accuracy, done, -(-done // steps_per_epoch))
            report.metrics(done, accuracy.metrics(prefix))
        last.update(found)
        better = [prefix for prefix in found if prefix not in best or found[prefix]["top1"] > best[prefix]["top1"]]
        best.update({prefix: found[prefix] for prefix in better})
        for prefix in better:
            figures.keep(prefix, answers[prefix], done)
        report.metrics(done, {f"best/{prefix}_top1": entry["top1"] for prefix, entry in best.items()})
        report.metrics(done, context.data_metrics(done))
        report.progress(now=True, phase="training", best=best, last=last)
        return bool(better)

    report.progress(
        now=True,
        phase="compiling",
        epoch=done // steps_per_epoch + 1,
        epochs=course.epochs,
        step=done,
        steps=total_steps,
        best=best,
        last=last,
    )
    if teaching is not None and teacher is None:
        teacher = _introduce(context, teaching, val_data)
    with saver:
        while True:
            improved = evaluated = False
            if evaluation_is_due():  # also after a resume, if the signal came during the evaluation
                evaluated = True
                try:
                    improved = evaluate_all()
                except StopRequested:
                    stop()
            if improved or (evaluated and done == total_steps) or saver.due(done):
                save()
            if done >= total_steps:
                break

            epoch, skipped = divmod(done, steps_per_epoch)
            micro_batches = loader.epoch(epoch, start=skipped * passes)
            meter.start(loader.waited)
            for _ in range(skipped, steps_per_epoch):
                began, lr = time.monotonic(), course.learning_rate(done)
                meter.add(done, *train_step(context, micro_batches, done, lr))
                done += 1
                saver.check()
                end_of_epoch = done % steps_per_epoch == 0 or done == total_steps
                tells = done % config.tracking.log_every == 0 or end_of_epoch
                # All ranks judge after the same steps, so that they go back or stop together.
                verdict = watch.judge(meter.bad()) if tells or saver.due_by_steps(done) else Verdict.GO_ON
                if verdict is Verdict.ROLL_BACK:
                    roll_back()
                    break
                pace.step(time.monotonic() - began)
                end = pace.expected_end(total_steps - done, evaluations_left())
                now: dict[str, Any] = {"phase": "training", "epoch": epoch + 1, "step": done, "lr": lr, "expected_end": end}
                if tells:
                    metrics = meter.metrics(loader.waited, course.global_batch)
                    report.metrics(done, metrics | {"train/lr": lr, "train/epoch": done / steps_per_epoch})
                    if not evaluation_is_due():  # which may find more
                        report.metrics(done, context.data_metrics(done))
                    now |= {name.partition("/")[2]: metrics[name] for name in SHOWN}
                report.progress(**now)
                if verdict is Verdict.STOP:
                    raise watch.stop(context.run, train_data, world, rank)
                if context.stop_signals:
                    stop()
                if end_of_epoch:
                    break
                if saver.due(done) and not meter.has_bad():  # what is not judged yet may have to be undone
                    save()
            micro_batches.close()
        figures.draw()
        saver.finish()
    # No rank leaves while rank 0 still writes: a vanished rank is taken for a crash.
    sum_over_ranks([done], world)
    return {"best": best, "last": last} | ({"teacher": teacher} if teacher is not None else {})


def _steps(config: RunConfig, state: TrainState, teaching: Teaching | None, world: int) -> Any:
    """A function (context, micro batches, step, lr) that does one optimizer step and returns what it found."""
    loss = build_loss(config.distill)
    ask: Any = (lambda *batch: None) if teaching is None else teaching.teacher
    cells = {
        update: TrainStep(
            config, state.network, state.average, loss, state.optimizer, state.loss_scale, state.buffers, world, update
        )
        for update in ((True,) if config.optim.accumulation_steps == 1 else (False, True))
    }
    passes = config.optim.accumulation_steps

    def step(context: Context, micro_batches: Any, done: int, lr: float) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        losses = []
        for i in range(passes):
            batch: TrainBatch = next(micro_batches)
            context.bad_images.add("train", done + 1, batch.bad)
            micro_step = done * passes + i
            batch_tensors = batch_inputs(config, batch, micro_step, context.rank)
            inputs = StepInputs(
                *batch_tensors,
                drop_path=step_randomness.drop_path(config, micro_step, context.rank, world),
                dropout_key=step_randomness.dropout_key(config, micro_step, context.rank),
                first=Tensor(i == 0),
                lr=Tensor(lr, ms.float32),
                teacher_logits=ask(*batch_tensors),
            )
            micro_loss, norm, finite, scale = cells[i == passes - 1](*inputs)
            losses.append(micro_loss)
        return losses, norm, finite, scale

    return step


def _begin(context: Context, classes: list[str]) -> dict[str, np.ndarray]:
    """The weights of the first step: initial, or those of ``model.pretrained`` as far as they fit."""
    config, weights = context.config, first_weights(context.config)
    if config.model.pretrained is None:
        return weights
    path = Path(config.model.pretrained)
    weights, fitting = fit(read_weights(path), weights, names_of(path), classes)
    require_whole(fitting, config)
    told = {"file": config.model.pretrained} | fitting.to_dict()
    context.report.event("pretrained", 0, **told | {"taken": len(fitting.taken)})
    if context.rank == 0:
        write_json(context.run.pretrained, told)
    return weights


def _introduce(context: Context, teaching: Teaching, val_data: Dataset) -> dict[str, Any]:
    """Evaluate the teacher before the first step, and say who it is: a teacher of other classes or colours shows here."""
    config, report = context.config, context.report
    context.evaluating("evaluating the teacher", len(val_data))
    if teaching.batch is not None:  # a MINDIR may take no other number of images
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, eval_batch_size=teaching.batch))
    loader = context.noting(0, EvalLoader(config, val_data, context.rank, context.world))
    try:
        accuracy = evaluate(EvalStep(config, teaching.network), loader, context.world, context.evaluated)
    except StopRequested:
        raise Interrupted(context.stop_signals[0]) from None
    known = dataclasses.asdict(accuracy) | {"description": teaching.description, "sha256": teaching.sha256}
    report.metrics(0, accuracy.metrics("teacher"))
    report.event("teacher", 0, **known)
    report.progress(now=True, phase="compiling", teacher=known)
    return known


def _check_data(saved: dict[str, Any], data: Dataset) -> None:
    """Refuse to resume with other data: the order of images and the steps of an epoch would not be the same."""
    for what, before, now in (
        ("training images", saved["train_images"], len(data)),
        ("classes", saved["classes"], data.classes),
    ):
        if before != now:
            raise UserError(f"resume: the run had {before} {what}, now there are {now}. Give data.root= of the same data.")


def _check_teacher(saved: dict[str, Any], teaching: Teaching | None) -> dict[str, Any] | None:
    """What the run knows of its teacher. Refuses another one: the student would learn two things."""
    known: dict[str, Any] | None = saved.get("teacher")
    if known is not None and teaching is not None and known["sha256"] != teaching.sha256:
        raise UserError(
            f"resume: the teacher of this run was {known['description']} with the SHA-256 {known['sha256'][:8]}, the file of "
            f"distill.teacher has {teaching.sha256[:8]} now. Put the old file back, or give distill.teacher= where it is."
        )
    return known


def _entry(accuracy: Accuracy, step: int, epoch: int) -> dict[str, Any]:
    return dataclasses.asdict(accuracy) | {"step": step, "epoch": epoch, "checkpoint": checkpoint.folder_name(step)}
