"""Tags and parameters of a run."""

from __future__ import annotations

from pathlib import Path

from composition import composed

from deit.commands.table import unused_keys_of
from deit.runs.create import create
from deit.tracking import describe


def test_long_and_odd_values_fit_mlflow() -> None:
    text = describe._text(["http://me:secret@host/"] * 500, 100)
    assert len(text) == 100 and text.endswith(" ... (cut)") and "secret" not in text
    assert describe._name("versions.a@b") == "versions.a_b"


def test_params_omit_keys_that_the_task_ignores(tmp_path: Path) -> None:
    config = composed("experiment=quickstart", f"runs_dir={tmp_path}", "ema=none", "tracking=none")
    run = create(config, [], unused=unused_keys_of(config))
    found = describe.params(run, config)
    assert found["ema.enabled"] == "false" and found["optim.base_lr"] == "0.002"
    assert not {"ema.decay", "distill.tau", "sweep.dir"} & set(found)
