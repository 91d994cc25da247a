"""The layers with parameters: dense, norm and patch embedding, each casting its float32 parameters to its type.

Parameters start at zero: ``deit.models.initialisation`` says what they begin with.
"""

from __future__ import annotations

from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import initializer

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
        self.add_bias = ops.BiasAdd()

    def construct(self, x: Tensor) -> Tensor:
        flat = x.astype(self.matmul_type).reshape(-1, self.inputs)
        y = self.matmul(flat, self.weight.astype(self.matmul_type))
        y = self.add_bias(y, self.bias.astype(self.matmul_type))
        return y.reshape(*x.shape[:-1], self.outputs).astype(self.rest_type)


class LayerNorm(nn.Cell):
    """Norm over the last axis with timm's eps of 1e-6 (MindSpore's own default is 1e-7)."""

    def __init__(self, width: int, types: ComputeTypes) -> None:
        super().__init__()
        self.norm_type, self.rest_type = types.norm, types.rest
        self.gamma = _zeros("gamma", width)
        self.beta = _zeros("beta", width)
        self.norm = ops.LayerNorm(begin_norm_axis=-1, begin_params_axis=-1, epsilon=1e-6)

    def construct(self, x: Tensor) -> Tensor:
        y, _, _ = self.norm(x.astype(self.norm_type), self.gamma.astype(self.norm_type), self.beta.astype(self.norm_type))
        return y.astype(self.rest_type)


class PatchConv(nn.Cell):
    """Convolution whose stride is its kernel: images [B, 3, H, W] to [B, width, H / patch, W / patch]."""

    def __init__(self, width: int, patch: int, types: ComputeTypes) -> None:
        super().__init__()
        self.matmul_type, self.rest_type = types.matmul, types.rest
        self.weight = _zeros("weight", width, 3, patch, patch)
        self.bias = _zeros("bias", width)
        self.conv = ops.Conv2D(out_channel=width, kernel_size=patch, stride=patch, pad_mode="valid")
        self.add_bias = ops.BiasAdd()

    def construct(self, images: Tensor) -> Tensor:
        y = self.conv(images.astype(self.matmul_type), self.weight.astype(self.matmul_type))
        return self.add_bias(y, self.bias.astype(self.matmul_type)).astype(self.rest_type)


class PatchEmbed(nn.Cell):
    """Images [B, 3, H, W] to one token per patch, [B, patches, width], row by row (timm: PatchEmbed)."""

    def __init__(self, width: int, patch: int, types: ComputeTypes) -> None:
        super().__init__()
        self.proj = PatchConv(width, patch, types)

    def construct(self, images: Tensor) -> Tensor:
        y = self.proj(images)
        return y.reshape(y.shape[0], y.shape[1], -1).transpose(0, 2, 1)
