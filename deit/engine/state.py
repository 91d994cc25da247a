"""The state of a training: all that changes from step to step, and its checkpoint form."""

from __future__ import annotations

from collections.abc import Mapping

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from deit.config.schema import RunConfig
from deit.engine.flat_weights import FlatWeights
from deit.engine.network import build_network
from deit.engine.step import LossScale
from deit.models.freezing import is_trained
from deit.models.initialisation import initial_weights
from deit.models.shapes import parameter_shapes
from deit.models.weights import copy_weights, load_weights
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

    On Ascend there is no second network: ``flat`` has weights and average as a few vectors, which the optimizer updates, and
    the parameters of the network are copies of them.
    """

    def __init__(self, config: RunConfig, weights: Mapping[str, np.ndarray] | None = None, *, flat: bool | None = None) -> None:
        """Network and moving average start with ``weights``, by default those of ``first_weights``.

        ``flat``: whether the state consists of vectors; None decides by ``hardware.target``.
        """
        weights = first_weights(config) if weights is None else weights
        self.network = _frozen(build_network(config), config)
        self.average: nn.Cell | None = None
        self.flat: FlatWeights | None = None
        if config.hardware.target == "ascend" if flat is None else flat:
            self.flat = FlatWeights(self.network, config.optim, averaged=config.ema.enabled)
            self.optimizer = build_optimizer(config.optim, self.flat.weights, self.flat.rules)
            self._load_flat(weights, weights)
        else:
            self.optimizer = build_optimizer(config.optim, self.network.trainable_params())
            if config.ema.enabled:
                self.average = _frozen(build_network(config, prefix="ema."), config, "ema.")
                load_weights(self.average, weights, prefix="ema.")
            load_weights(self.network, weights)
        self.loss_scale = LossScale(
            config.precision.loss_scale, config.precision.loss_scale_init, config.precision.loss_scale_window
        )
        self.buffers: ParameterTuple | None = None
        if config.optim.accumulation_steps > 1:
            self.buffers = self._buffers()

    def _buffers(self) -> ParameterTuple:
        if self.flat is not None:
            return self.flat.zeros("gradient_sum")
        trained = self.network.trainable_params()
        return ParameterTuple(
            [Parameter(ops.zeros(p.shape, ms.float32), f"gradient_sum.{p.name}", requires_grad=False) for p in trained]
        )

    def parts(self) -> Parts:
        """A copy of the state as named arrays, for ``deit.runs.checkpoint.write``."""
        scale = _arrays(self.loss_scale.state)
        model = _arrays(self.network.parameters_dict())
        if self.flat is None:
            parts = {"model": model, "optimizer": _arrays(self.optimizer.state) | scale}
            if self.average is not None:
                parts["ema"] = _arrays(self.average.parameters_dict(), prefix="ema.")
            return parts
        parts = {"model": self._unpacked(model, self.flat.weights)}
        parts["optimizer"] = self.flat.unpack_state(self.optimizer.state) | scale
        if self.flat.average is not None:
            parts["ema"] = self._unpacked(model, self.flat.average)
        return parts

    def load(self, parts: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Set the state to that of a checkpoint; names and shapes must match exactly."""
        if self.flat is not None:
            self._load_flat(parts["model"], parts["ema"] if self.flat.average is not None else {})
            self.flat.set_state(self.optimizer.state, parts["optimizer"])
        else:
            load_weights(self.network, parts["model"], source="model.safetensors")
            if self.average is not None:
                load_weights(self.average, parts["ema"], prefix="ema.", source="ema.safetensors")
            _assign(self.optimizer.state, parts["optimizer"])
        _assign(self.loss_scale.state, parts["optimizer"])

    def copy_weights_to(self, target: nn.Cell, *, averaged: bool) -> None:
        """Give the weights, or their moving average, to a network for an evaluation; its own ones need no copy."""
        if self.flat is None:
            source = self.average if averaged else self.network
            assert source is not None
            copy_weights(source, target)
        elif target is not self.network:
            vectors = self.flat.average if averaged else self.flat.weights
            assert vectors is not None
            values = self._unpacked(_arrays(self.network.parameters_dict()), vectors)
            for parameter, value in zip(target.get_parameters(), values.values(), strict=True):
                ops.assign(parameter, Tensor(value, parameter.dtype))

    def _load_flat(self, weights: Mapping[str, np.ndarray], average: Mapping[str, np.ndarray]) -> None:
        assert self.flat is not None
        load_weights(self.network, weights, source="model.safetensors")
        self.flat.set(self.flat.weights, weights)
        if self.flat.average is not None:
            self.flat.set(self.flat.average, average)

    def _unpacked(self, model: Mapping[str, np.ndarray], vectors: ParameterTuple) -> dict[str, np.ndarray]:
        """All parameters of the network: the trained ones from ``vectors``, the others from ``model``."""
        assert self.flat is not None
        return {**model, **self.flat.unpack([vector.asnumpy() for vector in vectors])}

    def scale(self) -> float:
        """The loss scale of the next step."""
        return float(self.loss_scale.value.asnumpy())


def _assign(parameters: Mapping[str, Parameter], values: Mapping[str, np.ndarray]) -> None:
    for name, parameter in parameters.items():
        # Not set_data: a graph that has run once may keep using the old buffer.
        ops.assign(parameter, Tensor(values[name], parameter.dtype))


def _frozen(network: nn.Cell, config: RunConfig, prefix: str = "") -> nn.Cell:
    """The network, where ``trainable_params`` leaves out what ``model.freeze`` freezes."""
    for parameter in network.get_parameters():
        parameter.requires_grad = is_trained(parameter.name.removeprefix(prefix), config.model.freeze)
    return network


def _arrays(parameters: Mapping[str, Parameter], prefix: str = "") -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): parameter.asnumpy().copy() for name, parameter in parameters.items()}
