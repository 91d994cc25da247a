"""System metrics of a run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deit.runs import directory, journal
from deit.tracking import records, system


def test_sampler_continues_its_steps_after_a_restart(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "x")
    for started in (1, 2):
        sampler = system.Sampler(run, 0.05)
        sampler.start()
        end = time.monotonic() + 60
        while records.last_step(run.system_journal) < 2 * started and time.monotonic() < end:
            time.sleep(0.05)
        sampler.stop()
    found = [record for _, record in journal.read(run.system_journal)]
    assert len(found) >= 5
    assert [record["step"] for record in found] == list(range(len(found)))
    for record in found:
        assert 0 <= record["metrics"]["system/cpu_utilization_percentage"] <= 100
        assert 0 < record["metrics"]["system/system_memory_usage_percentage"] <= 100
        assert record["metrics"]["system/disk_available_megabytes"] > 0
        assert "system/worker_memory_usage_megabytes" not in record["metrics"]  # there is no worker


@pytest.mark.process
def test_memory_of_all_processes_of_a_run_is_counted(tmp_path: Path) -> None:
    run = directory.create(tmp_path, "x")
    environment = {**os.environ, "DEIT_RUN_DIRECTORY": str(run.path)}
    sleeping = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    # In sessions of their own, as msrun starts the workers.
    workers = [subprocess.Popen(sleeping, env=environment, start_new_session=True, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for worker in workers:
            assert worker.stdout is not None and worker.stdout.readline()
        alone = psutil.Process(workers[0].pid).memory_info().rss / 1e6
        assert system.sample(run)["worker_memory_usage_megabytes"] == pytest.approx(2 * alone, rel=0.2)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
