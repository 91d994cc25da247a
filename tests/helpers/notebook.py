"""Run the code cells of a notebook, as a person does from top to bottom.

    python notebook.py NOTEBOOK

Prints what the cells print. Afterwards it prints as one line of JSON what they left in the process: the variables of the
environment, the signals with another handler, MindSpore's mode.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path


def main(file: str) -> None:
    cells = json.loads(Path(file).read_text(encoding="utf-8"))["cells"]
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    environment = dict(os.environ)
    names: dict[str, object] = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    left = {
        "environment": sorted(name for name in {*os.environ, *environment} if os.environ.get(name) != environment.get(name)),
        "signals": [int(number) for number, handler in handlers.items() if signal.getsignal(number) != handler],
        "mode": sys.modules["mindspore"].get_context("mode"),
        "modules": sorted({"hydra", "mlflow"} & sys.modules.keys()),
    }
    sys.modules["mindspore"].set_device("CPU")  # refused in a process that has computed without it
    print(json.dumps(left))


if __name__ == "__main__":
    main(sys.argv[1])
