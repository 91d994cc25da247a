"""DeiT: the vision transformer of "Training data-efficient image transformers & distillation through attention", and of
"DeiT III: Revenge of the ViT", which adds LayerScale and keeps the class token out of the position embedding.

It computes the same as timm's VisionTransformer and VisionTransformerDistilled. Unlike theirs, the forward pass is a function
of its arguments: stochastic depth and dropout get their randomness as inputs, and are off without it, so there is no training
mode.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, Tensor, mint, nn, ops
from mindspore.common.initializer import initializer

from deit.config.schema import ModelConfig
from deit.errors import UserError
from deit.models import operators
from deit.models.dropout import Dropout
from deit.models.layers import Dense, LayerNorm, LayerScale, PatchEmbed
from deit.models.precision import FLOAT32, ComputeTypes
from deit.models.shapes import mlp_width, position_count


class Attention(nn.Cell):
    """Multi-head self-attention, [B, N, D] to [B, N, D] (timm: Attention)."""

    def __init__(self, width: int, heads: int, drop_rate: float, drop_layer: int, types: ComputeTypes, flash: bool) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.flash = flash
        self.matmul_type, self.norm_type, self.rest_type = types.matmul, types.norm, types.rest
        self.qkv = Dense(width, 3 * width, types)
        self.proj = Dense(width, width, types)
        self.proj_drop = Dropout(drop_rate, drop_layer)
        self.scores = ops.BatchMatMul(transpose_b=True)
        self.weigh = ops.BatchMatMul()
        self.softmax = operators.softmax(types)

    def construct(self, x: Tensor, dropout_key: Tensor | None) -> Tensor:
        batch, tokens, width = x.shape
        if self.flash:
            # [B, N, D] as they are: nothing is transposed. The operator's own default scale is 1.
            q, k, v = mint.split(self.qkv(x).astype(self.matmul_type), width, -1)
            y = ops.flash_attention_score(q, k, v, self.heads, scalar_value=self.scale, input_layout="BSH")
        else:
            q, k, v = self.project(x)
            y = self.weigh(self.attend(q, k).astype(self.matmul_type), v)
            y = y.transpose(0, 2, 1, 3).reshape(batch, tokens, width)
        return self.proj_drop(self.proj(y.astype(self.rest_type)), dropout_key)

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, each [B, heads, N, D / heads]."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).astype(self.matmul_type).reshape(batch, tokens, 3, self.heads, width // self.heads)
        # unstack, not slices: the gradient of three slices costs 15 % of a step.
        return ops.unstack(qkv.transpose(2, 0, 3, 1, 4))

    def attend(self, q: Tensor, k: Tensor) -> Tensor:
        """The attention of each token to each, [B, heads, N, N]; rows sum to 1."""
        # Scaling q instead of the scores is less work and keeps float16 scores in range.
        return self.softmax(self.scores(q * self.scale, k).astype(self.norm_type))

    def probabilities(self, x: Tensor) -> Tensor:
        """The attention of the tokens [B, N, D] to each other, float32 [B, heads, N, N]."""
        q, k, _ = self.project(x)
        return self.attend(q, k).astype(ms.float32)


class Mlp(nn.Cell):
    """Two dense layers with GELU between them (timm: Mlp)."""

    def __init__(self, width: int, hidden: int, drop_rate: float, drop_layer: int, types: ComputeTypes) -> None:
        super().__init__()
        self.fc1 = Dense(width, hidden, types)
        self.fc2 = Dense(hidden, width, types)
        self.gelu = operators.gelu(types)
        self.drop1 = Dropout(drop_rate, drop_layer)
        self.drop2 = Dropout(drop_rate, drop_layer + 1)

    def construct(self, x: Tensor, dropout_key: Tensor | None) -> Tensor:
        x = self.drop1(self.gelu(self.fc1(x)), dropout_key)
        return self.drop2(self.fc2(x), dropout_key)


class Block(nn.Cell):
    """Attention and MLP, each after a norm and with a residual connection (timm: Block)."""

    def __init__(self, model: ModelConfig, number: int, types: ComputeTypes, flash: bool) -> None:
        super().__init__()
        width, drop_layer = model.embed_dim, 1 + 3 * number  # layer 0 follows the position embedding
        self.norm1 = LayerNorm(width, types)
        self.attn = Attention(width, model.num_heads, model.drop_rate, drop_layer, types, flash)
        self.ls1 = _layer_scale(model, types)
        self.norm2 = LayerNorm(width, types)
        self.mlp = Mlp(width, mlp_width(model), model.drop_rate, drop_layer + 1, types)
        self.ls2 = _layer_scale(model, types)

    def construct(self, x: Tensor, attn_path: Tensor | None, mlp_path: Tensor | None, dropout_key: Tensor | None) -> Tensor:
        """``attn_path`` and ``mlp_path`` [B, 1, 1] multiply the two branches of each image."""
        y = self.ls1(self.attn(self.norm1(x), dropout_key))
        x = x + (y if attn_path is None else y * attn_path)
        y = self.ls2(self.mlp(self.norm2(x), dropout_key))
        return x + (y if mlp_path is None else y * mlp_path)


def _layer_scale(model: ModelConfig, types: ComputeTypes) -> nn.Cell:
    return nn.Identity() if model.init_values is None else LayerScale(model.embed_dim, types)


class DeiT(nn.Cell):
    """See ``build_model``; parameters are named as in ``deit.models.shapes.parameter_shapes``."""

    def __init__(self, model: ModelConfig, num_classes: int, types: ComputeTypes, flash: bool) -> None:
        super().__init__()
        width = model.embed_dim
        self.distilled, self.no_embed_class = model.distilled, model.no_embed_class
        self.rest_type = types.rest
        self.cls_token = Parameter(initializer("zeros", (1, 1, width)), name="cls_token")
        self.pos_embed = Parameter(initializer("zeros", (1, position_count(model), width)), name="pos_embed")
        if model.distilled:
            self.dist_token = Parameter(initializer("zeros", (1, 1, width)), name="dist_token")
        self.patch_embed = PatchEmbed(width, model.patch_size, model.in_chans, types)
        self.pos_drop = Dropout(model.drop_rate, layer=0)
        self.blocks = nn.CellList([Block(model, number, types, flash) for number in range(model.depth)])
        self.norm = LayerNorm(width, types)
        self.head = Dense(width, num_classes, types)
        if model.distilled:
            self.head_dist = Dense(width, num_classes, types)

    def construct(
        self, images: Tensor, drop_path: Tensor | None = None, dropout_key: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits [B, K], float32; for a distilled model always the pair (class head, distillation head).

        ``images``: normalised, [B, C, H, W]. ``drop_path``: [2 * depth, B], the factors 0 or 1 / keep of the residual
        branches in the order attention 0, MLP 0, attention 1, ...; None keeps all. ``dropout_key``: int32 scalar, different
        for each step and card; None is no dropout.
        """
        batch = images.shape[0]
        x = self.embed(images, dropout_key)
        if drop_path is None:
            for block in self.blocks:
                x = block(x, None, None, dropout_key)
        else:
            paths = ops.unstack(drop_path.astype(self.rest_type).reshape(-1, batch, 1, 1))
            for number, block in enumerate(self.blocks):
                x = block(x, paths[2 * number], paths[2 * number + 1], dropout_key)
        return self.classify(x)

    def embed(self, images: Tensor, dropout_key: Tensor | None) -> Tensor:
        """The input tokens of the first block, [B, N, D]."""
        batch = images.shape[0]
        x = self.patch_embed(images)
        tokens = [self.token(self.cls_token, batch)]
        if self.distilled:
            tokens.append(self.token(self.dist_token, batch))
        positions = self.pos_embed.astype(self.rest_type)
        x = ops.concat([*tokens, x + positions], 1) if self.no_embed_class else ops.concat([*tokens, x], 1) + positions
        return self.pos_drop(x, dropout_key)

    def classify(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """The logits from the output tokens of the last block."""
        # Only the tokens that are read need the last norm.
        logits = self.head(self.norm(x[:, 0])).astype(ms.float32)
        if self.distilled:
            return logits, self.head_dist(self.norm(x[:, 1])).astype(ms.float32)
        return logits

    def token(self, parameter: Parameter, batch: int) -> Tensor:
        """A learned token [1, 1, D], once for each image: [B, 1, D]."""
        return ops.broadcast_to(parameter.astype(self.rest_type), (batch, 1, parameter.shape[-1]))


def build_model(model: ModelConfig, num_classes: int, *, types: ComputeTypes = FLOAT32, flash: bool = False) -> DeiT:
    """The network with all parameters zero: load weights before use.

    ``types`` comes from ``compute_types``; ``flash`` uses Ascend's fused attention, which supports half precision only.
    """
    if flash and types.matmul == ms.float32:
        raise UserError("model.attention=flash computes in half precision only: precision.level is O0, allowed are O1, O2, O3.")
    return DeiT(model, num_classes, types, flash)
