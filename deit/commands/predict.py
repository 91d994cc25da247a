"""``task=predict``: the most likely classes of images.

ONNX files run in the launcher's process, which needs no MindSpore and no worker.
"""

from __future__ import annotations

import dataclasses
import os

from deit.commands.inference import Inference
from deit.config.schema import RunConfig
from deit.config.tasks import PredictTask
from deit.console import console
from deit.inference.prediction import predict
from deit.inference.writing import check_output
from deit.launching.run import Start
from deit.machine import signals
from deit.preflight.networks import is_onnx
from deit.progress_bar import progress_bar
from deit.runs import status
from deit.runs.outcome import finished, interrupted


class Predict(Inference[PredictTask]):
    does = "predict the classes of"

    def check(self, config: RunConfig) -> RunConfig:
        config = super().check(config)
        task = self.of(config)
        if task.output is not None:
            task = dataclasses.replace(task, output=str(check_output(task.output)))
        return dataclasses.replace(config, task=task)

    def work(self, start: Start) -> int:
        model = self.of(start.config).model
        return self._with_onnx(start) if model is not None and is_onnx(model) else super().work(start)

    def _with_onnx(self, start: Start) -> int:
        """Predict in this process and show the results; returns the exit code."""
        run, now = start.run, status.Status(state=status.RUNNING, launcher_pid=os.getpid())
        status.write(run, now)

        def progress(done: int, total: int) -> None:
            bar.set(done, total)
            if got:
                raise KeyboardInterrupt

        with signals.noted() as got, status.failure_recorded(run, now):
            try:
                with progress_bar("images") as bar:
                    now.results = predict(run, start.config, progress)
            except KeyboardInterrupt:
                outcome = interrupted(got[0])
                console().print(f"{outcome.message}; no predictions were written")
                return status.end(run, now, outcome)
        console().print(self.show(run, now.results))
        console().print(f"the run directory is {run}")
        return status.end(run, now, finished())


TASK = Predict()
