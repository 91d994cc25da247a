"""Load arrays into a network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mindspore import Tensor, nn, ops

from deit.errors import UserError
from deit.text import listed


def load_weights(cell: nn.Cell, weights: Mapping[str, np.ndarray], prefix: str = "", source: str = "weights") -> None:
    """Set each parameter ``prefix + name`` of ``cell`` to ``weights[name]``; parameters without the prefix are unchanged.

    Works also after the cell's first call. ``Parameter.set_data`` and ``load_param_into_net`` do not always: they may replace
    the parameter's buffer, while a compiled function keeps reading the old one. Assigning writes into the existing buffer.

    Raises UserError, naming ``source``, if names or shapes differ; then nothing has been changed.
    """
    parameters = {p.name[len(prefix) :]: p for p in cell.get_parameters() if p.name.startswith(prefix)}
    for found, what in ((parameters.keys() - weights.keys(), "lacks"), (weights.keys() - parameters.keys(), "has the unknown")):
        if found:
            raise UserError(f"{source}: {what} {listed(sorted(found), 3)}; the model has {len(parameters)} parameters.")
    for name, parameter in parameters.items():
        if weights[name].shape != parameter.shape:
            raise UserError(f"{source}: {name} has the shape {weights[name].shape}, but the model's is {parameter.shape}.")
    for name, parameter in parameters.items():
        ops.assign(parameter, Tensor(weights[name], parameter.dtype))


def copy_weights(source: nn.Cell, target: nn.Cell) -> None:
    """Give ``target`` the parameters of ``source``, a cell of the same kind, on the device; works after its first call."""
    if source is not target:
        for parameter, value in zip(target.get_parameters(), source.get_parameters(), strict=True):
            ops.assign(parameter, value)
