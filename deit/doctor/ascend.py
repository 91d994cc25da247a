"""Driver, CANN, cards and HCCL: what an Ascend server needs besides MindSpore.

Without a card, and if none is required, each is one line: absent, and not needed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deit.config.schema import HardwareConfig
from deit.doctor.finding import Finding, fail, ok, warn
from deit.errors import UserError
from deit.machine import card_generation, cards, npu_smi

CANN_HOMES = (  # where CANN's installer puts it, the newer layout first
    Path("/usr/local/Ascend/cann"),
    Path("/usr/local/Ascend/ascend-toolkit/latest"),
    Path.home() / "Ascend/cann",
    Path.home() / "Ascend/ascend-toolkit/latest",
)
_LIMITS = {
    "910A": "no bfloat16, no flash attention",
    "910B": "float16 and bfloat16, flash attention",
    "910_93": "float16 and bfloat16, flash attention, two chips on a card",
}


def wants(hardware: HardwareConfig, asked: str) -> bool:
    """Whether a card is required or present. ``asked`` is hardware.target as composed, ``hardware`` is resolved."""
    return "ascend" in (hardware.target, asked)


def driver(hardware: HardwareConfig, asked: str, table: str) -> Finding:
    """The driver's tool and its device files."""
    files, needed = cards.all_card_ids("ascend"), wants(hardware, asked)
    if not npu_smi.installed():
        if files:
            return warn(
                "Ascend driver",
                f"{len(files)} device files (/dev/davinci*), but npu-smi was not found",
                "add the folder of npu-smi to PATH (in a container, mount /usr/local/bin/npu-smi); without it a card that "
                "others use is not recognised",
            )
        text = "npu-smi not found, no /dev/davinci*"
        if needed:
            return fail("Ascend driver", text, "install the Ascend driver and firmware, or give hardware=cpu")
        if asked == "auto":
            return warn("Ascend driver", f"{text}; trainings run on the CPU", "nothing, if this machine has no Ascend card")
        return ok("Ascend driver", f"{text}; not needed with hardware.target={asked}")
    version = npu_smi.driver_version(table)
    if version is None:
        advice = "run npu-smi info and do what it says; a user without rights must be in the group HwHiAiUser"
        return fail("Ascend driver", "npu-smi info does not answer as expected", advice, needed=needed)
    if not files:
        advice = "start the container with --device=/dev/davinci0 (and so on, one for each card), /dev/davinci_manager, "
        advice += "/dev/devmm_svm and /dev/hisi_hdc"
        return fail("Ascend driver", f"{version}, but no /dev/davinci*", advice, needed=needed)
    return ok("Ascend driver", f"{version}, {len(files)} devices")


def devices(hardware: HardwareConfig, table: str) -> Iterator[Finding]:
    """Whether the configured cards are here, healthy and free; then each card that npu-smi shows."""
    try:
        cards.check(hardware)
    except UserError as error:
        yield fail("cards", str(error), "give hardware=cpu or fewer hardware.cards, or see the lines above")
    else:
        there = "the CPU" if hardware.target == "cpu" else cards.count(len(cards.card_ids(hardware.target)), hardware.target)
        yield ok("cards", f"{there}, hardware.cards is {hardware.cards}")
    chips, used = npu_smi.chips(table), npu_smi.processes(table)
    visible = cards.card_ids("ascend")
    for chip in chips:
        yield _chip(chip, used.get(chip.number), needed=hardware.target == "ascend" and chip.number in visible)


def _chip(chip: npu_smi.Chip, process: str | None, *, needed: bool) -> Finding:
    name = f"card {chip.number}"
    generation = card_generation.of_chip(chip)
    parts = [chip.name, f"health {chip.health}"]
    if generation:
        parts.append(f"generation {generation}: {_LIMITS[generation]}")
    if chip.total_mb:
        parts.append(f"{(chip.total_mb - (chip.used_mb or 0)) / 1024:.1f} of {chip.total_mb / 1024:.1f} GiB free")
    text = ", ".join(parts)
    if chip.health not in ("OK", "Warning"):
        advice = f"run npu-smi info -t health -i {chip.card}; leave it out with hardware.card_ids, or reset it"
        return fail(name, text, advice, needed=needed)
    if chip.health == "Warning":
        return warn(name, text, f"run npu-smi info -t health -i {chip.card}")
    if process:
        return warn(name, f"{text}, used by {process}", "a run takes another card, or waits for this one")
    if generation is None:
        return warn(name, text, "this is no card that the project knows: please send this page in an issue")
    return ok(name, text)


def cann(hardware: HardwareConfig, asked: str, facts: dict[str, Any]) -> Finding:
    """CANN's version, and whether MindSpore's own check accepts it."""
    home, needed = _home(), wants(hardware, asked)
    if not home:
        installed = next((path for path in CANN_HOMES if path.is_dir()), None)
        if installed is not None:
            script = next((p for p in (installed / "set_env.sh", installed.parent / "set_env.sh") if p.exists()), "set_env.sh")
            text = f"{installed}, but ASCEND_HOME_PATH is not set"
            return fail("CANN", text, f"source {script}", needed=needed)
        if needed:
            return fail("CANN", "not found; ASCEND_HOME_PATH is not set", "install CANN and source its set_env.sh")
        return ok("CANN", "not found; not needed without an Ascend card")
    version = _cann_version(Path(home))
    if version is None:
        return warn("CANN", f"{home}, but no version.info in it", "source the set_env.sh of a whole installation of CANN")
    accepted: list[str] = facts.get("cann") or []
    short = ".".join(version.split(".")[:2])
    if accepted and short not in accepted:
        advice = f"MindSpore {facts['mindspore']} is made for CANN {', '.join(accepted)}; see the table in docs/hardware.md"
        return warn("CANN", f"{version}, {home}", advice)
    matches = f", which MindSpore {facts['mindspore']} accepts" if accepted else ""
    return ok("CANN", f"{version}, {home}{matches}")


def _home() -> str:
    """The folder of CANN whose set_env.sh was sourced; empty without one."""
    return os.environ.get("ASCEND_HOME_PATH") or os.environ.get("ASCEND_TOOLKIT_HOME") or ""


def _cann_version(home: Path) -> str | None:
    for place in ("compiler/version.info", "runtime/version.info", "toolkit/version.info", "opp/version.info", "version.info"):
        try:
            found = re.search(r"^[Vv]ersion=([\w.]+)", (home / place).read_text(errors="replace"), re.MULTILINE)
        except OSError:
            continue
        if found:
            return found[1]
    return None


def hccl(hardware: HardwareConfig) -> Finding:
    """CANN's communication library, which several cards need."""
    if hardware.target != "ascend":
        return ok("HCCL", "not needed without Ascend cards")
    several = hardware.cards * hardware.nodes > 1
    folders = [*os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep), f"{_home()}/lib64" if _home() else ""]
    library = next((path for folder in folders if folder and (path := Path(folder) / "libhccl.so").exists()), None)
    if library is None:
        return fail("HCCL", "libhccl.so not found", "source CANN's set_env.sh", needed=several)
    if hardware.nodes > 1 and not Path("/etc/hccn.conf").exists():
        return warn("HCCL", f"{library}, but no /etc/hccn.conf", "give the cards' network interfaces addresses with hccn_tool")
    return ok("HCCL", str(library))
