"""Each line of task=doctor on simulated machines: tables of npu-smi, folders of CANN and devices are made up."""

from __future__ import annotations

from pathlib import Path

import pytest
from composition import composed, freeze
from npu_tables import A2, A3, FIRST, a2, ascend, stand_in

from deit.config.schema import HardwareConfig
from deit.doctor import ascend as npu
from deit.doctor import host, software
from deit.doctor.finding import Finding, Level
from deit.machine import cards

CPU = HardwareConfig(**{**vars(ascend()), "target": "cpu"})
FACTS = {"mindspore": "2.10.0", "cann": ["8.2", "8.3", "8.5"]}


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without tools, devices and CANN."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(cards, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(npu, "CANN_HOMES", (tmp_path / "none", tmp_path / "Ascend"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME", "LD_LIBRARY_PATH", "ASCEND_RT_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def with_cards(machine: Path, table: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(machine / "bin", table, monkeypatch)
    for number in range(count):
        (machine / "dev" / f"davinci{number}").touch()


def with_cann(machine: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "cann" / "compiler").mkdir(parents=True)
    (machine / "cann" / "compiler" / "version.info").write_text(f"Version={version}\nversion_dir=8\n")
    monkeypatch.setenv("ASCEND_HOME_PATH", str(machine / "cann"))


def said(finding: Finding) -> str:
    assert bool(finding.advice) == (finding.level is not Level.OK)
    return f"{finding.level.value}: {finding.text}"


@pytest.mark.parametrize(
    ("target", "asked", "level", "words"),
    [
        ("cpu", "cpu", "ok", "npu-smi not found, no /dev/davinci*; not needed with hardware.target=cpu"),
        ("cpu", "auto", "warn", "npu-smi not found, no /dev/davinci*; trainings run on the CPU"),
        ("ascend", "ascend", "fail", "npu-smi not found, no /dev/davinci*"),
    ],
)
def test_machine_without_a_driver(target: str, asked: str, level: str, words: str, bare: Path) -> None:
    hardware = ascend(target=target)
    assert said(npu.driver(hardware, asked, "")) == f"{level}: {words}"
    assert npu.cann(hardware, asked, FACTS).level == (Level.FAIL if target == "ascend" else Level.OK)
    (line,) = npu.devices(hardware, "")
    assert line.level == (Level.FAIL if target == "ascend" else Level.OK)
    assert npu.hccl(hardware).level == (Level.WARN if target == "ascend" else Level.OK)


