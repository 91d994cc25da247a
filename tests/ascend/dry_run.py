"""Compile steps for Ascend without a card, and say what they would launch.

python tests/ascend/dry_run.py [OVERRIDE ...]      # the train step of a configuration; `make ascend-dry-run ARGS="..."`
python tests/ascend/dry_run.py --cases [NAME ...]  # the cases of cases.py
python tests/ascend/dry_run.py --cases --write     # and store their numbers, to be reviewed before they are committed
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # as pytest has it; this file also runs without

from ascend import kernels, stand_ins  # noqa: E402
from ascend.cases import CARDS, CASES, STEPS, Case  # noqa: E402
from ascend.kernels import Kernels  # noqa: E402

# The files that `test_ascend` compares with. In operators.json "confirmed" says who states that the card has the kernel: only
# this dry run, or MindSpore's documentation of the operator too. Neither knows whether CANN has it for these types.
COUNTS, OPERATORS = HERE / "counts.json", HERE / "operators.json"
LOG = "{DEVICE:1}"  # which kernel is made for each operator
LIMITED = ("kernels", "aclop", "cpu", "casts", "all_reduces", "synchronisations")
ROOT = HERE.parents[1]
TIMEOUT = 1800  # seconds for all cases of a process


class CompilationFailed(Exception):
    """A step that does not compile; what MindSpore said last."""


def compile_in_one_process(cases: Sequence[Case], folder: Path, environment: dict[str, str]) -> dict[str, Kernels]:
    """The kernels of each case; all have the same ``process``. Raises CompilationFailed."""
    folder.mkdir(parents=True)
    variables = {
        **environment,
        "PYTHONPATH": os.pathsep.join([str(ROOT), environment["PYTHONPATH"]]),
        "FAKE_SOC": cases[0].soc,
        "MS_DEV_SAVE_GRAPHS": "1",
        "MS_DEV_SAVE_GRAPHS_PATH": str(folder / "ir"),
        "MS_DEV_DUMP_IR_PASSES": "graph_build",
        "TRACE_WAITS": "1",
        "GLOG_v": "2",
        "MS_SUBMODULE_LOG_v": LOG,
    }
    if cases[0].ranks > 1:
        variables |= {"RANK_SIZE": str(cases[0].ranks), "RANK_ID": "0"}
    log = folder / "log"
    asked = [{"name": case.name, "step": case.step, "ranks": case.ranks, "overrides": case.settings} for case in cases]
    with log.open("w") as stream:
        ended = subprocess.run(
            [sys.executable, str(HERE / "compile_cases.py"), str(folder)],
            cwd=folder,
            env=_environment() | variables,
            input=json.dumps(asked),
            stdout=subprocess.DEVNULL,
            stderr=stream,
            text=True,
            timeout=TIMEOUT,
        )
    text = log.read_text(errors="replace")
    if ended.returncode:
        said = [line for line in text.splitlines() if not line.startswith("[")]
        raise CompilationFailed("\n".join(said[-40:]))
    return {case.name: _kernels(case.name, text, folder) for case in cases}


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("MS_", "ASCEND_", "GLOG_"))}


def _kernels(name: str, log: str, folder: Path) -> Kernels:
    _, _, first = log.partition(f"@@ {name} first\n")
    first, _, second = first.partition(f"@@ {name} second\n")
    second, _, _ = second.partition(f"@@ {name} end\n")
    case = json.loads((folder / f"{name}.json").read_text())
    found = kernels.read(first, second, case["graphs"])
    found.compiled_again, found.cpu_seconds = case["added"] > 0, case["cpu_seconds"]
    return found


def compile_all(cases: Sequence[Case], at_once: int = 1) -> dict[str, Kernels]:
    """The kernels of each case; those that can share processes do, of which ``at_once`` run at a time."""
    from concurrent.futures import ThreadPoolExecutor

    found: dict[str, Kernels] = {}
    with tempfile.TemporaryDirectory(prefix="deit_ascend_") as name, ThreadPoolExecutor(at_once) as pool:
        environment = stand_ins.build(Path(name) / "stand_ins")
        kinds = sorted({case.process for case in cases})
        parts = []
        for kind in kinds:
            alike = [case for case in cases if case.process == kind]
            parts += [alike[start::at_once] for start in range(min(at_once, len(alike)))]
        waiting = [
            pool.submit(compile_in_one_process, part, Path(name) / str(number), environment)
            for number, part in enumerate(parts)
        ]
        for each in waiting:
            found |= each.result()
    return {case.name: found[case.name] for case in cases}


def stored(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def faults(found: Kernels, counts: dict[str, int] | None, reviewed: dict[str, dict[str, str]]) -> list[str]:
    """What is wrong: operators that run on the CPU or are not reviewed with these types, and more of LIMITED than stored."""
    messages = ["the second call is compiled again"] if found.compiled_again else []
    for operator, (kind, _) in found.operators.items():
        known = reviewed.get(operator, {}).get("kind")
        if kind == "cpu":
            messages.append(f"{operator} runs on the CPU")
        elif kind not in ("view", "fused", known):
            messages.append(f"{operator} ({kind}) " + ("is not in operators.json" if known is None else f"was {known}"))
    if counts is None:
        return [*messages, "no numbers are stored"]
    table = found.table()
    messages += [f"{table[name]} {name}, stored are {counts[name]}" for name in LIMITED if table[name] > counts[name]]
    return messages


def store(found: dict[str, Kernels]) -> None:
    """Write the numbers of these cases, and the operators that are new. When all cases are given, drop what none has."""
    counts = stored(COUNTS) | {name: each.table() for name, each in found.items()}
    before, used = stored(OPERATORS), {}
    for each in found.values():
        used |= {operator: kind for operator, (kind, _) in each.operators.items() if kind not in ("view", "fused")}
    names = [case.name for case in CASES]
    counts = {name: counts[name] for name in names if name in counts}
    operators = {} if set(names) <= found.keys() else dict(before)
    for operator, kind in used.items():
        known = before.get(operator, {})
        operators[operator] = known if known.get("kind") == kind else {"kind": kind, "confirmed": "dry run"}
    for path, content in ((COUNTS, counts), (OPERATORS, dict(sorted(operators.items())))):
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in content.items())
        path.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def show(name: str, found: Kernels, before: dict[str, int] | None) -> str:
    lines = [f"{name} (compiled in {found.cpu_seconds:.0f} CPU seconds)"]
    for key, value in found.table().items():
        change = "" if before is None or before.get(key) == value else f"  (stored: {before.get(key)})"
        lines.append(f"  {key:17}{value:6}{change}")
    lines += [f"  {where}" for where in found.synchronisations]
    lines += ["  the second call is compiled again"] if found.compiled_again else []
    return "\n".join(lines)


def _problem(settings: list[str]) -> str | None:
    """Why these overrides are no configuration; None if they are one."""
    sys.path.insert(0, str(HERE.parent / "helpers"))
    from composition import freeze

    from deit.compose.hydra_errors import ERRORS, translate
    from deit.errors import UserError

    try:
        freeze(*settings)
    except UserError as error:
        return str(error)
    except ERRORS as error:
        return str(translate(error, settings))
    return None


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--cases", action="store_true", help="the cases of cases.py, or those named")
    parser.add_argument("--write", action="store_true", help="store the numbers of the cases")
    parser.add_argument("--step", default="train", choices=STEPS)
    parser.add_argument("--card", default="ascend910b", choices=CARDS, help="ascend910 is the 910A")
    parser.add_argument("--jit-level", default="auto", help="hardware.jit_level; O0 in the cases")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--operators", action="store_true", help="list the operators, too")
    given = parser.parse_args(arguments)
    names = [case.name for case in CASES]
    if given.cases and (unknown := set(given.overrides) - set(names)):
        parser.error(f"no case is called {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if given.write and not given.cases:
        parser.error("--write is for --cases")
    if (reason := stand_ins.missing()) is not None:
        print(reason, file=sys.stderr)
        return 2
    if given.cases:
        cases = [case for case in CASES if not given.overrides or case.name in given.overrides]
    else:
        of = (given.step, tuple(given.overrides), given.ranks, given.card, None, given.jit_level)
        cases = [Case("this configuration", *of)]
        if (problem := _problem(cases[0].settings)) is not None:
            print(problem, file=sys.stderr)
            return 2
    try:
        found = compile_all(cases)
    except CompilationFailed as error:
        print(error, file=sys.stderr)
        return 1
    counts, reviewed = stored(COUNTS), stored(OPERATORS)
    for name, each in found.items():
        print(show(name, each, counts.get(name)))
        for operator, (kind, count) in sorted(each.operators.items(), key=lambda item: -item[1][1]):
            new = operator not in reviewed and kind not in ("view", "fused")
            if given.operators or new:
                print(f"  {count:5} {kind:6}{operator}{'  NEW: not among the reviewed operators' if new and reviewed else ''}")
    if given.write:
        store(found)
    elif given.cases:
        wrong = [f"{name}: {each}" for name in found for each in faults(found[name], counts.get(name), reviewed)]
        print("\n".join(wrong))
        return 1 if wrong else 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
