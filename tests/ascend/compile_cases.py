"""Compile steps in this process, which has the stand-ins: python compile_cases.py FOLDER < cases.json

For each case FOLDER gets ``NAME.json``: the dumped graphs of the first call, how many the second call added, and the CPU time.
Into stderr, where MindSpore's log goes, it writes a line before and after each part of a case; ``dry_run`` reads both.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

import mindspore as ms
import numpy as np
from composition import freeze
from mindspore import Tensor

from deit.config.schema import RunConfig
from deit.data.erasing import noise_rows
from deit.data.loader import TrainBatch
from deit.engine import device, distributed, step_randomness
from deit.engine.attention import Attentions
from deit.engine.evaluation import build_eval_step
from deit.engine.loss import build_loss
from deit.engine.network import Answer, build_network
from deit.engine.normalize import Normalize
from deit.engine.state import TrainState
from deit.engine.step import TrainStep
from deit.engine.step_inputs import StepInputs, batch_inputs
from deit.engine.teacher import Teacher
from deit.engine.upload import build_upload
from deit.errors import UserError
from deit.models.precision import compute_types
from deit.models.regnet import RegNet
from deit.models.regnet_shapes import Block, RegNetY
from deit.worker import set_device

REGNET = RegNetY(32, (Block("s1.b1", 32, 48, 24, 8), Block("s1.b2", 48, 48, 24, 12)), 10)


def main() -> None:
    folder = Path(sys.argv[1])
    cases = json.load(sys.stdin)
    kept = []  # a cell that is collected takes the compiled graphs of others with it
    for number, case in enumerate(cases):
        config = freeze(*case["overrides"])
        if number == 0:
            set_device(ms, config)
            if case["ranks"] > 1:
                distributed.connect()
        ms.set_context(mode=ms.GRAPH_MODE)
        started = time.process_time()
        call = calls(case["step"], config, case["ranks"])
        kept.append(call)
        known = graphs(folder)
        mark(case["name"], "first")
        call()
        ms.runtime.synchronize()  # another thread launches the kernels of a call
        new = graphs(folder) - known
        mark(case["name"], "second")
        call()
        ms.runtime.synchronize()
        mark(case["name"], "end")
        found = {
            "graphs": [path.read_text() for path in sorted(new)],
            "added": len(graphs(folder) - known - new),
            "cpu_seconds": time.process_time() - started,
        }
        (folder / f"{case['name']}.json").write_text(json.dumps(found))


def graphs(folder: Path) -> set[Path]:
    return set((folder / "ir").rglob("graph_build_*.ir"))


def mark(name: str, part: str) -> None:
    os.write(2, f"@@ {name} {part}\n".encode())


def calls(step: str, config: RunConfig, ranks: int) -> Callable[[], Any]:
    """A function that calls the step of a case once."""
    side, count = config.model.img_size, config.data.batch_size
    pixels = np.zeros((count, side, side, 3), np.uint8)
    if step == "train":
        return train(config, ranks)
    network: Any
    if step in ("teacher", "regnet"):
        types = compute_types(config.precision, config.hardware.target)
        network = RegNet(REGNET, types=types) if step == "regnet" else build_network(config)
        device.run_ahead(config.hardware)
        teacher, upload = device.compiled(Teacher(config, network), config.hardware), build_upload()
        return lambda: teacher(*upload(batch_inputs(config, next(batches(config)), 0, 0)))
    network = build_network(config, portable=step == "export")
    normalize = Normalize(config.data.mean, config.data.std)
    if step == "evaluate":
        device.run_ahead(config.hardware)
        evaluate, upload = build_eval_step(config, network), build_upload()
        return lambda: evaluate(*upload([Tensor.from_numpy(pixels), Tensor(np.arange(count, dtype=np.int32))]))
    if step == "export" and config.precision.level != "O0":
        for parameter in network.get_parameters():  # as deit.tasks.export
            parameter.set_dtype(ms.float16)
    cell = Attentions(network, normalize) if step == "explain" else Answer(network, normalize)
    return lambda: cell(Tensor.from_numpy(pixels))


def train(config: RunConfig, ranks: int) -> Callable[[], Any]:
    device.run_ahead(config.hardware)
    upload = build_upload()
    state, passes = TrainState(config), config.optim.accumulation_steps
    steps = [
        device.compiled(
            TrainStep(
                *(config, state.network, state.average, build_loss(config.loss, config.distill)),
                *(state.optimizer, state.loss_scale, state.buffers, ranks, number == passes - 1, state.flat),
            ),
            config.hardware,
        )
        for number in range(passes)
    ]
    micro_batches = batches(config)

    def call() -> None:
        for number, step in enumerate(steps):
            teacher = Tensor(np.zeros((config.data.batch_size, 10), np.float32)) if config.distill.type != "none" else None
            inputs = StepInputs(
                *batch_inputs(config, next(micro_batches), 0, 0),
                drop_path=step_randomness.drop_path(config, 0, 0, ranks),
                dropout_key=step_randomness.dropout_key(config, 0, 0),
                first=Tensor(number == 0),
                lr=Tensor(1e-3, ms.float32),
                teacher_logits=teacher,
                average_share=Tensor(0.5, ms.float32) if config.ema.warmup else None,
            )
            step(*upload(inputs))

    return call


def batches(config: RunConfig) -> Iterator[TrainBatch]:
    """Batches as the loader makes them."""
    count, side, augment = config.data.batch_size, config.model.img_size, config.augment
    rng = np.random.default_rng(0)
    while True:
        boxes = np.zeros((count, augment.recount, 4), np.int32) if augment.reprob > 0 else None
        noise = None
        if augment.reprob > 0 and augment.remode == "pixel":
            noise = np.stack([noise_rows(rng, side) for _ in range(count)])
        elif augment.reprob > 0 and augment.remode == "rand":
            noise = np.zeros((count, augment.recount, 3), np.float16)
        images = np.zeros((count, side, side, 3), np.uint8)
        yield TrainBatch(
            images=images, labels=np.arange(count, dtype=np.int32), boxes=boxes, noise=noise, indices=np.arange(count), bad=[]
        )


if __name__ == "__main__":
    code = 0
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr, flush=True)
        code = 1
    os._exit(code)  # what MindSpore does at the end of a process is no concern of a dry run
