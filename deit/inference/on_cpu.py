"""The middle of an offline inference on the CPU, for trying the round trip without a device.

    python -m deit.inference.on_cpu EXPORT INPUTS RESULTS

It replaces MindSpore Lite's ``benchmark`` on an Ascend 310: it passes each ``NAME.bin`` of INPUTS unchanged to the MINDIR or
ONNX file of the exported folder EXPORT and writes the logits as RESULTS/``NAME_0.bin``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from deit.errors import UserError
from deit.exports import description
from deit.exports.description import Description
from deit.exports.predictor import EXTRA


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    if len(arguments) != 3:
        print("usage: python -m deit.inference.on_cpu EXPORT INPUTS RESULTS", file=sys.stderr)
        return 2
    export, inputs, results = map(Path, arguments)
    try:
        count = run(export, inputs, results)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{results}: {count} results")
    return 0


def run(export: Path, inputs: Path, results: Path) -> int:
    """Returns the number of results. Raises UserError if the network or an input is not usable."""
    described = description.read(export, f"EXPORT={export}")
    network = _network(export / described.file, described)
    shape = [side or 0 for side in described.input.shape[1:]]
    size = int(np.prod(shape)) * np.dtype(described.input.dtype).itemsize
    files = sorted(inputs.glob("*.bin"))
    if not files:
        below = f" Give {inputs / 'inputs'}." if (inputs / "inputs").is_dir() else ""
        raise UserError(f"INPUTS={inputs}: contains no .bin files, which task=preprocess writes into its folder inputs.{below}")
    results.mkdir(parents=True, exist_ok=True)
    for file in files:
        content = file.read_bytes()
        if len(content) != size:
            raise UserError(f"{file}: has {len(content)} bytes, but the network takes {described.input.dtype} {shape}: {size}.")
        image = np.frombuffer(content, described.input.dtype).reshape(shape)
        # A file with a fixed batch size gets the image repeated.
        logits = network(np.repeat(image[None], described.batch or 1, 0))[0]
        logits.astype(np.float32).tofile(results / f"{file.stem}_0.bin")
    return len(files)


def _network(path: Path, described: Description) -> Callable[[np.ndarray], np.ndarray]:
    if described.export_format == "onnx":
        try:
            import onnxruntime
        except ImportError:
            raise UserError(f"{path}: an ONNX file needs onnxruntime, which is not installed: {EXTRA}") from None
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda images: session.run([described.output.name], {described.input.name: images})[0]
    if described.export_format != "mindir":
        raise UserError(f"{path}: only MINDIR and ONNX files can be run here.")
    import mindspore as ms

    ms.set_device("CPU")
    cell = ms.nn.GraphCell(ms.load(str(path)))
    return lambda images: cell(ms.Tensor(images)).asnumpy()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
