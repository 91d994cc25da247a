"""The process of one trial of a sweep: supervises the run in a directory that the sweep has prepared.

    python -m deit.trial RUN_DIR

The sweep has checked and frozen the configuration and chosen the cards, which are set in the environment. Started again on
the same directory, it resumes from the newest checkpoint. On SIGTERM, which it also gets when the sweep dies, it writes a
checkpoint and exits with 143.
"""

from __future__ import annotations

import dataclasses
import sys

from deit.commands.table import task_of
from deit.config import frozen
from deit.errors import UserError
from deit.launching.run import work_on
from deit.machine import cards
from deit.runs.directory import RunDirectory
from deit.runs.lock import locked
from deit.storage.data_cache import FRESH, stage


def main(arguments: list[str]) -> int:
    """Work on a run directory; returns the exit code (0, 1, 2, 130, 143)."""
    if len(arguments) != 1:
        print("usage: python -m deit.trial RUN_DIR", file=sys.stderr)
        return 2
    run = RunDirectory(arguments[0])
    try:
        config = frozen.load(run.config)
        # A trial on several machines has such a process on each; the node rank comes from Slurm.
        config = dataclasses.replace(config, hardware=cards.resolve(config.hardware))
        cards.check(config.hardware)
        stage(config.data, believed=FRESH)  # on the sweep's own machine it is already copied
        with locked(run, config.hardware.node_rank):
            return work_on(run, config, cards.chosen(config.hardware), task_of(config.task.name).work)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
