"""Errors of Hydra, OmegaConf and YAML as one message."""

from __future__ import annotations

import pytest
import yaml
from hydra.errors import ConfigCompositionException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from deit.compose.freeze import register
from deit.compose.hydra_errors import translate


@pytest.fixture(autouse=True, scope="module")
def schema() -> None:
    register()


def yaml_error(text: str) -> Exception:
    with pytest.raises(yaml.YAMLError) as caught:
        yaml.safe_load(text)
    return caught.value


def unresolved(text: str) -> Exception:
    config = OmegaConf.create({"optim": {"base_lr": text}})
    with pytest.raises(InterpolationResolutionError) as caught:
        _ = config.optim.base_lr
    return caught.value


def missing(group: str, option: str, allowed: list[str] | None = None) -> Exception:
    return MissingConfigException(missing_cfg_file=f"{group}/{option}", message="no such config", options=allowed)


@pytest.mark.parametrize(
    ("error", "typed", "message"),
    [
        (yaml_error("a: [1\nb: 2"), [], r"<unicode string>, line 2: not readable as YAML \(did not find expected|expected"),
        (yaml_error("a: \x00"), [], r"^Not readable as YAML: .*\.$"),
        (
            unresolved("${oc.env:NO_SUCH_VARIABLE}"),
            [],
            r"^optim\.base_lr takes the environment variable NO_SUCH_VARIABLE, which is not set; .* give optim\.base_lr=",
        ),
        (unresolved("${optim.base_lrr}"), [], r"^optim\.base_lr refers to \$\{optim\.base_lrr\}: .*base_lr"),
        (missing("model", "deit_tiiny", ["deit_tiny"]), ["model=deit_tiiny"], r"Did you mean 'deit_tiny'\?"),
        (missing("model", "last", ["deit_tiny"]), ["task=predict", "model=last"], r"task=predict as task\.model=last\.$"),
        (missing("model", "last", ["deit_tiny"]), ["task=evaluate", "model=last"], r"as run=last or checkpoint=last\.$"),
        (missing("model", "last", ["deit_tiny"]), ["task=compare", "model=last"], r"are task\.models=\[last,\.\.\.\]\.$"),
        (missing("modle", "x"), ["modle=x"], r"'modle' is not a group\. Did you mean 'model'\?"),
        (
            ConfigCompositionException("In 'config': Could not override 'modle'.\nNo match in the defaults list."),
            [],
            r"^conf/config\.yaml: `override /modle`: no such group\. Did you mean 'model'\?",
        ),
        (
            ConfigCompositionException(
                "In 'experiment/quickstart': Multiple values for model. To override a value use 'override model: deit_tiny'"
            ),
            ["experiment=quickstart"],
            r"model already has its option; write `- override /model: deit_tiny`\.$",
        ),
        (
            OmegaConfBaseException(
                "Key 'base_lrr' not in 'OptimConfig'\n    full_key: optim.base_lrr\n    object_type=OptimConfig"
            ),
            [],
            r"optim\.base_lrr.*Did you mean '(optim\.)?base_lr'",
        ),
        (OmegaConfBaseException("something else\n    object_type=X"), [], r"^something else$"),
    ],
)
def test_hydra_errors_become_one_message_with_the_place(error: Exception, typed: list[str], message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        raise translate(error, typed)
    assert caught.value.exit_code == 2 and "object_type" not in str(caught.value)
