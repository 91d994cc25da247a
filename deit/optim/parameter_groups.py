"""The parameters with weight decay: matrices, but not biases, norms, tokens and the position embedding.

The rule is timm's ``param_groups_weight_decay`` with a ViT's ``no_weight_decay()``.
"""

from __future__ import annotations

from collections.abc import Mapping

EMBEDDINGS = frozenset({"pos_embed", "cls_token", "dist_token"})


def decayed(shapes: Mapping[str, tuple[int, ...]], decay_dist_token: bool) -> dict[str, bool]:
    """For each parameter, whether weight decay applies to it.

    facebookresearch/deit decays ``dist_token`` (its no_weight_decay() does not name it), timm 1 does not. A name may have the
    prefix of an enclosing cell.
    """
    spared = EMBEDDINGS - {"dist_token"} if decay_dist_token else EMBEDDINGS
    return {name: len(shape) > 1 and name.rpartition(".")[2] not in spared for name, shape in shapes.items()}
