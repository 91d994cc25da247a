"""Machine usage during a run, sampled into ``system.jsonl`` of the run directory.

The names are MLflow's standard ones, which its UI shows under "System metrics". MLflow's own monitor is not used: it stops for
good after one failed call, and keeps nothing while the server is unreachable.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import psutil

from deit.machine import card_usage
from deit.runs.directory import RunDirectory
from deit.runs.journal import Journal
from deit.runs.run_processes import of_run
from deit.tracking import records

_log = logging.getLogger(__name__)


class Sampler:
    """Samples in its own thread, so that a slow tracking server leaves no gaps."""

    def __init__(self, run: RunDirectory, every: float) -> None:
        """Sample ``run``'s machine every ``every`` seconds; the step of a sample is its number."""
        self._run, self._every = run, every
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="system metrics", daemon=True)

    def start(self) -> None:
        psutil.cpu_percent()  # the first call only starts the measurement
        self._thread.start()

    def stop(self) -> None:
        """Stop sampling; all samples are in the journal when this returns."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        number = records.last_step(self._run.system_journal) + 1
        journal = Journal(self._run.system_journal)
        while not self._stopped.wait(self._every):
            try:
                journal.metrics(number, {f"system/{name}": value for name, value in sample(self._run).items()})
            except (OSError, psutil.Error) as error:
                _log.warning("no system metrics this time: %s", error)
                continue
            number += 1
        journal.close()


def sample(run: RunDirectory) -> dict[str, float]:
    """Current use of CPU, memory, the disk of the run directory, the workers' memory and the cards.

    Megabytes are 10^6 bytes, as in MLflow. CPU is the mean since the last call.
    """
    memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(run.path))
    metrics = {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": memory.used / 1e6,
        "system_memory_usage_percentage": 100 * memory.used / memory.total,
        "disk_usage_percentage": disk.percent,
        "disk_usage_megabytes": disk.used / 1e6,
        "disk_available_megabytes": disk.free / 1e6,
    }
    workers = of_run(run)
    if workers:
        metrics["worker_memory_usage_megabytes"] = _memory(workers) / 1e6
    metrics.update(card_usage.use())
    return {name: round(value, 1) for name, value in metrics.items()}


def _memory(pids: Sequence[int]) -> int:
    """Resident bytes of the processes; shared pages count for each of them."""
    total = 0
    for pid in pids:
        try:
            total += psutil.Process(pid).memory_info().rss
        except psutil.Error:
            continue  # ended, or of another user
    return total
