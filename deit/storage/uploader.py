"""The uploader: copies one run, or the directory of one sweep, to the store of its ``runs_dir``, without delaying the work.

    python -m deit.storage.uploader RUN_OR_SWEEP_DIR

The launcher starts it with the workers, a sweep with its first trial. Urgent files (a new checkpoint, the end of a trial) are
copied at once, everything else periodically; failures are retried. It ends when the launcher stops it, or by itself when no
process of the run is left and all is copied.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Hashable
from typing import Any

from deit.config import frozen
from deit.errors import UserError
from deit.machine import companion_main, locks
from deit.runs.directory import RunDirectory
from deit.runs.sweep_directory import SweepDirectory
from deit.storage.mirror_base import LOCK, Folder, Stopped
from deit.storage.run_mirror import Mirror, address_of
from deit.storage.sweep_mirror import SweepMirror

_log = logging.getLogger(__name__)

POLL = 0.5  # seconds between two checks for urgent files
PERIOD = 15.0  # seconds between two copies of everything else
LONGEST_WAIT = 30.0  # seconds between two attempts while the store is unreachable
ABANDONED = 600.0  # seconds for which an uploader without a launcher tries to reach the store
LAST_WORDS = 4.0  # seconds from SIGINT or SIGTERM to the end


class Uploader:
    def __init__(self, mirror: Folder) -> None:
        self._mirror = mirror
        self._mirror.goes_on = lambda: not self._stopping
        self._stopping = False

    def stop(self, *_: Any) -> None:
        """End soon, even if a call blocks; partial copies are repeated next time."""
        self._stopping = True
        companion_main.end_within(LAST_WORDS)

    def serve(self) -> None:
        """Copy until stopped, or until no process of the run is left and all is copied."""
        with locks.alone(self._mirror.path / LOCK, lambda who: _log.info("%s is working on it; waiting for it", who)):
            self._mirror.reload()
            _log.info("copying to %s", self._mirror.address)
            failures, orphaned = 0, None
            while not self._stopping:
                alone = not self._mirror.accompanied()
                seen = self._mirror.news()
                try:
                    self._mirror.send()
                except Stopped:
                    break
                except Exception as error:  # any error: the training continues, and a later attempt may succeed
                    failures += 1
                    if failures == 1:  # an outage of a night is two lines in the log
                        foreseen = isinstance(error, UserError)
                        reason = str(error).strip().partition("\n")[0]
                        _log.warning("will try again: %s", reason, exc_info=None if foreseen else error)
                else:
                    if failures:
                        _log.info("all is copied again, after %d failed attempts", failures)
                    failures = 0
                    if alone and not self._mirror.missing():
                        _log.info("all is copied, and no process is left")
                        return
                orphaned = (orphaned or time.monotonic()) if alone else None
                if orphaned is not None and time.monotonic() - orphaned > ABANDONED:
                    _log.info("the launcher is gone, and not all could be copied; the rest stays here")
                    return
                self._wait(failures, seen)
            _log.info("told to stop")

    def _wait(self, failures: int, seen: Hashable) -> None:
        until = time.monotonic() + (PERIOD if failures == 0 else min(LONGEST_WAIT, 2.0 ** (failures - 1)))
        while time.monotonic() < until and not self._stopping:
            time.sleep(POLL)
            if failures == 0 and (self._mirror.news() != seen or not self._mirror.accompanied()):
                return


def of(folder: str) -> Uploader:
    """The uploader of ``folder``. Raises UserError if that has no configuration, or one with a local runs_dir."""
    sweep, run = SweepDirectory(folder), RunDirectory(folder)
    if sweep.info.is_file():
        if sweep.address is None:
            raise UserError(f"{sweep}: its runs_dir is a folder; it is not copied.")
        return Uploader(SweepMirror(sweep, sweep.address))
    config = frozen.load(run.config)
    address = address_of(run, config)
    if address is None:
        raise UserError(f"{run.config}: runs_dir is {config.runs_dir}, a folder; it is not copied.")
    return Uploader(Mirror(run, address))


if __name__ == "__main__":
    sys.exit(companion_main.serve("deit.storage.uploader", of, sys.argv[1:]))
