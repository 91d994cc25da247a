"""config.yaml: it reads back equal, and invalid edits are rejected."""

from __future__ import annotations

from pathlib import Path

import pytest
from composition import composed
from new_runs import new_run

from deit.config import frozen
from deit.errors import UserError


def test_frozen_configuration_reads_back_equal(tmp_path: Path) -> None:
    config = composed("model=deit_small", "optim=sgd", "task=evaluate", "checkpoint=somewhere")
    frozen.save(config, tmp_path / "config.yaml")
    assert frozen.load(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("base_lr: 0.002", "base_lr: fast", "optim.base_lr is 'fast', but a number"),
        ("base_lr:", "bass_lr:", "unknown key optim.bass_lr. Did you mean 'base_lr'?"),
        ("name: adamw", "name: adam", "optim.name is 'adam'; allowed: adamw, lamb, sgd"),
    ],
)
def test_invalid_edited_config_is_rejected(tmp_path: Path, old: str, new: str, told: str) -> None:
    run = new_run(tmp_path)
    text = run.config.read_text()
    assert old in text
    run.config.write_text(text.replace(old, new))
    with pytest.raises(UserError, match="config") as error:
        frozen.load(run.config)
    assert told in str(error.value)
