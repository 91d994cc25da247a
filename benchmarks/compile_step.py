"""Compilation of the train step, beside MindSpore's own training cell with the same network.

    python benchmarks/compile_step.py [--rounds 3] [MODEL ...]

The peer is nn.TrainOneStepCell with nn.AdamWeightDecay: no mixing, clipping, finite check, stochastic depth or moving average.
Each compiles in a process of its own, in turns, without a cache; a time is the processor seconds of the first call, less those
of the second.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

MODELS = ("deit_micro", "deit_tiny")


def ours(model: str) -> Callable[[], Any]:
    import steps  # beside this file

    return steps.train_step(steps.configuration(typed(model)))


def mindspores(model: str) -> Callable[[], Any]:
    import mindspore as ms
    import numpy as np
    import steps
    from mindspore import Tensor, nn

    from deit.engine.network import build_network
    from deit.worker import set_device

    config = steps.configuration([*typed(model), "model.drop_path_rate=0"])
    set_device(ms, config)
    network = build_network(config)
    loss = nn.WithLossCell(network, nn.SoftmaxCrossEntropyWithLogits(sparse=True, reduction="mean"))
    cell = nn.TrainOneStepCell(loss, nn.AdamWeightDecay(network.trainable_params()))
    batch, size = config.data.batch_size, config.model.img_size
    images = Tensor(np.random.default_rng(0).standard_normal((batch, 3, size, size), np.float32))
    labels = Tensor(np.arange(batch, dtype=np.int32))
    return lambda: cell(images, labels).asnumpy()


STEPS = {"this project": ours, "MindSpore": mindspores}


def typed(model: str) -> list[str]:
    return [f"model={model}", "data=synthetic", "data.num_classes=10", "data.batch_size=2", "ema=paper", "hardware=cpu"]


def compiled(step: Callable[[], Any]) -> float:
    """Processor seconds of the compilation in the first call."""
    first, second = timed(step), timed(step)
    return first - second


def timed(step: Callable[[], Any]) -> float:
    began = time.process_time()
    step()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", choices=STEPS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.alone:
        print(compiled(STEPS[chosen.alone](chosen.models[0])))
        return
    print("| model | this project, s | MindSpore, s | ratio |\n|---|---:|---:|---:|")
    for model in chosen.models:
        found: dict[str, list[float]] = {name: [] for name in STEPS}
        for _ in range(chosen.rounds):
            for name, times in found.items():
                child = [sys.executable, __file__, model, "--alone", name]
                times.append(float(subprocess.run(child, check=True, capture_output=True, text=True).stdout.split()[-1]))
        own, peer = found.values()
        ratio = statistics.median(one / other for one, other in zip(own, peer, strict=True))
        print(f"| {model} | {statistics.median(own):.1f} | {statistics.median(peer):.1f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
