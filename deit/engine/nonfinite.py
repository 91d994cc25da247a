"""The policy for a step whose loss or gradient is not finite (``optim.on_nonfinite``).

The graph has left the weights unchanged in such a step. The policies are:

- ``stop``: end the training, as facebookresearch/deit does;
- ``skip``: continue after the batch, until ``optim.max_nonfinite`` steps in a row were bad;
- ``rollback``: return to the last checkpoint and repeat the steps, which fixes a one-time error of a device. If the same
  step is bad again, the training itself is the cause, and it stops, as it does after ``optim.max_nonfinite`` returns to one
  checkpoint.

Loss and gradient are means over all ranks, so that all decide alike. When a training stops, ``nonfinite.json`` of the run names
the images of the step.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import numpy as np

from deit.config.schema import RunConfig
from deit.data.loader import TrainLoader
from deit.data.source import Dataset
from deit.engine.meter import Bad
from deit.engine.recorder import Report
from deit.errors import UserError
from deit.files import write_json
from deit.runs.directory import RunDirectory

USUAL_REACH = 10.0  # of normalised pixels; 2.64 with mean and standard deviation of ImageNet


class Verdict(Enum):
    GO_ON = "go on"
    STOP = "stop"
    ROLL_BACK = "roll back"


class Watch:
    """Applies the configured policy to bad steps, and counts the returns to a checkpoint."""

    def __init__(self, config: RunConfig, report: Report) -> None:
        self.policy, self.limit = config.optim.on_nonfinite, config.optim.max_nonfinite
        self._config, self._report = config, report
        self._returned_for: set[int] = set()  # bad steps
        self._returned_to: Counter[int] = Counter()  # steps of checkpoints
        self.culprit: Bad | None = None  # the step of a verdict other than GO_ON

    def judge(self, bad: Sequence[Bad]) -> Verdict:
        """The verdict on the steps since the last call, of which ``bad`` were bad."""
        if not bad:
            return Verdict.GO_ON
        self.culprit = bad[0]
        if self.policy == "stop":
            return Verdict.STOP
        if self.policy == "rollback":
            return Verdict.STOP if bad[0].step in self._returned_for else Verdict.ROLL_BACK
        steps = ", ".join(str(one.step) for one in bad)
        self._report.warn(
            "nonfinite",
            bad[-1].step,
            f"loss or gradient not finite, step skipped: {steps} (losses {', '.join(f'{one.loss:g}' for one in bad)})",
            steps=[one.step for one in bad],
            in_a_row=bad[-1].in_a_row,
        )
        self.culprit = next((one for one in bad if one.in_a_row >= self.limit), None)
        return Verdict.GO_ON if self.culprit is None else Verdict.STOP

    def returns_to(self, step: int | None) -> bool:
        """Whether to return to the checkpoint of ``step`` (None: there is none) because of the culprit; counts it."""
        assert self.culprit is not None
        if step is None or step > self.culprit.step or self._returned_to[step] >= self.limit:
            return False
        self._returned_for.add(self.culprit.step)
        self._returned_to[step] += 1
        self._report.warn(
            "rollback",
            self.culprit.step,
            f"loss {self.culprit.loss:g}, or a gradient that is not finite, at step {self.culprit.step}: "
            f"back to the checkpoint of step {step}",
            checkpoint=step,
        )
        return True

    def stop(self, run: RunDirectory, data: Dataset, world: int, rank: int) -> UserError:
        """The error that ends the training; rank 0 has written the images of the culprit."""
        assert self.culprit is not None
        step = self.culprit.step
        if rank == 0:
            write_json(
                run.nonfinite, {"step": step, "loss": repr(self.culprit.loss)} | images_of(self._config, data, step, world)
            )
        why = {
            "stop": "the training has diverged",
            "skip": f"optim.max_nonfinite={self.limit} steps in a row, the training has diverged",
            "rollback": "and again after a return to the last checkpoint",
        }[self.policy]
        if self.policy == "rollback" and step not in self._returned_for:
            why = f"and no checkpoint to go back to, or {self.limit} returns to it (optim.max_nonfinite) did not help"
        others = ["skip single bad batches with optim.on_nonfinite=skip"] if self.policy == "stop" else []
        return UserError(
            f"the training loss is {self.culprit.loss:g}, or its gradient not finite, at step {step}: {why}. "
            f"The images of that step: {run.nonfinite}. {remedies(self._config, *others)}",
            exit_code=1,
        )


def check_trained(config: RunConfig, steps: int, skipped: int, last: Mapping[str, Mapping[str, Any]]) -> None:
    """Whether a training that has done all its ``steps`` has trained anything.

    Raises UserError (exit code 1) if all of them were ``skipped``, because loss or gradient was not finite, or if the
    loss of an entry of ``last``, the last evaluation by the prefix of its metrics, is not finite.
    """
    if steps and skipped >= steps:
        raise UserError(
            f"no step has changed the weights: in each of the {steps} steps the loss or its gradient was not finite. "
            f"{remedies(config)}",
            exit_code=1,
        )
    for prefix, entry in last.items():
        check_evaluated(config, prefix, float(entry["loss"]), remedies(config))


def check_evaluated(config: RunConfig, prefix: str, loss: float, remedy: str = "") -> None:
    """Raises UserError (exit code 1) if the ``loss`` of an evaluation, with that prefix of its metrics, is not finite."""
    if not math.isfinite(loss):
        remedy = remedy or _sentence([_of_inputs(config) or "the weights are not finite, or overflow in this precision"])
        raise UserError(f"{prefix}/loss is {loss:g}: the network's answers are not finite. {remedy}", exit_code=1)


def remedies(config: RunConfig, *others: str) -> str:
    """What to do about a loss that is not finite, as a sentence, the likeliest cause first."""
    found = [_of_inputs(config), f"lower optim.base_lr={config.optim.base_lr:g}", "set optim.clip_grad"]
    found.append("lengthen schedule.warmup_epochs")
    if config.precision.loss_scale == "static":
        found.append("lower precision.loss_scale_init")
    if config.precision.level != "O0" and config.precision.dtype == "float16":
        found.append("compute in float32 with precision=fp32")
    return _sentence([text for text in (*found, *others) if text is not None])


def _sentence(said: Sequence[str]) -> str:
    text = f"{', '.join(said[:-1])}, or {said[-1]}." if len(said) > 1 else f"{said[0]}."
    return text[0].upper() + text[1:]


def _of_inputs(config: RunConfig) -> str | None:
    """About data.mean and data.std where they give images of an unusual size; None otherwise."""
    reach = max(max(abs(mean), abs(1 - mean)) / std for mean, std in zip(config.data.mean, config.data.std, strict=True))
    if reach <= USUAL_REACH:
        return None
    mean, std = (f"[{', '.join(f'{value:g}' for value in values)}]" for values in (config.data.mean, config.data.std))
    return f"correct data.mean={mean} data.std={std} (normalised pixels reach {reach:.3g} with these, 2.64 with ImageNet's)"


def images_of(config: RunConfig, data: Dataset, step: int, world: int) -> dict[str, object]:
    """The images of optimizer step ``step``: epoch, and for each rank the index and name of each image."""
    passes = config.optim.accumulation_steps
    ranks = []
    epoch = 0
    for rank in range(world):
        loader = TrainLoader(config, data, rank, world)
        epoch, within = divmod(step, loader.steps_per_epoch // passes)
        taken = np.concatenate([loader.taken(epoch, number) for number in range(within * passes, (within + 1) * passes)])
        ranks.append([{"index": int(index), "image": data.describe(int(index))} for index in taken])
    return {"epoch": epoch, "ranks": ranks}
