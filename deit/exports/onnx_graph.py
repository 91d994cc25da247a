"""A DeiT as an ONNX graph, written node by node from its parameters.

MindSpore's own exporter supports neither Erf, which the exact GELU needs, nor a dynamic batch. The graph follows
``deit.models.deit`` in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deit.config.schema import ModelConfig
from deit.errors import UserError
from deit.exports.predictor import EXTRA, scale_and_shift
from deit.models.shapes import token_count

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17  # the first with LayerNormalization
IR_VERSION = 8  # the one of this opset: older runtimes reject later ones
INPUT, OUTPUT = "images", "logits"


def build_onnx(
    model: ModelConfig,
    weights: Mapping[str, np.ndarray],
    *,
    half: bool = False,
    batch: int | None = None,
    pixels: tuple[Sequence[float], Sequence[float]] | None = None,
) -> ModelProto:
    """The graph from ``images`` to ``logits`` float32 [B, K], the mean of both heads of a distilled model.

    ``weights`` have MindSpore's names. ``batch`` None takes any number of images. With ``pixels``, the mean and deviation of
    the channels, the images are uint8 [B, H, W, C] and are normalised in the graph; without, float32 [B, C, H, W]. ``half``
    stores float16 and computes matrix products in it; norms and softmax stay float32, as in precision.level O2. Raises
    UserError if the package onnx is missing.
    """
    try:
        import onnx
    except ImportError:
        raise UserError(f"task.format=onnx needs the package onnx, which is not installed: {EXTRA}") from None
    graph = _Graph(half)
    size, channels, classes = model.image_size, model.in_chans, weights["head.weight"].shape[0]
    x = graph.images(pixels) if pixels else INPUT
    _network(graph, model, weights, x)
    taken = (onnx.TensorProto.UINT8, [*size, channels]) if pixels else (onnx.TensorProto.FLOAT, [channels, *size])
    rows: int | str = "batch" if batch is None else batch
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            model.name,
            [onnx.helper.make_tensor_value_info(INPUT, taken[0], [rows, *taken[1]])],
            [onnx.helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, [rows, classes])],
            graph.initializers,
        ),
        producer_name="deit",
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _network(graph: _Graph, model: ModelConfig, weights: Mapping[str, np.ndarray], images: str) -> None:
    width, heads = model.embed_dim, model.num_heads
    tokens, prefix = token_count(model), 1 + model.distilled

    def dense(x: str, name: str) -> str:
        # [B, N, I] with [I, O]: ONNX multiplies the last axis with the first.
        weight = graph.stored(f"{name}.weight", weights[f"{name}.weight"].T)
        return graph.add("Add", graph.add("MatMul", x, weight), graph.stored(f"{name}.bias", weights[f"{name}.bias"]))

    def norm(x: str, name: str) -> str:
        scale, bias = (graph.wide(graph.stored(f"{name}.{part}", weights[f"{name}.{part}"])) for part in ("gamma", "beta"))
        return graph.narrow(graph.add("LayerNormalization", graph.wide(x), scale, bias, axis=-1, epsilon=1e-6))

    def attention(x: str, name: str) -> str:
        # Each 0 keeps the size of its axis, so the batch size is not fixed.
        shape = graph.shape(0, tokens, 3, heads, width // heads)
        qkv = graph.add("Transpose", graph.add("Reshape", dense(x, f"{name}.qkv"), shape), perm=[2, 0, 3, 1, 4])
        q, k, v = (graph.add("Gather", qkv, graph.constant(np.array(i, np.int64)), axis=0) for i in range(3))
        q = graph.add("Mul", q, graph.number((width // heads) ** -0.5))
        scores = graph.add("MatMul", q, graph.add("Transpose", k, perm=[0, 1, 3, 2]))
        shares = graph.narrow(graph.add("Softmax", graph.wide(scores), axis=-1))
        y = graph.add("Transpose", graph.add("MatMul", shares, v), perm=[0, 2, 1, 3])
        return dense(graph.add("Reshape", y, graph.shape(0, tokens, width)), f"{name}.proj")

    def layer_scale(x: str, name: str) -> str:
        if model.init_values is None:
            return x
        return graph.narrow(
            graph.add("Mul", graph.wide(x), graph.wide(graph.stored(f"{name}.gamma", weights[f"{name}.gamma"])))
        )

    def gelu(x: str) -> str:
        erf = graph.add("Erf", graph.add("Div", x, graph.number(math.sqrt(2))))
        return graph.add("Mul", graph.add("Mul", x, graph.add("Add", erf, graph.number(1))), graph.number(0.5))

    proj = "patch_embed.proj"
    patches = graph.add(
        "Conv",
        graph.narrow(images),
        graph.stored(f"{proj}.weight", weights[f"{proj}.weight"]),
        graph.stored(f"{proj}.bias", weights[f"{proj}.bias"]),
        kernel_shape=[model.patch_size] * 2,
        strides=[model.patch_size] * 2,
    )
    x = graph.add("Transpose", graph.add("Reshape", patches, graph.shape(0, width, -1)), perm=[0, 2, 1])
    positions = weights["pos_embed"].astype(np.float32)
    if model.no_embed_class:
        positions = np.concatenate([np.zeros((1, prefix, width), np.float32), positions], axis=1)
    # The tokens before the patches are the same for all images. Padding makes room for them, and they are added
    # together with the positions, so that no token has to be repeated for an unknown batch size.
    x = graph.add("Pad", x, graph.shape(0, prefix, 0, 0, 0, 0))
    positions = positions.copy()
    positions[:, 0] += weights["cls_token"][0, 0]
    if model.distilled:
        positions[:, 1] += weights["dist_token"][0, 0]
    x = graph.add("Add", x, graph.stored("tokens_and_positions", positions))
    for block in range(model.depth):
        name = f"blocks.{block}"
        x = graph.add("Add", x, layer_scale(attention(norm(x, f"{name}.norm1"), f"{name}.attn"), f"{name}.ls1"))
        hidden = gelu(dense(norm(x, f"{name}.norm2"), f"{name}.mlp.fc1"))
        x = graph.add("Add", x, layer_scale(dense(hidden, f"{name}.mlp.fc2"), f"{name}.ls2"))

    def head(row: int, name: str) -> str:
        token = graph.add("Gather", x, graph.constant(np.array(row, np.int64)), axis=1)
        return graph.wide(dense(norm(token, "norm"), name))

    logits = head(0, "head")
    if model.distilled:
        total = graph.add("Add", logits, head(1, "head_dist"))
        graph.add("Mul", total, graph.constant(np.array(0.5, np.float32)), output=OUTPUT)
    else:
        graph.add("Identity", logits, output=OUTPUT)


class _Graph:
    """Collects nodes and constants; every method returns the name of a value."""

    def __init__(self, half: bool) -> None:
        import onnx

        self._onnx, self.half = onnx, half
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._stored: set[str] = set()
        self._constants: dict[tuple[str, bytes], str] = {}

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        output = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def images(self, pixels: tuple[Sequence[float], Sequence[float]]) -> str:
        """uint8 [B, H, W, C] to normalised float32 [B, C, H, W]."""
        scale, shift = (self.constant(value) for value in scale_and_shift(*pixels))
        x = self.add("Cast", INPUT, to=self._onnx.TensorProto.FLOAT)
        return self.add("Transpose", self.add("Add", self.add("Mul", x, scale), shift), perm=[0, 3, 1, 2])

    def stored(self, name: str, value: np.ndarray) -> str:
        """A parameter, under its own name and in the type of the file; stored once even if used twice."""
        if name not in self._stored:
            self._stored.add(name)
            self.initializers.append(self._array(value.astype(np.float16 if self.half else np.float32), name))
        return name

    def number(self, value: float) -> str:
        """A scalar in the type of the parameters."""
        return self.constant(np.array(value, np.float16 if self.half else np.float32))

    def shape(self, *sizes: int) -> str:
        return self.constant(np.array(sizes, np.int64))

    def constant(self, value: np.ndarray) -> str:
        key = (f"{value.dtype}{value.shape}", value.tobytes())
        if key not in self._constants:
            self._constants[key] = f"constant_{len(self._constants)}"
            self.initializers.append(self._array(value, self._constants[key]))
        return self._constants[key]

    def wide(self, x: str) -> str:
        """As float32."""
        return self.add("Cast", x, to=self._onnx.TensorProto.FLOAT) if self.half else x

    def narrow(self, x: str) -> str:
        """In the type of the parameters."""
        return self.add("Cast", x, to=self._onnx.TensorProto.FLOAT16) if self.half else x

    def _array(self, value: np.ndarray, name: str) -> Any:
        return self._onnx.numpy_helper.from_array(np.asarray(value, order="C"), name)
