"""Graphs kept between processes: taken where all is alike, whatever the weights are, and nowhere else."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import ROOT
from composition import composed

# Computes with cells given as [class, factor, weight, input] in JSON, the first ones in the order in which they are cached;
# prints their answers and which graphs MindSpore has read.
PROGRAM = """
import json, os, sys
import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn
from deit.config.schema import HardwareConfig
from deit.engine.compile_cache import CompileCache

class Product(nn.Cell):
    def __init__(self, factor, weight, name):
        super().__init__(auto_prefix=False)
        self.factor, self.constant = factor, Tensor(np.full(3, factor, np.float32))
        self.weight = Parameter(np.full(3, weight, np.float32), name=name)

    def construct(self, x):
        self.weight += 1
        return x * self.weight + self.constant * self.factor

class Difference(Product):
    def construct(self, x):
        return x - self.weight

ms.set_device("CPU")
ms.set_context(mode=ms.GRAPH_MODE)
cache = CompileCache(HardwareConfig(**json.loads(sys.argv[2])), 0, 1)
cells = [globals()[kind](factor, weight, f"w{at}") for at, (kind, factor, weight, _) in enumerate(json.loads(sys.argv[1]))]
cached = [cache.cached(cell) for cell in cells]
order = json.loads(os.environ.get("ORDER", "null")) or range(len(cells))
answers = {}
for at in order:
    size = json.loads(sys.argv[1])[at][3]
    answers[at] = [cached[at](Tensor(np.ones((size, 3), np.float32))).asnumpy()[0, 0].item() for _ in range(2)]
print(json.dumps([answers[at] for at in range(len(cells))]))
"""


def run(
    tmp_path: Path, cells: list[list[Any]], *overrides: str, is_file: bool = True, **variables: str
) -> tuple[list[list[float]], int]:
    """(two answers of each cell, the number of graphs that were read)"""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    environment = os.environ | {
        **{"DEIT_CACHE": str(tmp_path / "a b#c"), "GLOG_v": "2", "PYTHONPATH": str(ROOT)},
        **variables,
    }
    program = [str(script)] if is_file else ["-c", "import program"]
    # Composed here: in each of these processes it would cost a second.
    hardware = json.dumps(dataclasses.asdict(composed("hardware=cpu", *overrides).hardware))
    command = [sys.executable, *program, json.dumps(cells), hardware]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1]), (ended.stdout + ended.stderr).count("Use the compilation cache")


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "a b#c" / "compiled").iterdir())


@pytest.mark.slow
def test_a_graph_is_read_with_other_weights_and_compiled_where_anything_else_differs(tmp_path: Path) -> None:
    first, second = ["Product", 2.0, 1.0, 4], ["Difference", 2.0, 0.5, 4]
    assert run(tmp_path, [first, second]) == ([[6.0, 7.0], [0.5, 0.5]], 0)
    assert len(kept(tmp_path)) == 2  # and no folder of work
    other_weights = [[*first[:2], 5.0, 4], [*second[:2], 3.0, 4]]
    others = [["Product", 3.0, 1.0, 4], ["Difference", 2.0, 0.5, 5]]  # another factor, another size
    answers = [[10.0, 11.0], [-2.0, -2.0], [11.0, 12.0], [0.5, 0.5]]
    assert run(tmp_path, [*other_weights, *others]) == (answers, 2)
    assert len(kept(tmp_path)) == 4
    # Called in another order, the first waits for nobody, and the second would take the place of the first.
    assert run(tmp_path, [first, second], ORDER="[1, 0]") == ([[6.0, 7.0], [0.5, 0.5]], 1)
    assert run(tmp_path, [first, second], "hardware.compile_cache=false") == ([[6.0, 7.0], [0.5, 0.5]], 0)
    assert len(kept(tmp_path)) == 4
    for folder in kept(tmp_path):
        content = (folder / "0").read_bytes()
        (folder / "0").write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    assert run(tmp_path, [first, second]) == ([[6.0, 7.0], [0.5, 0.5]], 0)
    assert run(tmp_path, [first, second]) == ([[6.0, 7.0], [0.5, 0.5]], 2)  # kept again


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_costs_only_the_compilation(tmp_path: Path) -> None:
    (tmp_path / "a b#c").write_text("a file")
    assert run(tmp_path, [["Product", 2.0, 1.0, 4]]) == ([[6.0, 7.0]], 0)


@pytest.mark.slow
def test_a_process_without_a_script_compiles(tmp_path: Path) -> None:
    assert run(tmp_path, [["Product", 2.0, 1.0, 4]], is_file=False) == ([[6.0, 7.0]], 0)


def test_an_unknown_home_folder_costs_only_the_compilation(monkeypatch: pytest.MonkeyPatch, graph_mode: None) -> None:
    from mindspore import Tensor, nn

    from deit.engine import compile_cache
    from deit.errors import UserError

    def unknown() -> Path:
        raise UserError("the home folder is unknown")

    monkeypatch.setattr(compile_cache, "cache_folder", unknown)
    cached = compile_cache.CompileCache(composed("hardware=cpu").hardware, 0, 1).cached(nn.ReLU())
    assert cached(Tensor(np.array([-1, 2], np.float32))).asnumpy().tolist() == [0, 2]


def test_the_description_of_a_cell_has_all_that_its_graph_depends_on(graph_mode: None) -> None:
    from mindspore import Parameter, Tensor, nn, ops

    from deit.engine.compile_cache import _description, _Unknown

    class Cell(nn.Cell):
        def __init__(self, **attributes: object) -> None:
            super().__init__(auto_prefix=False)
            self.inner = nn.Dense(2, 2)
            self.product = ops.MatMul(transpose_b=True)
            self.table = {"rate": 0.1, "sizes": [1, (2, 3)]}
            self.constant = Tensor(np.ones(2, np.float32))
            self.weight = Parameter(np.zeros(2, np.float32), name="weight")
            for name, value in attributes.items():
                setattr(self, name, value)

    wanted = _description(Cell())
    assert _description(Cell()) == wanted
    assert _description(Cell(weight=Parameter(np.ones(2, np.float32), name="weight"))) == wanted
    for others in (
        {"table": {"rate": 0.1, "sizes": [1, (2, 4)]}},
        {"constant": Tensor(np.array([1, 2], np.float32))},
        {"constant": Tensor(np.ones(2, np.float16))},
        {"weight": Parameter(np.zeros(3, np.float32), name="weight")},
        {"weight": Parameter(np.zeros(2, np.float32), name="weight", requires_grad=False)},
        {"product": ops.MatMul(transpose_a=True)},
        {"inner": nn.Dense(2, 2, activation="relu")},
        {"more": None},
    ):
        assert _description(Cell(**others)) != wanted, others
    assert _description(Cell(more=ops.HyperMap())) != wanted
    for unreadable in (object(), lambda value: value):
        with pytest.raises(_Unknown):
            _description(Cell(more=unreadable))


def test_graphs_that_were_not_used_for_longest_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deit.engine import compile_cache

    now = time.time()
    for name, age in (("newest", 0), ("newer", 10), ("older", 20), (".work.new", 0), (".work.killed", 2 * 24 * 3600)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0").write_bytes(b"x" * 40)
        os.utime(tmp_path / name, (now - age, now - age))
    monkeypatch.setattr(compile_cache, "_LIMIT", 100)
    compile_cache._tidy(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".work.new", "newer", "newest"]
