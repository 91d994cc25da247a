"""run= and resume=: the configuration of the run, changed only by typed overrides."""

from __future__ import annotations

from pathlib import Path

import pytest
from composition import freeze

from deit.config import frozen
from deit.errors import UserError
from deit.recipe.plan import plan


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory whose recipe differs from the defaults in many ways."""
    config = freeze(
        "experiment=quickstart", "seed=7", "optim=sgd", "optim.base_lr=0.1", "optim.momentum=0.8", "schedule.epochs=9"
    )
    frozen.save(config, tmp_path / "config.yaml")
    return tmp_path


def test_resume_keeps_everything(run: Path) -> None:
    config = freeze(f"resume={run}")
    base = frozen.load(run / "config.yaml")
    assert config.resume == str(run)
    config.resume = None
    assert config == base


def test_resume_accepts_safe_changes(run: Path) -> None:
    config = freeze(
        f"resume={run}", "hardware=cpu", "tracking=none", "data.workers=3", "schedule.max_steps=5", "schedule.eval_every=2"
    )
    assert (config.hardware.target, config.tracking.uri, config.data.workers) == ("cpu", None, 3)
    assert (config.schedule.max_steps, config.schedule.eval_every, config.optim.momentum) == (5, 2, 0.8)


def test_resume_with_more_epochs_uses_the_longer_schedule(run: Path) -> None:
    """The learning rate continues as if the longer schedule had been used from the start."""
    typed = ("schedule.epochs=20", "schedule.patience=3", "optim.on_nonfinite=skip", "checkpointing.every_steps=50")
    config, base = freeze(f"resume={run}", *typed), frozen.load(run / "config.yaml")
    assert (config.optim.on_nonfinite, config.checkpointing.every_steps) == ("skip", 50)
    old, new = plan(base, 1000), plan(config, 1000)
    whole = plan(freeze("experiment=quickstart", "seed=7", "optim=sgd", "optim.base_lr=0.1", "schedule.epochs=20"), 1000)
    done = old.total_steps
    assert (done, new.total_steps) == (9 * 15, 20 * 15)
    assert new.learning_rate(done) == whole.learning_rate(done) > old.learning_rate(done - 1)


def test_group_typed_with_resume_sees_the_runs_values(run: Path) -> None:
    # tracking.experiment is ${data.name}: the run's digits, not the imagenet of the defaults.
    assert freeze(f"resume={run}", "tracking=mlflow").tracking.experiment == "digits"


def test_resume_on_other_cards_needs_the_same_global_batch(run: Path) -> None:
    config = freeze(f"resume={run}", "hardware=cpu2", "data.batch_size=32")
    assert (config.hardware.cards, config.data.batch_size) == (2, 32)
    with pytest.raises(UserError, match="took 64 images in this run and would take 128 now"):
        freeze(f"resume={run}", "hardware=cpu2")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("seed=8", "seed was 7 in this run and cannot become 8 with resume="),
        ("model=deit_tiny", "model.name was 'deit_micro' in this run and cannot become 'deit_tiny'"),
        ("schedule.epochs=8", "schedule.epochs was 9 in this run and can only increase with resume=, not 8"),
        ("ema=none", "ema.enabled was true"),
        ("experiment=quickstart", "experiment=quickstart: not allowed with resume="),
        ("debug=fast", "debug=fast: not allowed with resume="),
        ("task=evaluate", "with task=evaluate: resume"),
    ],
)
def test_resume_rejects_another_recipe(run: Path, typed: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        freeze(f"resume={run}", typed)


def test_typing_the_value_of_the_run_is_not_a_change(run: Path) -> None:
    assert freeze(f"resume={run}", "seed=7", "ema=short").seed == 7


def test_evaluate_builds_the_model_of_the_run(run: Path) -> None:
    config = freeze("task=evaluate", f"run={run}", "task.which=last", "data.eval_batch_size=5", "precision=fp32")
    assert (config.task.name, config.task.which, config.run) == ("evaluate", "last", str(run))
    assert (config.model.name, config.data.name, config.data.eval_batch_size) == ("deit_micro", "digits", 5)
    assert (config.seed, config.name) == (7, "quickstart")


def test_evaluate_on_other_data_of_as_many_classes(run: Path) -> None:
    config = freeze("task=evaluate", f"run={run}", "data=imagefolder", "data.root=/scans")
    assert (config.data.source, config.data.num_classes, config.data.root) == ("imagefolder", 10, "/scans")
    with pytest.raises(UserError, match=r"data\.num_classes was 10 in this run and cannot become 100 with run="):
        freeze("task=evaluate", f"run={run}", "data=cifar100")


def test_the_split_of_the_run_is_kept(tmp_path: Path) -> None:
    """Also if the run has moved. A typed key splits the images again, except those of a resumed run."""
    run = tmp_path / "moved"
    run.mkdir()
    config = freeze("data=imagefolder", "data.root=photos", "data.val_fraction=0.1")
    frozen.save(config, run / "config.yaml")
    assert freeze("task=evaluate", f"run={run}").data.split_file is None
    (run / "split.jsonl").write_text("")
    for typed in ((), ("data.root=/scans",), ("data=imagefolder", "data.root=photos")):
        assert freeze("task=evaluate", f"run={run}", *typed).data.split_file == f"{run}/split.jsonl"
    assert freeze("task=compare", f"task.models=[{run},other]").data.split_file == f"{run}/split.jsonl"
    assert freeze(f"resume={run}", "data.val_fraction=0.1").data.split_file == f"{run}/split.jsonl"
    again = freeze("task=evaluate", f"run={run}", "data.val_fraction=1").data
    assert (again.split_file, again.val_fraction) == (None, 1)
    assert freeze("task=evaluate", f"run={run}", "data.split_file=null").data.split_file is None


def test_evaluate_rejects_another_model(run: Path) -> None:
    with pytest.raises(UserError, match=r"model\.depth was 2 in this run and cannot become 5"):
        freeze("task=evaluate", f"run={run}", "model.depth=5")
    assert freeze("task=evaluate", f"run={run}", "model.attention=plain").model.attention == "plain"


def test_run_key_needs_task_evaluate(run: Path) -> None:
    with pytest.raises(UserError, match="with task=train"):
        freeze(f"run={run}")
    with pytest.raises(UserError, match="with task=evaluate: resume"):
        freeze(f"resume={run}", "task=evaluate")
