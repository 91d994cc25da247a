"""An MLflow database without runs, for tests that do not look at how one is made: its tables cost most of a second."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

from command import ROOT
from launching import SHARED_CACHE

from deit.machine import locks

# In a process: the caller need not import MLflow, and keeps no connection to a file that moves.
MAKE = "import sys; from deit.tracking.remote import connect; connect(f'sqlite:///{sys.argv[1]}')"


def add_empty_store(folder: Path, name: str = "mlflow.db") -> str:
    """Put the database that a first launch in ``folder`` would make there; returns its address for ``tracking.uri``."""
    kept = SHARED_CACHE.parent / f"mlflow-{importlib.metadata.version('mlflow-skinny')}.db"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{kept}.turn", "a") as turn:
        locks.hold(turn)
        if not kept.exists():
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            part = kept.with_suffix(".part")  # whole or not there: a killed test leaves no half of its tables
            part.unlink(missing_ok=True)
            subprocess.run([sys.executable, "-c", MAKE, str(part)], cwd=kept.parent, env=environment, check=True)
            part.rename(kept)
    shutil.copyfile(kept, folder / name)
    return f"sqlite:///{folder / name}"
