"""The run that a command uses, by what was typed."""

from __future__ import annotations

import dataclasses

import pytest
from trained_runs import trained

from deit.config import frozen
from deit.errors import UserError
from deit.lookup.base_run import References, find_base
from deit.lookup.weight_files import find_weights
from deit.runs.directory import RunDirectory


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return trained(tmp_path_factory.mktemp("base"))


def named(made: RunDirectory, /, **given: object) -> References:
    none = References(None, None, None, None, None, str(made.path.parents[1]), None)
    return dataclasses.replace(none, **given)


@pytest.mark.parametrize("key", ["run", "resume"])
def test_a_run_by_its_path_or_as_the_last(run: RunDirectory, key: str) -> None:
    for text in (str(run.path), "last"):
        base = find_base(named(run, **{key: text}))
        assert base is not None and base.keys == {key: str(run.path)} and base.task_keys == {}
        assert base.config.name == "quickstart"


def test_a_model_that_is_a_run_or_its_checkpoint(run: RunDirectory) -> None:
    base = find_base(named(run, model=str(run.path)))
    assert base is not None and (base.keys, base.task_keys) == ({"run": str(run.path)}, {"model": None})
    part = run.checkpoints / "step_00000003" / "ema.safetensors"
    base = find_base(named(run, model=str(part)))
    assert base is not None and base.keys == {"checkpoint": str(part)}


def test_models_take_the_data_of_the_first_run(run: RunDirectory) -> None:
    base = find_base(named(run, models=["file.pth", "last"]))
    assert base is not None and base.task_keys == {"models": ["file.pth", str(run.path)]}
    assert base.config.name == "compare" and base.config.tracking.experiment == "${data.name}"
    assert base.config.tracking.run_name is None
    assert find_base(named(run, models=["file.pth", "other.pth"])) is None


def test_no_base_run_without_a_reference(run: RunDirectory) -> None:
    assert find_base(named(run)) is None
    assert find_base(named(run, checkpoint="x.pth", model="y.pth")) is None
    with pytest.raises(UserError, match="are both given; run evaluates, resume"):
        find_base(named(run, run="a", resume="b"))


def test_weights_by_run(run: RunDirectory) -> None:
    config = frozen.load(run.config)
    for text in ("last", str(run.path)):
        assert find_weights(text, "distill.teacher", config) == run.checkpoints / "step_00000003" / "model.safetensors"
    with pytest.raises(UserError, match=r"distill\.teacher=nowhere: no such file or folder\..*\.mindir"):
        find_weights("nowhere", "distill.teacher", config)
    with pytest.raises(UserError, match="Did you mean 'deit_tiny_patch16_224"):
        find_weights("deit_tiny_patch16_22", "model.pretrained", config)
