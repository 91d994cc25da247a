"""Train a model, from the first step to the last evaluation: ``Trainer``, read from top to bottom.

It starts from the first of these that exists:

1. the newest undamaged checkpoint of its own run directory (a resumed run), ignoring pretrained weights,
2. ``model.pretrained``, where it fits, and initial weights for the rest,
3. initial weights, a function of ``seed``.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any, NoReturn

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from deit.config.schema import RunConfig
from deit.data.balance import class_weights
from deit.data.datasets import open_dataset
from deit.data.loader import EvalLoader, TrainBatch, TrainLoader
from deit.data.source import Dataset
from deit.engine import device, resume, step_randomness
from deit.engine.compile_cache import CompileCache
from deit.engine.data_wait import DataWait
from deit.engine.distributed import sum_over_ranks
from deit.engine.evaluation import Accuracy, Answers, build_eval_step, evaluate
from deit.engine.loss import build_loss
from deit.engine.meter import Meter
from deit.engine.network import build_network
from deit.engine.nonfinite import Verdict, Watch, check_evaluated, check_trained
from deit.engine.pace import Pace
from deit.engine.profiling import StepProfiler
from deit.engine.saver import Saver
from deit.engine.state import TrainState, first_weights
from deit.engine.step import TrainStep
from deit.engine.step_inputs import BatchInputs, StepInputs, batch_inputs
from deit.engine.steps_ahead import build_steps_ahead
from deit.engine.teacher import Teaching, build_teaching
from deit.engine.upload import build_upload
from deit.errors import UserError
from deit.files import write_json
from deit.inference.model_source import teacher_order
from deit.recipe.ema_decay import decay_at
from deit.recipe.monitor import monitor_of
from deit.recipe.plan import plan
from deit.runs import checkpoint
from deit.tasks.context import Context, Interrupted
from deit.tasks.figures import Figures
from deit.weights.fit import fit
from deit.weights.read import grid_of, names_of, read_weights
from deit.weights.whole import require_whole

SHOWN = ("train/loss", "perf/images_per_s", "perf/data_wait")  # metrics of the live display


def run(context: Context) -> dict[str, Any]:
    """Run the training of ``context.config``; returns the best and the last results.

    ``{"best": {"val": {...}, "val_ema": {...}}, "last": {...}}``, each with the figures of ``Accuracy``, step and epoch; of a
    distillation also ``"teacher"``, with those figures and its description; after an early stop also ``"stopped_early"``.
    Raises Interrupted after a signal, when a checkpoint has been written.
    """
    return Trainer(context).run()


class Trainer:
    """One training on one rank. ``done`` counts optimizer steps; ``best`` and ``last`` hold results by metric prefix."""

    def __init__(self, context: Context) -> None:
        config, rank, world = context.config, context.rank, context.world
        self.context, self.config, self.report, self.rank, self.world = context, config, context.report, rank, world

        self.train_data, self.val_data = open_dataset(config.data, train=True), open_dataset(config.data, train=False)
        self.loader = TrainLoader(config, self.train_data, rank, world)
        self.eval_loader = EvalLoader(config, self.val_data, rank, world)
        self.plan = plan(config, len(self.train_data))
        self.steps_per_epoch, self.total_steps = self.plan.steps_per_epoch, self.plan.total_steps

        self.figures = Figures(context, self.val_data)
        self.figures.note_data(train=self.train_data, val=self.val_data)
        restored = resume.newest(context.run, self.report, rank, world)
        device.run_ahead(config.hardware)
        self.state = TrainState(config, None if restored else _begin(context, self.train_data.classes))
        self.teaching = build_teaching(config, _teacher_order(config, self.train_data.classes))
        weights = class_weights(self.train_data.labels, len(self.train_data.classes), config.loss.class_weights)
        loss = build_loss(config.loss, config.distill, weights, distilled=config.model.distilled)
        cache = CompileCache(config.hardware, rank, world)
        self.optimizer_step = _steps(config, self.state, loss, self.teaching, world, cache)
        self.evaluated = {"val": False}  # whether it is the average, by metric prefix
        evaluated = self.state.network
        if config.ema.enabled:
            self.evaluated["val_ema"] = True
            # Both are evaluated in a network of its own, since compiling one takes longer (on a card, minutes) than a copy.
            evaluated = build_network(config, prefix="evaluated.")
        self.eval_step = cache.cached(build_eval_step(config, evaluated))

        self.done = 0
        self.best: dict[str, dict[str, Any]] = {}
        self.last: dict[str, dict[str, Any]] = {}
        self.teacher: dict[str, Any] | None = None  # its description and accuracy
        self.meter = Meter(dynamic=config.precision.loss_scale == "dynamic")
        self.meter.begin(self.state.scale())
        self.profiler = StepProfiler(config.hardware.profile if rank == 0 else None, context.run.profile)
        self.pace, self.watch = Pace(), Watch(config, self.report)
        self.data_wait = DataWait(config, self.report)
        self.monitor = monitor_of(config)
        self.saver = Saver(context.run, config.checkpointing, self.report, self.steps_per_epoch, writes=rank == 0)

        if restored:
            _check_data(restored.state, self.train_data)
            self.teacher = _check_teacher(restored.state, self.teaching)
            self.resume(restored)
            self.report.event("resumed", self.done, checkpoint=restored.name)

    def run(self) -> dict[str, Any]:
        """Train to the last step."""
        self.report.progress(
            now=True,
            phase="compiling",
            epoch=self.done // self.steps_per_epoch + 1,
            epochs=self.plan.epochs,
            step=self.done,
            steps=self.total_steps,
            best=self.best,
            last=self.last,
        )
        if self.teaching is not None and self.teacher is None:
            self.teacher = _introduce(self.context, self.teaching, self.val_data)
        with self.saver:
            while True:
                improved = evaluated = False
                if self.evaluation_is_due:  # also after a resume, if the signal came during the evaluation
                    evaluated = True
                    try:
                        improved = self.evaluate()
                    except Interrupted:
                        self.stop()
                stalled = self.monitor.stalled(self.best, self.last)  # the same on all ranks, as evaluations are
                ends = stalled is not None or self.done >= self.total_steps
                if improved or (evaluated and ends) or self.saver.due(self.done):
                    self.save()
                if ends:
                    break
                self.epoch()
            self.figures.page(self.best)
            self.saver.finish()
        # No rank may exit while rank 0 still writes: a vanished rank counts as a crash.
        sum_over_ranks([self.done], self.world)
        check_trained(self.config, self.done, self.meter.overflows, self.last)
        results: dict[str, Any] = {"best": self.best, "last": self.last}
        if self.teacher is not None:
            results["teacher"] = self.teacher
        if stalled is not None and self.done < self.total_steps:
            self.report.event("stopped_early", self.done, monitor=self.monitor.key, epochs=stalled)
            results["stopped_early"] = {"monitor": self.monitor.key, "epochs": stalled}
        return results

    def epoch(self) -> None:
        """Train to the end of the epoch, or to a step after which the training returned to a checkpoint."""
        epoch, skipped = divmod(self.done, self.steps_per_epoch)
        micro_batches = self.loader.epoch(epoch, start=skipped * self.config.optim.accumulation_steps)
        self.meter.start(self.loader.waited)
        while self.step(micro_batches, epoch):
            # Steps that are not checked yet may have to be undone.
            if self.saver.due(self.done) and not self.meter.has_bad():
                self.save()
        micro_batches.close()

    def step(self, micro_batches: Any, epoch: int) -> bool:
        """Do one optimizer step, check and report it; returns whether the epoch continues with the next."""
        began, lr = time.monotonic(), self.plan.learning_rate(self.done)
        self.profiler.begin_step()
        self.meter.add(self.done, *self.optimizer_step(self.context, micro_batches, self.done, lr))
        self.profiler.end_step(self.done, self.report)
        self.done += 1
        self.saver.check()
        end_of_epoch = self.done % self.steps_per_epoch == 0 or self.done == self.total_steps
        tells = self.done % self.config.tracking.log_every == 0 or end_of_epoch
        # All ranks check after the same steps, so that they return or stop together.
        judged = tells or self.saver.due_by_steps(self.done)
        verdict = self.watch.judge(self.meter.bad()) if judged else Verdict.GO_ON
        if verdict is Verdict.ROLL_BACK:
            self.roll_back()
            return False
        self.pace.step(time.monotonic() - began)
        self.tell(epoch, lr, with_metrics=tells)
        if verdict is Verdict.STOP:
            raise self.watch.stop(self.context.run, self.train_data, self.world, self.rank)
        if self.context.stop_signals:
            self.stop()
        return not end_of_epoch

    def tell(self, epoch: int, lr: float, *, with_metrics: bool) -> None:
        """Report the progress after a step."""
        end = self.pace.expected_end(self.total_steps - self.done, self.evaluations_left)
        now: dict[str, Any] = {
            **{"phase": "training", "epoch": epoch + 1, "step": self.done, "lr": lr},
            "expected_end": end,
        }
        if with_metrics:
            metrics = self.meter.metrics(self.loader.waited, self.plan.global_batch)
            self.data_wait.look(self.done, metrics["perf/data_wait"])
            self.report.metrics(self.done, metrics | {"train/lr": lr, "train/epoch": self.done / self.steps_per_epoch})
            if not self.evaluation_is_due:  # which may find more
                self.report.metrics(self.done, self.context.data_metrics(self.done))
            now |= {name.partition("/")[2]: metrics[name] for name in SHOWN}
        self.report.progress(**now)

    @property
    def evaluation_is_due(self) -> bool:
        epoch, rest = divmod(self.done, self.steps_per_epoch)
        at_its_time = rest == 0 and epoch > 0 and epoch % self.config.schedule.eval_every == 0
        wanted = self.done == self.total_steps or at_its_time
        return wanted and ("val" not in self.last or self.last["val"]["step"] != self.done)

    @property
    def evaluations_left(self) -> int:
        """The number of remaining evaluations of networks."""
        every = self.steps_per_epoch * self.config.schedule.eval_every
        return len(self.evaluated) * ((self.total_steps - 1) // every - self.done // every + 1)

    def evaluate(self) -> bool:
        """Evaluate raw and EMA weights; returns whether either is a new best."""
        found, answers = {}, {prefix: Answers() for prefix in self.evaluated}
        for prefix, averaged in self.evaluated.items():
            self.state.copy_weights_to(self.eval_step.network, averaged=averaged)
            self.context.evaluating("evaluating" if prefix == "val" else "evaluating EMA", len(self.val_data))
            batches = self.context.noting(self.done, self.eval_loader)
            accuracy = evaluate(self.eval_step, batches, self.world, self._evaluated, answers[prefix])
            self.pace.evaluation()
            found[prefix] = _entry(accuracy, self.done, -(-self.done // self.steps_per_epoch))
            self.report.metrics(self.done, accuracy.metrics(prefix, self.config.data.num_classes))
        self.last.update(found)
        better = [prefix for prefix in found if self.monitor.improves(found[prefix], self.best.get(prefix))]
        self.best.update({prefix: found[prefix] for prefix in better})
        for prefix in better:
            self.figures.keep(prefix, answers[prefix], self.done)
        kept = dict.fromkeys(("top1", self.monitor.name))
        best = {f"best/{prefix}_{name}": entry[name] for prefix, entry in self.best.items() for name in kept if name in entry}
        self.report.metrics(self.done, best)
        self.report.metrics(self.done, self.context.data_metrics(self.done))
        self.report.progress(now=True, phase="training", best=self.best, last=self.last)
        return bool(better)

    def _evaluated(self, images: int) -> None:
        self.pace.batch(images)
        self.context.evaluated(images)

    def save(self) -> None:
        """Write a checkpoint, while the training continues."""
        facts = {
            "epoch": self.done // self.steps_per_epoch,
            # A checkpoint describes its network; the origin of the first weights is not part of that.
            "model": dataclasses.asdict(self.config.model.network()),
            "num_classes": self.config.data.num_classes,
            "classes": self.train_data.classes,
            "train_images": len(self.train_data),
            "best": self.best,
            "last": self.last,
            "monitor": self.monitor.key,
            "teacher": self.teacher,
        }
        self.saver.save(self.done, self.state.parts, facts | self.meter.saved())

    def resume(self, restored: resume.Restored) -> None:
        """Continue from a checkpoint."""
        self.state.load(restored.parts)
        self.done = restored.step
        self.best, self.last = dict(restored.state["best"]), dict(restored.state["last"])
        self.meter.begin(self.state.scale(), restored.state)
        self.saver.at(self.done)

    def roll_back(self) -> None:
        """Return to the last checkpoint. Raises UserError if that cannot help any more."""
        self.saver.wait()  # rank 0's; the others wait for it in ``newest``
        restored = resume.newest(self.context.run, self.report, self.rank, self.world)
        if restored is None or not self.watch.returns_to(restored.step):
            raise self.watch.stop(self.context.run, self.train_data, self.world, self.rank)
        self.resume(restored)

    def stop(self) -> NoReturn:
        """Write a checkpoint and end, because of a signal. Raises Interrupted."""
        self.save()
        self.saver.wait()
        raise Interrupted(self.context.stop_signals[0])


def _teacher_order(config: RunConfig, classes: list[str]) -> list[int] | None:
    teacher = config.distill.teacher
    return None if config.distill.type == "none" or teacher is None else teacher_order(Path(teacher), teacher, classes)


def _steps(
    config: RunConfig, state: TrainState, loss: nn.Cell, teaching: Teaching | None, world: int, cache: CompileCache
) -> Any:
    """A function (context, micro batches, step, lr) that does one optimizer step and returns its outputs."""
    ask: Any = (lambda *batch: None) if teaching is None else cache.cached(device.compiled(teaching.teacher, config.hardware))
    parts = (config, state.network, state.average, loss, state.optimizer, state.loss_scale, state.buffers, world)
    cells = {
        update: cache.cached(device.compiled(TrainStep(*parts, update, state.flat), config.hardware))
        for update in ((True,) if config.optim.accumulation_steps == 1 else (False, True))
    }
    passes, upload, ahead = config.optim.accumulation_steps, build_upload(), build_steps_ahead(config.hardware)

    def step(context: Context, micro_batches: Any, done: int, lr: float) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        losses = []
        for i in range(passes):
            batch: TrainBatch = next(micro_batches)
            context.bad_images.add("train", done + 1, batch.bad)
            micro_step = done * passes + i
            inputs = StepInputs(
                *batch_inputs(config, batch, micro_step, context.rank),
                drop_path=step_randomness.drop_path(config, micro_step, context.rank, world),
                dropout_key=step_randomness.dropout_key(config, micro_step, context.rank),
                first=Tensor(i == 0),
                lr=Tensor(lr, ms.float32),
                average_share=Tensor(1 - decay_at(config.ema, done), ms.float32) if config.ema.warmup else None,
            )
            on_device = StepInputs(*upload(inputs))
            on_device = on_device._replace(teacher_logits=ask(*on_device[: len(BatchInputs._fields)]))
            micro_loss, norm, finite, scale = cells[i == passes - 1](*on_device)
            losses.append(micro_loss)
            ahead.add((batch, inputs, on_device))
        return losses, norm, finite, scale

    return step


def _begin(context: Context, classes: list[str]) -> dict[str, np.ndarray]:
    """The weights of the first step: initial, or those of ``model.pretrained`` where they fit."""
    config, weights = context.config, first_weights(context.config)
    if config.model.pretrained is None:
        return weights
    path = Path(config.model.pretrained)
    weights, fitting = fit(
        read_weights(path),
        weights,
        names_of(path),
        classes,
        antialias=config.model.pos_embed_antialias,
        grids=(grid_of(path), config.model.grid),
    )
    require_whole(fitting, config)
    told = {"file": config.model.pretrained} | fitting.to_dict()
    context.report.event("pretrained", 0, **told | {"taken": len(fitting.taken)})
    if context.rank == 0:
        write_json(context.run.pretrained, told)
    return weights


def _introduce(context: Context, teaching: Teaching, val_data: Dataset) -> dict[str, Any]:
    """Evaluate the teacher before the first step and report it, which reveals wrong classes or colours."""
    config, report = context.config, context.report
    context.evaluating("evaluating the teacher", len(val_data))
    if teaching.batch is not None:  # a MINDIR may have a fixed batch size
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, eval_batch_size=teaching.batch))
    loader = context.noting(0, EvalLoader(config, val_data, context.rank, context.world))
    accuracy = evaluate(build_eval_step(config, teaching.network), loader, context.world, context.evaluated)
    known = dataclasses.asdict(accuracy) | {"description": teaching.description, "sha256": teaching.sha256}
    report.metrics(0, accuracy.metrics("teacher", config.data.num_classes))
    check_evaluated(config, "teacher", accuracy.loss)
    report.event("teacher", 0, **known)
    report.progress(now=True, phase="compiling", teacher=known)
    return known


def _check_data(saved: dict[str, Any], data: Dataset) -> None:
    """Refuse to resume with other data, because the order of images and the steps of an epoch would differ."""
    for what, before, now in (
        ("training images", saved["train_images"], len(data)),
        ("classes", saved["classes"], data.classes),
    ):
        if before != now:
            raise UserError(f"resume: the run had {before} {what}, now there are {now}. Give data.root= of the same data.")


def _check_teacher(saved: dict[str, Any], teaching: Teaching | None) -> dict[str, Any] | None:
    """The run's record of its teacher. Raises UserError if the teacher has changed."""
    known: dict[str, Any] | None = saved.get("teacher")
    if known is not None and teaching is not None and known["sha256"] != teaching.sha256:
        raise UserError(
            f"resume: the teacher of this run was {known['description']} with the SHA-256 {known['sha256'][:8]}, the file of "
            f"distill.teacher has {teaching.sha256[:8]} now. Restore the old file, or give its path as distill.teacher=."
        )
    return known


def _entry(accuracy: Accuracy, step: int, epoch: int) -> dict[str, Any]:
    return dataclasses.asdict(accuracy) | {"step": step, "epoch": epoch, "checkpoint": checkpoint.folder_name(step)}
