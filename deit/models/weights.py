"""Arrays into a network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mindspore import Tensor, nn, ops

from deit.errors import UserError


def load_weights(cell: nn.Cell, weights: Mapping[str, np.ndarray], prefix: str = "", source: str = "weights") -> None:
    """Set each parameter ``prefix + name`` of ``cell`` to ``weights[name]``; parameters without the prefix stay.

    Works also after the cell's first call. ``Parameter.set_data`` and ``load_param_into_net`` do not always: they may put
    another buffer under the parameter, and a compiled function goes on reading the old one. Assigning writes into the
    buffer there is.

    Raises UserError, naming ``source``, where names or shapes differ; then nothing has been changed.
    """
    parameters = {p.name[len(prefix) :]: p for p in cell.get_parameters() if p.name.startswith(prefix)}
    for found, what in ((parameters.keys() - weights.keys(), "lacks"), (weights.keys() - parameters.keys(), "has the unknown")):
        if found:
            names = sorted(found)
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(f"{source}: {what} {', '.join(names[:3])}{more}; the model has {len(parameters)} parameters.")
    for name, parameter in parameters.items():
        if weights[name].shape != parameter.shape:
            raise UserError(f"{source}: {name} has the shape {weights[name].shape}, but the model's is {parameter.shape}.")
    for name, parameter in parameters.items():
        ops.assign(parameter, Tensor(weights[name], parameter.dtype))
