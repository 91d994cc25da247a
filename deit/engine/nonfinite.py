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

from collections import Counter
from collections.abc import Sequence
from enum import Enum

import numpy as np

from deit.config.schema import RunConfig
from deit.data.loader import TrainLoader
from deit.data.source import Dataset
from deit.engine.meter import Bad
from deit.engine.recorder import Report
from deit.errors import UserError
from deit.files import write_json
from deit.runs.directory import RunDirectory


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
        step, optim = self.culprit.step, self._config.optim
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
        remedies = [f"Lower optim.base_lr={optim.base_lr:g}", "set optim.clip_grad", "lengthen schedule.warmup_epochs"]
        if self._config.precision.loss_scale == "static":
            remedies.append("lower precision.loss_scale_init")
        if self.policy == "stop":
            remedies.append("skip single bad batches with optim.on_nonfinite=skip")
        return UserError(
            f"the training loss is {self.culprit.loss:g}, or its gradient not finite, at step {step}: {why}. "
            f"The images of that step: {run.nonfinite}. {', '.join(remedies[:-1])}, or {remedies[-1]}.",
            exit_code=1,
        )


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
