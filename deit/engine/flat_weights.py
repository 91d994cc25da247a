"""The trained parameters of a network in a few long vectors, for cards on which the number of kernels counts.

DeiT-small has 152 parameters. To scale, clip, update and average each alone takes 1,400 small kernels a step on an Ascend card.
Here the gradients are joined into a few vectors, and so are the weights (float32), their moving average, the moments of the
optimizer and the sums of accumulation, so that a kernel works on many parameters at once. The parameters of the network itself
become copies in the type in which their layers compute: they are cast once a step, and not wherever they are used.

A vector has parameters with the same rule of the optimizer (weight decay, learning rate) and the same type. LAMB needs the
norm of each decayed parameter, so these have a vector each. Vectors are limited in size and filled from the last layer on, in
the order in which the backward pass has the gradients, so that the sum of one over all ranks can begin before the others.

Checkpoints have every parameter under its own name, whatever the vectors: ``unpack`` and ``pack``.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, mint, nn, ops

from deit.config.schema import OptimConfig
from deit.models.layers import types_of_parameters
from deit.optim.build import Rule, needs_its_norm, rules_of
from deit.optim.entries import entries

LONGEST = 8 << 20  # numbers of a vector: 32 MB of float32, the size of one all-reduce

_line = ops.MultitypeFuncGraph("line")
_give = ops.MultitypeFuncGraph("give")


@_line.register("Tensor")
def _line_one(gradient: Tensor) -> Tensor:
    return gradient.reshape(-1)


@_give.register("Tensor", "Tensor")
def _give_one(parameter: Parameter, part: Tensor) -> Tensor:
    return ops.assign(parameter, part.reshape(parameter.shape))


@dataclass(frozen=True)
class Piece:
    """A parameter in a vector; ``number`` is its position among the trained ones."""

    name: str
    number: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def divide(keys: Sequence[Hashable], sizes: Sequence[int], longest: int) -> list[list[int]]:
    """The positions of each vector: those with the same key, from the last on, as many as stay below ``longest`` numbers."""
    vectors: list[list[int]] = []
    open_ones: dict[Hashable, tuple[list[int], int]] = {}
    for position in reversed(range(len(keys))):
        vector, length = open_ones.get(keys[position], ([], longest))
        if length + sizes[position] > longest:
            vector, length = [], 0
            vectors.append(vector)
        vector.append(position)
        open_ones[keys[position]] = vector, length + sizes[position]
    return vectors


class FlatWeights(nn.Cell):
    """The weights of ``network``'s trained parameters as vectors, and their moving average if it is ``averaged``.

    ``weights`` and ``average`` are the vectors, float32; ``rules`` are the optimizer's, one for each vector. The parameters
    of the network get the types of their layers: load weights afterwards.
    """

    def __init__(self, network: nn.Cell, optim: OptimConfig, *, averaged: bool, longest: int = LONGEST) -> None:
        super().__init__(auto_prefix=False)
        self.parameters = ParameterTuple(network.trainable_params())
        rules = rules_of(optim, {p.name: tuple(p.shape) for p in self.parameters})
        types = types_of_parameters(network)
        pieces = [Piece(p.name, number, tuple(p.shape)) for number, p in enumerate(self.parameters)]
        keys: list[Hashable] = []
        for piece, rule in zip(pieces, rules, strict=True):
            alone = piece.name if needs_its_norm(optim, rule) else None
            keys.append((rule, str(types.get(piece.name, ms.float32)), alone))
        divided = divide(keys, [piece.size for piece in pieces], longest)
        self.pieces = [[pieces[number] for number in vector] for vector in divided]
        self.rules: list[Rule] = [rules[vector[0]] for vector in divided]
        self.weights = self.zeros("flat")
        self.average = self.zeros("flat_ema") if averaged else None
        # For the graph, which takes tuples of constants.
        self.numbers = tuple(tuple(vector) for vector in divided)
        self.sizes = tuple(tuple(piece.size for piece in vector) for vector in self.pieces)
        self.types = tuple(types.get(vector[0].name, ms.float32) for vector in self.pieces)
        for parameter in self.parameters:
            parameter.set_dtype(types.get(parameter.name, ms.float32))

    def zeros(self, name: str) -> ParameterTuple:
        """A parameter ``name.NUMBER`` for each vector, float32."""
        lengths = [sum(piece.size for piece in vector) for vector in self.pieces]
        return ParameterTuple(
            [
                Parameter(Tensor(np.zeros(length, np.float32)), f"{name}.{number}", requires_grad=False)
                for number, length in enumerate(lengths)
            ]
        )

    def join(self, gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The vectors, float32, of the gradients of the trained parameters."""
        lines = ops.HyperMap()(_line, gradients)
        vectors: tuple[Tensor, ...] = ()
        for numbers in self.numbers:
            parts = entries(lines, numbers)
            vector = parts[0] if len(parts) == 1 else ops.concat(parts)
            vectors = (*vectors, vector.astype(ms.float32))
        return vectors

    def give_to_network(self, weights: tuple[Tensor, ...]) -> bool:
        """Assign the vectors ``weights`` to the parameters of the network, in their types."""
        for vector, numbers in enumerate(self.numbers):
            # ops.split would be a slice for each parameter.
            cast = weights[vector].astype(self.types[vector])
            parts = (cast,) if len(numbers) == 1 else mint.split(cast, self.sizes[vector])
            ops.HyperMap()(_give, entries(self.parameters, numbers), parts)
        return True

    def unpack(self, vectors: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The value of each trained parameter, by name in the order of the network, from those of the vectors."""
        found = {}
        for pieces, vector in zip(self.pieces, vectors, strict=True):
            ends = np.cumsum([piece.size for piece in pieces])
            for piece, value in zip(pieces, np.split(vector, ends[:-1]), strict=True):
                found[piece.name] = value.reshape(piece.shape).copy()
        return {parameter.name: found[parameter.name] for parameter in self.parameters}

    def pack(self, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The vectors of ``values``, which has every trained parameter by name."""
        return [np.concatenate([values[piece.name].ravel() for piece in pieces]) for pieces in self.pieces]

    def set(self, vectors: ParameterTuple, values: Mapping[str, np.ndarray]) -> None:
        """Assign ``values``, by the names of parameters, to ``vectors``."""
        for vector, value in zip(vectors, self.pack(values), strict=True):
            ops.assign(vector, Tensor(value, ms.float32))

    def unpack_state(self, state: Mapping[str, Parameter]) -> dict[str, np.ndarray]:
        """The optimizer's state as in a checkpoint: ``exp_avg.flat.0`` becomes ``exp_avg.NAME`` for each of its parameters."""
        found: dict[str, Any] = {}
        for what, parameters in self._by_kind(state).items():
            values = [parameter.asnumpy() for parameter in parameters]
            if what in state:
                found[what] = values[0].copy()
            else:
                found |= {f"{what}.{name}": value for name, value in self.unpack(values).items()}
        return found

    def set_state(self, state: Mapping[str, Parameter], values: Mapping[str, np.ndarray]) -> None:
        """Set the optimizer's state to that of a checkpoint, which has each parameter under its name."""
        for what, parameters in self._by_kind(state).items():
            if what in state:
                ops.assign(parameters[0], Tensor(values[what], parameters[0].dtype))
            else:
                self.set(parameters, {p.name: values[f"{what}.{p.name}"] for p in self.parameters})

    def _by_kind(self, state: Mapping[str, Parameter]) -> dict[str, list[Parameter]]:
        names = [vector.name for vector in self.weights]
        kinds: dict[str, list[Parameter]] = {}
        for name, parameter in state.items():
            kind = next((name.removesuffix(f".{each}") for each in names if name.endswith(f".{each}")), name)
            kinds.setdefault(kind, []).append(parameter)
        return kinds
