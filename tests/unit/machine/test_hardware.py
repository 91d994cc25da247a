"""Cards and ports of this machine: found, restricted, leased to one launch. Device files are made up."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from npu_tables import A3, ascend

from deit.errors import UserError
from deit.machine import card_usage, cards, leases, npu_smi
from deit.machine.ports import lease_port


@pytest.fixture
def eight_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dev").mkdir()
    for card in range(8):
        (tmp_path / "dev" / f"davinci{card}").touch()
    (tmp_path / "dev" / "davinci_manager").touch()
    monkeypatch.setattr(cards, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(leases, "FOLDER", tmp_path / "leases")
    monkeypatch.delenv("ASCEND_RT_VISIBLE_DEVICES", raising=False)


def test_a_process_of_the_second_chip_is_found_on_its_physical_card() -> None:
    assert npu_smi.processes(A3) == {1: "process 632268 (python3.1)"}
    assert npu_smi.processes("") == {}


def test_gpu_processes_are_found_by_their_cards_uuid() -> None:
    cards = "0, GPU-aa\n1, GPU-bb\n"
    assert card_usage.parse_nvidia_smi(cards, "GPU-bb, 77, python, 3\nGPU-cc, 1, x\n") == {1: "process 77 (python, 3)"}


def test_launches_lease_different_cards_and_the_third_is_told_who_holds_them(eight_cards: None) -> None:
    with cards.leased(ascend(cards=4), "run A") as first, cards.leased(ascend(cards=3), "run B") as second:
        assert (first, second) == ([0, 1, 2, 3], [4, 5, 6])
        told = r"hardware.cards=2: of 8 Ascend cards only 1 is free .*card 0: run A.*card 6: run B"
        with pytest.raises(UserError, match=told), cards.leased(ascend(cards=2), "run C"):
            pass
        with pytest.raises(UserError, match="card 1: run A"), cards.leased(ascend(card_ids=[1]), "run C"):
            pass
        with cards.leased(ascend(), "run C") as last:  # what was tried in vain was given back
            assert last == [7]
    with cards.leased(ascend(cards=8), "run D") as all_of_them:
        assert all_of_them == list(range(8))


@pytest.mark.process
def test_lease_ends_with_the_process_of_its_holder(eight_cards: None, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, pathlib\n"
        "from deit.machine import leases\n"
        "leases.FOLDER = pathlib.Path(sys.argv[1])\n"
        "lease = leases.take('ascend', 3, 'another process')\n"
        "print('held', flush=True)\n"
        "signal.pause()\n"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(leases.FOLDER)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    assert leases.take("ascend", 3, "us") is None and leases.holder("ascend", 3) == "another process"
    other.kill()
    other.wait()
    assert leases.take("ascend", 3, "us") is not None


def test_users_share_the_lease_folder_or_learn_its_owner(eight_cards: None) -> None:
    before = os.umask(0o077)
    try:
        port, lease = lease_port("a careful user")
    finally:
        os.umask(before)
    assert leases.FOLDER.stat().st_mode & 0o7777 == 0o1777
    assert (leases.FOLDER / f"port-{port}").stat().st_mode & 0o777 == 0o666
    lease.close()
    shutil.rmtree(leases.FOLDER)
    leases.FOLDER.touch()  # nobody can make a file in it, as in the folder of a user who shares nothing
    with pytest.raises(UserError, match=f"{leases.FOLDER}: no file can be created there .*chmod 1777"):
        lease_port("another user")


def test_visible_devices_limit_the_cards_of_a_trial(eight_cards: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "6,7")
    assert cards.chosen(ascend(cards=2)) == [6, 7]
    with pytest.raises(UserError, match=r"2 Ascend cards \(ASCEND_RT_VISIBLE_DEVICES=6,7\)"):
        cards.check(ascend(cards=3))


def test_ports_are_leased_once_and_a_busy_master_port_is_rejected(eight_cards: None) -> None:
    given = [lease_port("a test") for _ in range(20)]
    ports = {port for port, _ in given}
    assert len(ports) == 20
    given_out = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    if given_out > 20_000:  # the default; else some may be left, or none
        assert max(ports) < given_out, "any connection may get it before the scheduler listens there"
    with socket.socket() as listener:
        listener.bind(("", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(UserError, match=f"hardware.master_port={port}: not free"):
            cards.check(ascend(nodes=2, node_rank=0, master_addr="127.0.0.1", master_port=port))
        cards.check(ascend(nodes=2, node_rank=1, master_addr="127.0.0.1", master_port=port))  # it is machine 0's


def test_rank_table_must_exist(eight_cards: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"hardware.rank_table=/nowhere.json.*msrun does not need one"):
        cards.check(ascend(cards=8, rank_table="/nowhere.json"))


def test_sweep_pool_skips_cards_in_use(eight_cards: None, tmp_path: Path) -> None:
    from composition import composed

    from deit.runs.trial_record import Trial
    from deit.sweeps.executors.local import Local

    local = Local(None, tmp_path)
    config = composed("hardware=ascend8", "hardware.cards=4")
    local.check(config)
    assert local.size == 8
    held = leases.take("ascend", 2, "somebody")
    trial = Trial(0, [], {}, str(tmp_path), "", 4)
    taken = local._take(local._pool("ascend"), trial, config)
    assert taken is not None and taken[0] == [4, 5, 6, 7]
    assert local._take(local._pool("ascend"), trial, config) is None
    assert held is not None
    held.close()
    again = local._take(local._pool("ascend"), trial, config)
    assert again is not None and again[0] == [0, 1, 2, 3]
    with pytest.raises(UserError, match="could never start"):
        local.check(composed("hardware=ascend8", "hardware.cards=16"))
