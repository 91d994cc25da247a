"""From what a user types (a directory, an address or ``last``) to the directory of a sweep."""

from __future__ import annotations

from pathlib import Path

from deit.config.addresses import is_remote
from deit.errors import UserError
from deit.runs.sweep_directory import FOLDER, SweepDirectory


def find(text: str, key: str, runs_dir: str) -> SweepDirectory:
    """The sweep of ``text``, the value of ``key``: a directory, or ``last`` for the newest below ``runs_dir``.

    One in a store is fetched to this machine, with the needed part of its trials' runs. Raises UserError if there is none.
    """
    if is_remote(text) or (text == "last" and is_remote(runs_dir)):
        from deit.storage.fetch_sweep import fetch_sweep, newest_sweep  # late: imports the store's library

        return fetch_sweep(newest_sweep(runs_dir, key) if text == "last" else text, key, to_go_on=key == "sweep.resume")
    if text == "last":
        found = sorted(Path(runs_dir).glob(f"{FOLDER}/*/sweep.json"))
        if not found:
            raise UserError(f"{key}=last: no sweep found in {runs_dir}/{FOLDER}/. Give a sweep's directory, or runs_dir=.")
        return SweepDirectory(found[-1].parent)
    sweep = SweepDirectory(text)
    if not sweep.info.is_file():
        raise UserError(
            f"{key}={text}: not the directory of a sweep, sweep.json is missing. Allowed: a directory, its address in a "
            "store, or `last`."
        )
    return sweep
