"""Train a model, from the first step to the last evaluation, in one linear program.

Where it begins, the first that is there:

1. the newest checkpoint of its own run directory (a resumed run); pretrained weights are then not looked at,
2. ``model.pretrained``, as far as it fits; what it lacks is initial,
3. initial weights, a function of ``seed``.
"""

from __future__ import annotations

import dataclasses
import math
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
from deit.engine import randomness
from deit.engine.distributed import sum_over_ranks
from deit.engine.evaluate import Accuracy, EvalStep, evaluate
from deit.engine.loss import build_loss
from deit.engine.state import TrainState, first_weights
from deit.engine.step import TrainStep
from deit.engine.teacher import Teaching, build_teaching
from deit.errors import UserError
from deit.plan import plan
from deit.runs import checkpoint
from deit.runs.directory import write_json
from deit.tasks.context import Context, Interrupted, StopRequested
from deit.weights.fit import fit
from deit.weights.read import read_weights


def train(context: Context) -> dict[str, Any]:
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

    existing = checkpoint.complete(context.run)
    state = TrainState(config, None if existing else _begin(context))
    teaching = build_teaching(config)
    train_step = _steps(config, state, teaching, world)
    networks = {"val": state.network} | ({"val_ema": state.average} if state.average is not None else {})
    eval_steps = {prefix: EvalStep(config, network) for prefix, network in networks.items()}

    done = 0  # optimizer steps done
    meter = _Meter()
    best: dict[str, dict[str, Any]] = {}
    last: dict[str, dict[str, Any]] = {}
    teacher: dict[str, Any] | None = None  # what is known of it
    if existing:
        saved = checkpoint.read_state(existing[-1])
        _check_data(saved, train_data)
        teacher = _check_teacher(saved, teaching)
        state.load({part: checkpoint.read_part(existing[-1], part) for part in state.parts()})
        done, meter.losses, meter.overflows = saved["step"], saved["window"], saved["overflows"]
        best, last = saved["best"], saved["last"]
        report.event("resumed", done, checkpoint=existing[-1].name)
    if sum_over_ranks([done], world) != [done * world]:
        raise UserError(
            f"rank {rank} begins at step {done}, others at another: all machines must see the same run directory to resume.",
            exit_code=1,
        )

    def save() -> None:
        if rank != 0:
            return
        path = checkpoint.write(
            context.run,
            done,
            state.parts(),
            {
                "epoch": done // steps_per_epoch,
                # A checkpoint describes its network; where the first weights came from is no part of that.
                "model": dataclasses.asdict(dataclasses.replace(config.model, pretrained=None)),
                "num_classes": config.data.num_classes,
                "classes": train_data.classes,
                "train_images": len(train_data),
                "window": meter.window(),
                "overflows": meter.overflows,
                "best": best,
                "last": last,
                "teacher": teacher,
            },
        )
        # The pointer follows the folder: it never names what is not there.
        write_json(context.run.best, best)
        report.checkpoint(done, str(path.relative_to(context.run.path)), [p for p in best if best[p]["step"] == done])
        checkpoint.prune(context.run, config.checkpointing.keep_last)

    def stop() -> None:
        """Write a checkpoint and end, because of a signal."""
        save()
        raise Interrupted(context.stop_signals[0])

    def evaluation_is_due() -> bool:
        epoch, rest = divmod(done, steps_per_epoch)
        at_its_time = done == total_steps or (rest == 0 and epoch > 0 and epoch % config.schedule.eval_every == 0)
        return at_its_time and ("val" not in last or last["val"]["step"] != done)

    def evaluate_all() -> bool:
        """Evaluate raw and EMA weights; returns whether either is better than ever."""
        found = {}
        for prefix, step in eval_steps.items():
            report.progress(now=True, phase="evaluating" if prefix == "val" else "evaluating EMA")
            accuracy = evaluate(step, EvalLoader(config, val_data, rank, world), world, context.evaluated)
            found[prefix] = _entry(accuracy, done, -(-done // steps_per_epoch))
            report.metrics(done, accuracy.metrics(prefix))
        last.update(found)
        better = [prefix for prefix in found if prefix not in best or found[prefix]["top1"] > best[prefix]["top1"]]
        best.update({prefix: found[prefix] for prefix in better})
        report.metrics(done, {f"best/{prefix}_top1": entry["top1"] for prefix, entry in best.items()})
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
    while True:
        if evaluation_is_due():  # also after a resume, if the signal came during the evaluation
            try:
                improved = evaluate_all()
            except StopRequested:
                stop()
            if improved or done == total_steps or done // steps_per_epoch % config.checkpointing.every == 0:
                save()
        if done >= total_steps:
            break

        epoch, skipped = divmod(done, steps_per_epoch)
        micro_batches = loader.epoch(epoch, start=skipped * passes)
        meter.start(loader.waited)
        for _ in range(skipped, steps_per_epoch):
            lr = course.learning_rate(done)
            meter.add(*train_step(context, micro_batches, done, lr))
            done += 1
            end_of_epoch = done % steps_per_epoch == 0 or done == total_steps
            if done % config.tracking.log_every == 0 or end_of_epoch:
                metrics = meter.metrics(loader.waited, course.global_batch)
                report.metrics(done, metrics | {"train/lr": lr, "train/epoch": done / steps_per_epoch})
                _check_finite(config, metrics, done)
                report.progress(loss=metrics["train/loss"], images_per_s=metrics["perf/images_per_s"])
                report.progress(data_wait=metrics["perf/data_wait"])
            report.progress(phase="training", epoch=epoch + 1, step=done, lr=lr)
            if context.stop_signals:
                stop()
            if end_of_epoch:
                break
        micro_batches.close()
        if not evaluation_is_due() and done // steps_per_epoch % config.checkpointing.every == 0:
            save()
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
            micro_step = done * passes + i
            inputs = (
                Tensor(batch.images),
                Tensor(batch.labels),
                None if batch.boxes is None else Tensor(batch.boxes),
                None if batch.noise is None else Tensor(batch.noise),
                *randomness.mix(config, micro_step, context.rank),
            )
            micro_loss, norm, finite, scale = cells[i == passes - 1](
                *inputs,
                randomness.drop_path(config, micro_step, context.rank, world),
                randomness.dropout_key(config, micro_step, context.rank),
                Tensor(i == 0),
                Tensor(lr, ms.float32),
                ask(*inputs),
            )
            losses.append(micro_loss)
        return losses, norm, finite, scale

    return step


def _begin(context: Context) -> dict[str, np.ndarray]:
    """The weights of the first step: initial, or those of ``model.pretrained`` as far as they fit."""
    config, weights = context.config, first_weights(context.config)
    if config.model.pretrained is None:
        return weights
    weights, fitting = fit(read_weights(Path(config.model.pretrained)), weights)
    if fitting.useless:
        raise UserError(f"model.pretrained={config.model.pretrained}: nothing in it fits {config.model.name}.")
    told = {"file": config.model.pretrained} | fitting.to_dict()
    context.report.event("pretrained", 0, **told | {"taken": len(fitting.taken)})
    if context.rank == 0:
        write_json(context.run.pretrained, told)
    return weights


def _introduce(context: Context, teaching: Teaching, val_data: Dataset) -> dict[str, Any]:
    """Evaluate the teacher before the first step, and say who it is: a teacher of other classes or colours shows here."""
    config, report = context.config, context.report
    report.progress(now=True, phase="evaluating the teacher")
    if teaching.batch is not None:  # a MINDIR may take no other number of images
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, eval_batch_size=teaching.batch))
    loader = EvalLoader(config, val_data, context.rank, context.world)
    try:
        accuracy = evaluate(EvalStep(config, teaching.network), loader, context.world, context.evaluated)
    except StopRequested:
        raise Interrupted(context.stop_signals[0]) from None
    known = dataclasses.asdict(accuracy) | {"description": teaching.description, "sha256": teaching.sha256}
    report.metrics(0, accuracy.metrics("teacher"))
    report.event("teacher", 0, **known)
    report.progress(now=True, phase="compiling", teacher=known)
    return known


