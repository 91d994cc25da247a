"""The state of a training: all that changes from step to step, and its checkpoint form."""

from __future__ import annotations

from collections.abc import Mapping

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from deit.config.schema import RunConfig
from deit.engine.network import build_network
from deit.engine.step import LossScale
from deit.models.freezing import is_trained
from deit.models.initialisation import initial_weights
from deit.models.shapes import parameter_shapes
from deit.models.weights import load_weights
from deit.optim.build import build_optimizer

Parts = dict[str, dict[str, np.ndarray]]


def first_weights(config: RunConfig) -> dict[str, np.ndarray]:
    """The initial weights of ``config``'s model, a function of its seed (``deit.models.initialisation``)."""
    assert config.data.num_classes is not None  # the launcher has counted the classes
    return initial_weights(parameter_shapes(config.model, config.data.num_classes), config.seed, config.model.init_values)


class TrainState:
    """Network, moving average, optimizer, loss scale and gradient buffers.

    Frozen parameters (``model.freeze``) have no gradient, no optimizer state and no average of their own, but they are part of
    every checkpoint.

    The moving average is a second network whose parameters are the average: it is evaluated like the first, without swapping
    weights.
    """

    def __init__(self, config: RunConfig, weights: Mapping[str, np.ndarray] | None = None) -> None:
        """Network and moving average start with ``weights``, by default those of ``first_weights``."""
        weights = first_weights(config) if weights is None else weights
        self.network = _frozen(build_network(config), config)
        load_weights(self.network, weights)
        self.average: nn.Cell | None = None
        if config.ema.enabled:
            self.average = _frozen(build_network(config, prefix="ema."), config, "ema.")
            load_weights(self.average, weights, prefix="ema.")
        parameters = self.network.trainable_params()
        self.optimizer = build_optimizer(config.optim, parameters)
        self.loss_scale = LossScale(
            config.precision.loss_scale, config.precision.loss_scale_init, config.precision.loss_scale_window
        )
        self.buffers: ParameterTuple | None = None
        if config.optim.accumulation_steps > 1:
            self.buffers = ParameterTuple(
                [Parameter(ops.zeros(p.shape, ms.float32), f"gradient_sum.{p.name}", requires_grad=False) for p in parameters]
            )

    def parts(self) -> Parts:
        """A copy of the state as named arrays, for ``deit.runs.checkpoint.write``."""
        parts = {"model": _arrays(self.network.parameters_dict()), "optimizer": _arrays(self._optimizer_state())}
        if self.average is not None:
            parts["ema"] = _arrays(self.average.parameters_dict(), prefix="ema.")
        return parts

    def load(self, parts: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Set the state to that of a checkpoint; names and shapes must match exactly."""
        load_weights(self.network, parts["model"], source="model.safetensors")
        if self.average is not None:
            load_weights(self.average, parts["ema"], prefix="ema.", source="ema.safetensors")
        for name, parameter in self._optimizer_state().items():
            # Not set_data: a graph that has run once may keep using the old buffer.
            ops.assign(parameter, Tensor(parts["optimizer"][name], parameter.dtype))

    def scale(self) -> float:
        """The loss scale of the next step."""
        return float(self.loss_scale.value.asnumpy())

    def _optimizer_state(self) -> dict[str, Parameter]:
        scale = {parameter.name: parameter for parameter in (self.loss_scale.value, self.loss_scale.good_steps)}
        return {**self.optimizer.state, **scale}


def _frozen(network: nn.Cell, config: RunConfig, prefix: str = "") -> nn.Cell:
    """The network, where ``trainable_params`` leaves out what ``model.freeze`` freezes."""
    for parameter in network.get_parameters():
        parameter.requires_grad = is_trained(parameter.name.removeprefix(prefix), config.model.freeze)
    return network


def _arrays(parameters: Mapping[str, Parameter], prefix: str = "") -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): parameter.asnumpy().copy() for name, parameter in parameters.items()}
