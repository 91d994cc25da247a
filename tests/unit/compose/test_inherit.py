"""The configuration of a run under new overrides, as a function of three arguments."""

from __future__ import annotations

import pytest
from composition import composed
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict

from deit.compose import groups, overrides
from deit.compose.inherit import inherit
from deit.config.schema import RunConfig
from deit.errors import UserError


@pytest.fixture(scope="module")
def base() -> RunConfig:
    return composed("experiment=quickstart", "schedule.epochs=7", "data.num_classes=10")


def result(base: RunConfig, *typed: str) -> RunConfig:
    given = overrides.check(typed, sweeping=False)
    with initialize_config_dir(str(groups.CONF), version_base="1.3"):
        found: DictConfig = compose("config", overrides.readable(typed))
    with open_dict(found):
        found.pop("hydra", None)
    return inherit(base, found, given)


def test_only_typed_keys_differ_from_the_run(base: RunConfig) -> None:
    resumed = result(base, "resume=x", "schedule.epochs=9", "tracking.log_every=7", "runs_dir=other")
    assert (resumed.schedule.epochs, resumed.tracking.log_every, resumed.runs_dir, resumed.resume) == (9, 7, "other", "x")
    assert (resumed.model, resumed.optim, resumed.augment) == (base.model, base.optim, base.augment)


def test_group_keeps_the_runs_values_that_its_file_does_not_set(base: RunConfig) -> None:
    evaluated = result(base, "run=x", "task=evaluate", "data=cifar10", "data.root=d")
    assert (evaluated.data.name, evaluated.data.num_classes, evaluated.model) == ("cifar10", 10, base.model)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (
            ("resume=x", "optim.weight_decay=0.3"),
            r"optim\.weight_decay was .* cannot become 0\.3 with resume=; start a new",
        ),
        (("resume=x", "schedule.epochs=5"), r"schedule\.epochs was 7 in this run and can only increase with resume=, not 5"),
        (("resume=x", "data.batch_size=16"), r"A step took \d+ images in this run and would take 16 now"),
        (("run=x", "task=evaluate", "model.depth=3"), r"model\.depth was .* cannot become 3 with run=: its weights have this"),
        (("run=x", "task=evaluate", "experiment=quickstart"), r"experiment=quickstart: not allowed with run="),
        (("task=predict", "task.input=x", "task.model=m", "model.depth=3"), r"cannot become 3 with task\.model="),
    ],
)
def test_changes_that_a_resume_rejects(base: RunConfig, typed: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        result(base, *typed)
