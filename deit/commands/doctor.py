"""``task=doctor``: checks of this machine on one page, each line green, yellow or red with advice.

Added to the command of a training, it checks whether this machine can run it: exit code 0, else 1. It starts no training,
creates no run directory and leaves no file. The checks are in ``deit/doctor/``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from deit.commands.task import Task
from deit.config.schema import RunConfig
from deit.config.tasks import DoctorTask
from deit.console import console, waiting
from deit.doctor import ascend, host, software
from deit.doctor.finding import Finding, Level, fail
from deit.doctor.mindspore_probe import probe
from deit.errors import UserError
from deit.machine import cards, npu_smi

STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}
DEVICES = {"cpu": "CPU", "ascend": "Ascend", "gpu": "GPU"}  # MindSpore's names


class Doctor(Task[DoctorTask]):
    is_trial = False
    takes = ()
    instead = "it looks at this machine alone; leave it out."

    def dry_run(self, config: RunConfig, typed: list[str]) -> int:
        console().print("dry run: task=doctor would look at this machine and write 64 MB to the disk of runs_dir for its speed")
        return 0

    def run(self, config: RunConfig, typed: list[str]) -> int:
        asked = config.hardware.target
        try:
            config = dataclasses.replace(config, hardware=cards.resolve(config.hardware))
        except UserError as error:  # the node rank is unknown
            found = [fail("hardware", str(error), "see docs/hardware.md")]
        else:
            with waiting("looking at this machine ..."):
                found = list(self.examine(config, asked))
        works = all(finding.level is not Level.FAIL for finding in found)
        if self.of(config).format == "json":
            checks = [dataclasses.asdict(finding) for finding in found]
            print(json.dumps({"can_train": works, "checks": checks}, indent=1, ensure_ascii=False))
        else:
            _show(found, config)
        return 0 if works else 1

    def examine(self, config: RunConfig, asked: str) -> Iterator[Finding]:
        """Every finding, in the order of the page. ``asked`` is hardware.target before it was resolved."""
        hardware, table = config.hardware, npu_smi.table()
        yield from software.python()
        first = {cards.VISIBLE[hardware.target]: str(ids[0])} if (ids := cards.chosen(hardware)) else {}
        facts = probe(DEVICES[hardware.target], first)
        yield software.mindspore(facts, hardware.target)
        yield ascend.driver(hardware, asked, table)
        yield ascend.cann(hardware, asked, facts)
        yield from ascend.devices(hardware, table)
        yield ascend.hccl(hardware)
        yield software.starter(hardware)
        yield software.compiler(hardware.target)
        yield host.processor_cores(config)
        yield host.memory()
        yield host.shared_memory()
        yield host.runs_dir(config)
        yield host.tracking(config)
        yield host.terminal()
        # Some rules depend on the device, which is known only now.
        for line in dict.fromkeys(self.problems(config) + self.card_problems(config)):
            yield fail("configuration", line, "change the key")


def _show(found: list[Finding], config: RunConfig) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for finding in found:
        style = STYLES[finding.level]
        text = Text(finding.text)
        if finding.advice:
            text.append(f"\n-> {finding.advice}", style)
        table.add_row(Text(finding.level.value, style), Text(finding.name, "bold"), text)
    console().print(table)
    red = [finding.name for finding in found if finding.level is Level.FAIL]
    hardware = config.hardware
    where = f"hardware.target {hardware.target}, cards {hardware.cards}, nodes {hardware.nodes}"
    verdict = f"this machine cannot train what was composed ({where}): {', '.join(red)}" if red else f"ready to train ({where})"
    console().print(Text(f"\n{verdict}", "bold red" if red else "bold green"))


TASK = Doctor()