class _Meter:
    """Collects the answers of steps without reading them, so that the device is not waited for at each one."""

    def __init__(self) -> None:
        self.losses: list[float] = []  # of the window since the metrics were last written
        self.overflows = 0
        self._pending: list[tuple[list[Tensor], Tensor, Tensor, Tensor]] = []
        self._steps = 0

    def start(self, waited: float) -> None:
        self._began, self._waited = time.perf_counter(), waited

    def add(self, losses: list[Tensor], norm: Tensor, finite: Tensor, scale: Tensor) -> None:
        self._pending.append((losses, norm, finite, scale))

    def window(self) -> list[float]:
        """The losses of the steps since the metrics were last written."""
        self._read()
        return self.losses

    def _read(self) -> tuple[float, float]:
        norm_now = scale_now = math.nan
        for losses, norm, finite, scale in self._pending:
            self.losses.append(float(np.mean([float(loss.asnumpy()) for loss in losses])))
            self.overflows += not bool(finite.asnumpy())
            norm_now, scale_now = float(norm.asnumpy()), float(scale.asnumpy())
        self._steps += len(self._pending)
        self._pending.clear()
        return norm_now, scale_now

    def metrics(self, waited: float, global_batch: int) -> dict[str, float]:
        """The metrics of the window, which begins anew."""
        norm, scale = self._read()
        now = time.perf_counter()
        seconds = max(now - self._began, 1e-9)
        metrics = {
            "train/loss": float(np.mean(self.losses)),
            "train/grad_norm": norm,
            "train/loss_scale": scale,
            "train/overflows": float(self.overflows),
            "perf/images_per_s": self._steps * global_batch / seconds,
            "perf/step_ms": 1000 * seconds / max(self._steps, 1),
            "perf/data_wait": (waited - self._waited) / seconds,
        }
        self.losses, self._steps = [], 0
        self.start(waited)
        return metrics


def _check_finite(config: RunConfig, metrics: dict[str, float], step: int) -> None:
    # Under a dynamic loss scale an overflow now and then is normal: the step is skipped and the scale lowered,
    # but it cannot help where it is at its end.
    can_help = config.precision.loss_scale == "dynamic" and metrics["train/loss_scale"] > 1
    if not math.isfinite(metrics["train/loss"]) and not can_help:
        raise UserError(
            f"the training loss is {metrics['train/loss']} at step {step}: the training has diverged. "
            f"Lower optim.base_lr={config.optim.base_lr}, set optim.clip_grad, or lengthen schedule.warmup_epochs.",
            exit_code=1,
        )


def _check_data(saved: dict[str, Any], data: Dataset) -> None:
    """Refuse to go on with other data: the order of images and the steps of an epoch would not be the same."""
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