def test_eight_healthy_cards(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_cards(bare, A2, 8, monkeypatch)
    hardware = ascend(cards=8)
    assert said(npu.driver(hardware, "ascend", A2)) == "ok: 24.1.rc3, 8 devices"
    first, *each = npu.devices(hardware, A2)
    assert said(first) == "ok: 8 Ascend cards, hardware.cards is 8"
    text = "ok: 910B3, health OK, generation 910B: float16 and bfloat16, flash attention, 60.7 of 64.0 GiB free"
    assert [line.name for line in each] == [f"card {n}" for n in range(8)] and {said(line) for line in each} == {text}


def test_unhealthy_busy_and_old_cards(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_cards(bare, a2(sick=3), 8, monkeypatch)
    lines = {line.name: line for line in npu.devices(ascend(cards=8), a2(sick=3))}
    assert lines["card 3"].level is Level.FAIL and "health Alarm" in lines["card 3"].text
    assert lines["card 2"].level is Level.OK
    others = [line for line in npu.devices(CPU, a2(sick=3)) if line.name == "card 3"]
    assert others[0].level is Level.WARN, "the CPU needs no card"
    lines = {line.name: line for line in npu.devices(ascend(cards=4), A3)}
    assert lines["card 1"].level is Level.WARN and "used by process 632268 (python3.1)" in lines["card 1"].text
    assert "910_93" in lines["card 0"].text
    lines = {line.name: line for line in npu.devices(ascend(cards=2), FIRST)}
    assert "generation 910A: no bfloat16, no flash attention" in lines["card 0"].text


def test_too_few_cards_and_devices_missing_in_a_container(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_cards(bare, A2, 2, monkeypatch)
    first = next(npu.devices(ascend(cards=8), A2))
    assert said(first).startswith("fail: hardware.cards=8: this machine has 2 Ascend cards")
    for file in (bare / "dev").iterdir():
        file.unlink()
    line = npu.driver(ascend(cards=8), "ascend", A2)
    assert said(line) == "fail: 24.1.rc3, but no /dev/davinci*" and "--device=/dev/davinci0" in line.advice
    line = npu.driver(ascend(), "ascend", "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)")
    assert said(line) == "fail: npu-smi info does not answer as expected" and "HwHiAiUser" in line.advice


@pytest.mark.parametrize(
    ("version", "level", "words"),
    [
        ("8.5.0", Level.OK, "which MindSpore 2.10.0 accepts"),
        ("8.2.RC1", Level.OK, "which MindSpore 2.10.0 accepts"),
        ("8.0.RC3", Level.WARN, "8.0.RC3"),
    ],
)
def test_cann_version_is_compared_with_mindspore(
    version: str, level: Level, words: str, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cann(bare, version, monkeypatch)
    found = npu.cann(ascend(), "ascend", FACTS)
    assert found.level is level and words in found.text
    if level is Level.WARN:
        assert "MindSpore 2.10.0 is made for CANN 8.2, 8.3, 8.5" in found.advice
    assert npu.cann(ascend(), "ascend", {}).level is Level.OK, "MindSpore, which did not say, has a line of its own"


def test_cann_without_its_environment_and_hccl(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "Ascend").mkdir()
    (bare / "set_env.sh").touch()
    found = npu.cann(ascend(), "ascend", FACTS)
    assert found.level is Level.FAIL and found.advice == f"source {bare / 'set_env.sh'}"
    with_cann(bare, "8.5.0", monkeypatch)
    assert npu.hccl(ascend(cards=8)).level is Level.FAIL
    (bare / "cann" / "lib64").mkdir()
    (bare / "cann" / "lib64" / "libhccl.so").touch()
    assert npu.hccl(ascend(cards=8)).level is Level.OK


def test_errors_of_mindspore_are_shown() -> None:
    assert said(software.mindspore(FACTS, "cpu")) == "ok: 2.10.0 computes on the CPU"
    assert (
        said(software.mindspore(FACTS | {"soc": "ascend910b"}, "ascend"))
        == "ok: 2.10.0 computes on an Ascend card (ascend910b)"
    )
    absent = software.mindspore({"error": "ModuleNotFoundError: No module named 'mindspore'"}, "cpu")
    assert said(absent).startswith("fail: cannot be imported: ModuleNotFoundError") and "pip install" in absent.advice
    broken = software.mindspore(FACTS | {"error": "RuntimeError: libge_runner.so"}, "ascend")
    assert said(broken) == "fail: 2.10.0 does not compute on an Ascend card: RuntimeError: libge_runner.so"


def test_gcc_is_needed_only_with_a_card(bare: Path) -> None:
    assert said(software.compiler("cpu")).startswith("ok: not found")
    assert said(software.compiler("ascend")).startswith("warn: not found")
    gcc = bare / "bin" / "gcc"
    gcc.write_text("#!/bin/sh\necho 4.8.5\n")
    gcc.chmod(0o755)
    assert software.compiler("ascend").level is Level.WARN and software.compiler("cpu").level is Level.OK


def test_check_of_runs_dir(tmp_path: Path) -> None:
    folder = tmp_path / "a #b" / "runs"
    found = host.runs_dir(freeze(f"runs_dir='{folder}'", "data=digits"))
    assert found.text.startswith(f"{folder}: ") and "free, writes" in found.text and not folder.exists()
    (tmp_path / "file").touch()
    assert said(host.runs_dir(freeze(f"runs_dir='{tmp_path / 'file'}'"))).startswith("fail: ")
    kept = host.runs_dir(freeze(f"runs_dir='{tmp_path}'", "checkpointing.keep_last=100000"))
    assert kept.level is Level.FAIL and "the checkpoints need" in kept.advice
    assert (
        "/sys" in said(host.runs_dir(freeze("runs_dir=/sys/runs")))
        and host.runs_dir(freeze("runs_dir=/sys/r")).level is Level.FAIL
    )


def test_check_of_the_mlflow_store(tmp_path: Path) -> None:
    new = host.tracking(freeze(f"tracking.uri='sqlite:///{tmp_path}/a.db'"))
    assert said(new) == f"ok: sqlite:///{tmp_path}/a.db, a new file ({tmp_path}/a.db)"
    assert said(host.tracking(freeze("tracking=none"))) == "ok: off (tracking=none)"
    (tmp_path / "b.db").write_text("no database, but some text " * 9)
    assert host.tracking(freeze(f"tracking.uri='sqlite:///{tmp_path}/b.db'")).level is Level.FAIL
    away = host.tracking(freeze("tracking.uri=http://127.0.0.1:9"))
    assert away.level is Level.WARN and away.text.startswith("tracking.uri=http") and "Connection refused" in away.text


def test_check_of_cpu_cores_per_card(monkeypatch: pytest.MonkeyPatch) -> None:
    config = composed("hardware=cpu", "data=digits")
    found = host.processor_cores(config)
    assert found.level is Level.OK and "data.workers is " in found.text
    config = freeze("hardware=ascend8", "data.workers=2")
    assert host.processor_cores(config).level is Level.WARN
