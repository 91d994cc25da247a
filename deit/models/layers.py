"""The layers with parameters: dense, norm, LayerScale and patch embedding, each casting its float32 parameters to its type.

Parameters start at zero; ``deit.models.initialisation`` has the initial weights.
"""

from __future__ import annotations

from typing import Any

from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import initializer

from deit.models import operators
from deit.models.precision import ComputeTypes


def _zeros(name: str, *shape: int) -> Parameter:
    return Parameter(initializer("zeros", shape), name=name)


class Dense(nn.Cell):
    """y = x W^T + b, for x [..., inputs]."""

    def __init__(self, inputs: int, outputs: int, types: ComputeTypes) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.matmul_type, self.rest_type = types.matmul, types.rest
        self.weight = _zeros("weight", outputs, inputs)
        self.bias = _zeros("bias", outputs)
        self.matmul = ops.MatMul(transpose_b=True)
        self.add_bias = operators.bias_add(types)

    def construct(self, x: Tensor) -> Tensor:
        flat = x.astype(self.matmul_type).reshape(-1, self.inputs)
        y = self.matmul(flat, self.weight.astype(self.matmul_type))
        y = self.add_bias(y, self.bias.astype(self.matmul_type))
        return y.reshape(*x.shape[:-1], self.outputs).astype(self.rest_type)


class LayerNorm(nn.Cell):
    """Norm over the last axis."""

    def __init__(self, width: int, types: ComputeTypes) -> None:
        super().__init__()
        self.norm_type, self.rest_type = types.norm, types.rest
        self.gamma = _zeros("gamma", width)
        self.beta = _zeros("beta", width)
        self.norm = operators.layer_norm(width, types)

    def construct(self, x: Tensor) -> Tensor:
        y, _, _ = self.norm(x.astype(self.norm_type), self.gamma.astype(self.norm_type), self.beta.astype(self.norm_type))
        return y.astype(self.rest_type)


class LayerScale(nn.Cell):
    """A learned factor for each channel of a residual branch, [..., width] (CaiT, arXiv 2103.17239; timm: LayerScale)."""

    def __init__(self, width: int, types: ComputeTypes) -> None:
        super().__init__()
        self.norm_type, self.rest_type = types.norm, types.rest
        self.gamma = _zeros("gamma", width)

    def construct(self, x: Tensor) -> Tensor:
        # In the type of the norms: the factors start so small that float16 would round them.
        return (x.astype(self.norm_type) * self.gamma.astype(self.norm_type)).astype(self.rest_type)


class PatchProjection(nn.Cell):
    """A convolution with stride = kernel size, as a matrix product: images [B, C, H, W] to [B, patches, width]."""

    def __init__(self, width: int, patch: int, channels: int, types: ComputeTypes) -> None:
        super().__init__()
        self.width, self.patch, self.channels = width, patch, channels
        self.matmul_type, self.rest_type = types.matmul, types.rest
        self.weight = _zeros("weight", width, channels, patch, patch)
        self.bias = _zeros("bias", width)
        self.matmul = ops.MatMul(transpose_b=True)
        self.add_bias = operators.bias_add(types)

    def construct(self, images: Tensor) -> Tensor:
        patch, channels = self.patch, self.channels
        rows, columns = images.shape[2] // patch, images.shape[3] // patch
        patches = images.astype(self.matmul_type).reshape(-1, channels, rows, patch, columns, patch)
        patches = patches.transpose(0, 2, 4, 1, 3, 5).reshape(-1, channels * patch * patch)
        weight = self.weight.astype(self.matmul_type).reshape(self.width, channels * patch * patch)
        y = self.matmul(patches, weight)
        y = self.add_bias(y, self.bias.astype(self.matmul_type))
        return y.reshape(-1, rows * columns, self.width).astype(self.rest_type)


class PatchEmbed(nn.Cell):
    """Images [B, C, H, W] to one token per patch, [B, patches, width], row by row (timm: PatchEmbed)."""

    def __init__(self, width: int, patch: int, channels: int, types: ComputeTypes) -> None:
        super().__init__()
        self.proj = PatchProjection(width, patch, channels, types)

    def construct(self, images: Tensor) -> Tensor:
        return self.proj(images)


def types_of_parameters(network: nn.Cell) -> dict[str, Any]:
    """The type to which its layer casts each parameter, by name; without the tokens and the position embedding."""
    found: dict[str, Any] = {}
    for _, cell in network.cells_and_names():
        if isinstance(cell, (Dense, PatchProjection, LayerNorm, LayerScale)):
            kind = cell.norm_type if isinstance(cell, (LayerNorm, LayerScale)) else cell.matmul_type
            found |= {parameter.name: kind for parameter in cell.get_parameters(expand=False)}
    return found
