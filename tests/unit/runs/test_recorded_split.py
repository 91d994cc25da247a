"""split.jsonl of a run, found again wherever its directory is."""

from __future__ import annotations

from pathlib import Path

from composition import composed

from deit.runs import directory
from deit.runs.recorded_split import recorded, with_recorded, without_recorded


def test_configuration_has_the_split_of_its_run_only_while_it_is_used(tmp_path: Path) -> None:
    run, config = directory.create(tmp_path, "run"), composed("experiment=quickstart")
    assert recorded(run) is None and with_recorded(config, run) is config
    run.split.touch()
    used = with_recorded(config, run)
    assert used.data.split_file == recorded(run) == str(run.split)
    assert without_recorded(used, run) == config
    other = directory.create(tmp_path, "run")
    assert without_recorded(used, other) is used  # the split of another run is a choice of the user
