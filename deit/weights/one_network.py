"""The weights of one network, from everything in a training file.

Programs wrap a network before they save it (``module.`` by torch's DistributedDataParallel, ``_orig_mod.`` by torch.compile,
``network.`` or ``backbone.`` by MindSpore's cells, possibly nested), and MindSpore's ``.ckpt`` files also contain the
optimizer. A parameter that each network has once identifies it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from deit.errors import UserError

Value = TypeVar("Value")

ANCHORS = ("cls_token", "stem.conv.weight")  # of a DeiT, of a RegNetY
# Prefixes and names that MindSpore's optimizers and train cells use.
_OPTIMIZER = re.compile(
    r"(moments?\d?|moment\d|adam_[mv]|accum|accu_grads|velocity|stat|exp_avg(_sq)?|ema)\.|"
    r"(global_step|learning_rate|beta[12]_power|momentum|scale_sense|scale_value|current_iterator_step|last_overflow_iterator_step|"
    r"epoch_num|step_num|epoch|cur_epoch|cur_step|best_acc|loss_scale|counter|good_step|lr|loss)$"
)
_SPLIT = re.compile(r"(.*\battn\.)([qkv])\.(weight|bias)$")


def of_network(named: Mapping[str, Value], source: str, join: Callable[[list[Value]], Value]) -> dict[str, Value]:
    """The entries of the network without prefixes, and separate q, k, v as one qkv.

    ``join`` concatenates the values (arrays or shapes) of q, k and v along the first axis. Names that belong to no known
    network stay as they are, so that a later comparison lists them. Raises UserError, naming ``source``, if the file contains
    several networks.
    """
    kept = {name: value for name, value in named.items() if not _OPTIMIZER.match(name)}
    prefixes = {
        name.removesuffix(anchor) for name in kept for anchor in ANCHORS if name == anchor or name.endswith(f".{anchor}")
    }
    if len(prefixes) > 1:
        shown = ", ".join(sorted(repr(prefix) for prefix in prefixes))
        raise UserError(f"{source}: contains {len(prefixes)} networks, under the prefixes {shown}; save only the one you want.")
    prefix = next(iter(prefixes), "")
    if prefix:
        kept = {name.removeprefix(prefix): value for name, value in kept.items() if name.startswith(prefix)}
    return _joined(kept, join)


def _joined(named: dict[str, Value], join: Callable[[list[Value]], Value]) -> dict[str, Value]:
    joined: dict[str, Value] = {}
    for name, value in named.items():
        part = _SPLIT.match(name)
        names = [f"{part[1]}{letter}.{part[3]}" for letter in "qkv"] if part else []
        if not part or any(other not in named for other in names):
            joined[name] = value
        elif part[2] == "q":
            joined[f"{part[1]}qkv.{part[3]}"] = join([named[other] for other in names])
    return joined
