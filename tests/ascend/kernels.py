"""What MindSpore's log and its dumped graphs say of the kernels of a compiled step."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

# As the log names the kinds of kernels; a kernel that the log does not name runs on the CPU.
KINDS = {"opapi_kernel": "aclnn", "acl_kernel": "aclop", "hccl_kernel": "hccl", "rt_kernel": "view", "host_kernel": "host"}
KINDS |= {"akg_kernel": "fused"}  # MindSpore's own, of several operators; jit_level O1 makes them
VIEWS = {"Reshape"}  # they change the shape alone: MindSpore skips their launch where the graph allows it
_CREATED = re.compile(r"kernel opname:(\w+), kernel type:(\w+)")
# Written by ``stand_ins``. CANN waits for the stream in a copy from the host's ordinary memory.
_SYNCHRONISED = re.compile(r"^@@ (waited for .+|copied \d+ bytes to the card)$", re.MULTILINE)
_NODE = re.compile(r"^  %\d+\(.*?\) = (?:PrimFunc_)?(\w+)\(")
_TENSOR = re.compile(r"<(\w+?)x[A-Z]\w*\[const vector\]\{[^}]*\}>")


@dataclass
class Kernels:
    """The kernels that one call launches. ``operators`` maps an operator with its types to how often and by what it runs."""

    kinds: Counter[str] = field(default_factory=Counter)  # aclnn, aclop, hccl, host, cpu; view
    operators: dict[str, tuple[str, int]] = field(default_factory=dict)  # "Cast(float32)->float16": ("aclnn", 353)
    synchronisations: list[str] = field(default_factory=list)  # of a call after the first
    compiled_again: bool = False  # by a call after the first
    cpu_seconds: float = 0.0  # of the compilation

    @property
    def launched(self) -> int:
        """Kernels a call, without views."""
        return sum(count for kind, count in self.kinds.items() if kind != "view")

    def of(self, name: str) -> int:
        """How often an operator runs, whatever its types."""
        return sum(count for operator, (_, count) in self.operators.items() if operator.partition("(")[0] == name)

    def table(self) -> dict[str, Any]:
        """The numbers that are compared with the stored ones."""
        return {
            "kernels": self.launched,
            **{kind: self.kinds[kind] for kind in ("aclnn", "aclop", "cpu")},
            "casts": self.of("Cast"),
            "all_reduces": self.of("AllReduce"),
            "synchronisations": len(self.synchronisations),
        }


def read(log: str, later_log: str, graphs: Iterable[str]) -> Kernels:
    """The kernels of ``graphs``, dumps of built graphs (``graph_build_*.ir``).

    ``log`` is that of the first call, in which they were compiled, ``later_log`` that of another, which ends with a wait that
    is not its own.
    """
    made: dict[str, Counter[str]] = {}
    for name, kind in _CREATED.findall(log):
        made.setdefault(name, Counter())[KINDS.get(kind, kind)] += 1
    nodes = Counter(node for graph in graphs for node in _nodes(graph))
    found = Kernels(synchronisations=_SYNCHRONISED.findall(later_log)[:-1])
    for name in sorted({name for name, _ in nodes}):
        count = sum(number for (each, _), number in nodes.items() if each == name)
        kinds = made.get(name, Counter())
        kind = "view" if name in VIEWS else max(kinds, key=lambda each: kinds[each]) if kinds else "cpu"
        on_cpu = 0 if kind == "view" else max(0, count - sum(kinds.values()))
        found.kinds["cpu"] += on_cpu
        found.kinds[kind] += count - on_cpu if kind != "cpu" else 0
        for (each, types), number in nodes.items():
            if each == name:
                found.operators[name + types] = ("cpu" if on_cpu else kind, number)
    return found


def _nodes(graph: str) -> Iterable[tuple[str, str]]:
    """Each kernel of a dumped graph: its operator and its types, such as ("Cast", "(float32)->float16").

    The second line after a kernel has the types and formats that were chosen for it; what is no kernel has no such line.
    """
    lines = graph.splitlines()
    for number, line in enumerate(lines[:-3]):
        if (match := _NODE.match(line)) is None:
            continue
        (inputs, arrow, outputs), kinds = lines[number + 2].partition(" -> "), lines[number + 3]
        if arrow and _TENSOR.search(outputs):
            of_inputs, _, of_outputs = kinds.partition(" -> ")
            yield match[1], f"({_types(inputs, of_inputs)})->{_types(outputs, of_outputs)}"


def _types(text: str, kinds: str) -> str:
    """The types of the tensors in ``text``, many of one type in a row as one with an asterisk.

    ``kinds`` says of each whether it is a tensor; scalars and shapes are left out.
    """
    types = [name.lower() for name in _TENSOR.findall(text)]
    listed = re.findall(r"\w+", kinds)
    found = [name for name, kind in zip(types, listed, strict=True) if kind == "Tensor"] if len(listed) == len(types) else types
    runs = [(name, len(list(run))) for name, run in groupby(found)]
    return ",".join(name + "*" * (count > 3) if count > 3 else ",".join([name] * count) for name, count in runs)
