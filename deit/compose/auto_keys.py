"""``${auto:}`` as the value of a key: replaced by what follows from the data, before the configuration is frozen.

The rules are in ``deit/recipe/data_defaults.py``. What they need of this machine (the number of images, the device) is looked
up by the caller, so that this remains a function of the composition.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from deit.compose.freeze import freeze
from deit.compose.precedence import AUTO
from deit.config.frozen import leaves, to_dict
from deit.config.schema import RunConfig
from deit.recipe.data_defaults import Choice, Facts, derive

Look = Callable[[RunConfig], Facts]
# To look up the facts, the configuration must be complete; the values themselves are of no interest.
_ANY = Facts(images=None, device="cpu", ranks=1, gmacs=1.0, variant="", width=384, official="-")
_ANY_GIVEN = {"data.batch_size": 8, "schedule.epochs": 10, "schedule.eval_every": 1, "model.pretrained": "-"}
_chosen: dict[str, Choice] = {}  # of the last composition


def asked(composed: DictConfig) -> list[str]:
    """The dotted keys whose value is ``${auto:}``."""
    values: Any = OmegaConf.to_container(composed, resolve=False)
    return [key for key, value in leaves(values) if value == AUTO]


def filled(composed: DictConfig, look: Look) -> DictConfig:
    """``composed`` with a value for each ``${auto:}``; itself if there is none.

    ``look`` returns the facts for a configuration whose automatic values are provisional. Raises UserError as ``freeze`` and
    ``derive`` do.
    """
    wanted = asked(composed)
    _chosen.clear()
    if not wanted:
        return composed
    provisional = freeze(_with(composed, derive(_ANY, wanted, _ANY_GIVEN)), (), None)
    given = {key: value for key, value in leaves(to_dict(provisional)) if key not in wanted}
    choices = derive(look(provisional), wanted, given)
    _chosen.update(choices)
    return _with(composed, choices)


def chosen() -> dict[str, Choice]:
    """The choices of the last ``filled`` by key, for a dry run; empty if it had none to make."""
    return dict(_chosen)


def typed(key: str, choice: Choice) -> str:
    """A choice as one would type it."""
    value = f"{choice.value:.4g}" if isinstance(choice.value, float) else "null" if choice.value is None else str(choice.value)
    return f"{key}={value}".replace(" ", "")


def register(look: Look) -> None:
    """Let Hydra itself resolve ``${auto:}``, for ``--cfg job --resolve``."""
    known: dict[str, DictConfig] = {}

    def resolve(*, _node_: Any, _root_: DictConfig) -> Any:
        text = str(OmegaConf.to_container(_root_, resolve=False))
        if text not in known:
            known[text] = filled(_root_, look)
        return OmegaConf.select(known[text], _node_._get_full_key(""))

    OmegaConf.register_new_resolver("auto", resolve, replace=True)


def _with(composed: DictConfig, choices: dict[str, Choice]) -> DictConfig:
    result = copy.deepcopy(composed)
    for key, choice in choices.items():
        OmegaConf.update(result, key, choice.value)
    return result
