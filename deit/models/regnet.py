"""RegNetY for inference: the teacher of the distilled DeiTs (timm's RegNet, facebookresearch/deit's regnety_160).

Batch norms are folded into the weights of their convolutions (``deit.models.regnet_shapes.folded``), so there is no training
mode and no running statistic. Parameters start at zero, are float32 and are cast where they are used.
"""

from __future__ import annotations

from collections import OrderedDict

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import initializer

from deit.models.layers import Dense
from deit.models.precision import FLOAT32, ComputeTypes
from deit.models.regnet_shapes import Block, RegNetY


class Convolution(nn.Cell):
    """Padded so that a stride of 1 keeps the size: [B, C, H, W] to [B, outputs, H / stride, W / stride]."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, types: ComputeTypes, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.matmul_type, self.rest_type = types.matmul, types.rest
        self.weight = Parameter(initializer("zeros", (outputs, inputs // groups, kernel, kernel)), name="weight")
        self.bias = Parameter(initializer("zeros", (outputs,)), name="bias")
        self.conv = ops.Conv2D(outputs, kernel, pad_mode="pad", pad=kernel // 2, stride=stride, group=groups)
        self.add_bias = ops.BiasAdd()

    def construct(self, x: Tensor) -> Tensor:
        y = self.conv(x.astype(self.matmul_type), self.weight.astype(self.matmul_type))
        return self.add_bias(y, self.bias.astype(self.matmul_type)).astype(self.rest_type)


class SqueezeExcite(nn.Cell):
    """Weigh the channels of [B, C, H, W] by their global means (timm: SEModule)."""

    def __init__(self, width: int, hidden: int, types: ComputeTypes) -> None:
        super().__init__()
        self.fc1 = Dense(width, hidden, types)
        self.fc2 = Dense(hidden, width, types)

    def construct(self, x: Tensor) -> Tensor:
        weight = ops.sigmoid(self.fc2(ops.relu(self.fc1(x.mean((2, 3))))))
        return x * weight.reshape(x.shape[0], x.shape[1], 1, 1)


class Bottleneck(nn.Cell):
    """1 x 1, grouped 3 x 3, squeeze and excite, 1 x 1, with a residual connection (timm: Bottleneck)."""

    def __init__(self, block: Block, types: ComputeTypes) -> None:
        super().__init__()
        width, groups = block.width, block.width // block.group_width
        self.conv1 = Convolution(block.inputs, width, 1, types)
        self.conv2 = Convolution(width, width, 3, types, stride=block.stride, groups=groups)
        self.se = SqueezeExcite(width, block.se_width, types)
        self.conv3 = Convolution(width, width, 1, types)
        self.downsample: nn.Cell | None = None
        if block.first:
            self.downsample = Convolution(block.inputs, width, 1, types, stride=block.stride)

    def construct(self, x: Tensor) -> Tensor:
        y = ops.relu(self.conv2(ops.relu(self.conv1(x))))
        y = self.conv3(self.se(y))
        return ops.relu(y + (x if self.downsample is None else self.downsample(x)))


class RegNet(nn.Cell):
    """The network with all parameters zero: load the weights of ``deit.models.regnet_shapes.folded``, whose names it has."""

    def __init__(self, regnet: RegNetY, types: ComputeTypes = FLOAT32) -> None:
        """``types`` comes from ``compute_types``."""
        super().__init__()
        self.stem = Convolution(3, regnet.stem_width, 3, types, stride=2)
        self.blocks = nn.SequentialCell([Bottleneck(block, types) for block in regnet.blocks])
        self.head = nn.SequentialCell(OrderedDict(fc=Dense(regnet.blocks[-1].width, regnet.num_classes, types)))
        for number, block in enumerate(regnet.blocks):
            for parameter in self.blocks[number].get_parameters():
                parameter.name = parameter.name.replace(f"blocks.{number}.", f"{block.name}.", 1)

    def construct(self, images: Tensor) -> Tensor:
        """Logits [B, K], float32, of normalised images [B, 3, H, W]."""
        x = self.blocks(ops.relu(self.stem(images)))
        return self.head(x.mean((2, 3))).astype(ms.float32)
