"""What the optimizer does differently for each parameter: weight decay and, with layer decay, the learning rate.

The rules are those of timm's ``param_groups_weight_decay`` and ``param_groups_layer_decay`` with a ViT's
``no_weight_decay()`` and ``group_matcher()``. Pure functions of names and shapes, so the control side uses them too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

EMBEDDINGS = frozenset({"pos_embed", "cls_token", "dist_token"})
_BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.")
_STEM = re.compile(r"(?:^|\.)(?:cls_token|dist_token|pos_embed|patch_embed\..+)$")
_LAST_NORM = re.compile(r"(?:^|\.)norm\.\w+$")


def decayed(shapes: Mapping[str, tuple[int, ...]], decay_dist_token: bool) -> dict[str, bool]:
    """For each parameter, whether weight decay applies to it.

    facebookresearch/deit decays ``dist_token`` (its no_weight_decay() does not name it), timm 1 does not. A name may have the
    prefix of an enclosing cell.
    """
    spared = EMBEDDINGS - {"dist_token"} if decay_dist_token else EMBEDDINGS
    return {name: len(shape) > 1 and name.rpartition(".")[2] not in spared for name, shape in shapes.items()}


def lr_scales(names: Iterable[str], layer_decay: float) -> dict[str, float]:
    """For each parameter, the factor of its learning rate: ``layer_decay`` to the power of its distance from the head.

    The heads have the factor 1. The last block and the norm after it have the distance 1, the first block has ``depth``, and
    the tokens, the position embedding and the patch embedding have ``depth + 1`` (timm: ``param_groups_layer_decay``).
    ``names`` include those of the last block if they include those of any; each may have the prefix of an enclosing cell.
    """
    names = list(names)
    blocks = {name: int(found[1]) for name in names if (found := _BLOCK.search(name))}
    depth = 1 + max(blocks.values(), default=-1)

    def distance(name: str) -> int:
        if name in blocks:
            return depth - blocks[name]
        if _STEM.search(name):
            return depth + 1
        return 1 if _LAST_NORM.search(name) else 0

    return {name: layer_decay ** distance(name) for name in names}
