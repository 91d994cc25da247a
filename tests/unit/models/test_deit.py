"""The network against an independent float64 reference, and the guarantees that a training needs."""

from __future__ import annotations

import dataclasses
import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import ParameterTuple, Tensor, nn
from tiny_networks import CLASSES, DISTILLED, TINY, images, lively_weights, loaded

from deit.config.schema import ModelConfig, PrecisionConfig
from deit.errors import UserError
from deit.models.deit import DeiT, build_model
from deit.models.layers import LayerNorm
from deit.models.precision import FLOAT32, compute_types
from deit.models.shapes import parameter_shapes

DEIT3 = dataclasses.replace(TINY, init_values=0.1, no_embed_class=True)
DEIT3_DISTILLED = dataclasses.replace(DEIT3, distilled=True)


pytestmark = pytest.mark.usefixtures("graph_mode")


def reference(config: ModelConfig, x: np.ndarray, drop_path: np.ndarray | None = None) -> list[np.ndarray]:
    """The logits of each head in float64, written from the papers (ViT, section 3.1; DeiT, section 4; CaiT, equation 4)."""
    w = {name: value.astype(np.float64) for name, value in lively_weights(config).items()}
    heads, size, grid = config.num_heads, config.patch_size, config.img_size // config.patch_size

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * w[f"{name}.gamma"] + w[f"{name}.beta"]

    def dense(name: str, x: np.ndarray) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def gelu(x: np.ndarray) -> np.ndarray:
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))

    def attention(name: str, x: np.ndarray) -> np.ndarray:
        out = []
        for qkv in dense(f"{name}.qkv", x):  # one image: [N, 3D]
            q, k, v = (np.split(part, heads, axis=1) for part in np.split(qkv, 3, axis=1))
            rows = []
            for head in range(heads):
                weight = np.exp(q[head] @ k[head].T / math.sqrt(q[head].shape[1]))
                rows.append(weight / weight.sum(1, keepdims=True) @ v[head])
            out.append(np.concatenate(rows, axis=1))
        return dense(f"{name}.proj", np.stack(out))

    kernel = w["patch_embed.proj.weight"].reshape(config.embed_dim, -1)
    patches = [
        x[:, :, i * size : (i + 1) * size, j * size : (j + 1) * size].reshape(len(x), -1) @ kernel.T
        for i in range(grid)
        for j in range(grid)
    ]
    tokens = [w["cls_token"][0], *([w["dist_token"][0]] if config.distilled else [])]
    first = [np.repeat(token, len(x), axis=0) for token in tokens]
    t = np.stack([*first, *(p + w["patch_embed.proj.bias"] for p in patches)], axis=1)
    t[:, len(tokens) if config.no_embed_class else 0 :] += w["pos_embed"]
    factors = np.ones((2 * config.depth, len(x))) if drop_path is None else drop_path
    for i in range(config.depth):
        scales = [w.get(f"blocks.{i}.ls{number}.gamma", 1) for number in (1, 2)]
        t = t + factors[2 * i][:, None, None] * scales[0] * attention(f"blocks.{i}.attn", norm(f"blocks.{i}.norm1", t))
        hidden = gelu(dense(f"blocks.{i}.mlp.fc1", norm(f"blocks.{i}.norm2", t)))
        t = t + factors[2 * i + 1][:, None, None] * scales[1] * dense(f"blocks.{i}.mlp.fc2", hidden)
    t = norm("norm", t)
    return [dense(head, t[:, i]) for i, head in enumerate(["head", *(["head_dist"] if config.distilled else [])])]


@pytest.mark.parametrize("config", [TINY, DISTILLED, DEIT3, DEIT3_DISTILLED], ids=["plain", "distilled", "3", "3 distilled"])
def test_network_has_exactly_the_listed_parameters(config: ModelConfig) -> None:
    network = build_model(config, CLASSES)
    assert [(p.name, p.shape) for p in network.trainable_params()] == list(parameter_shapes(config, CLASSES).items())
    assert {p.dtype for p in network.get_parameters()} == {ms.float32}


def test_logits_equal_the_reference() -> None:
    logits = loaded(TINY)(Tensor(images()))
    assert logits.shape == (3, CLASSES)
    np.testing.assert_allclose(logits.asnumpy(), reference(TINY, images())[0], atol=1e-5)


@pytest.mark.parametrize("config", [DISTILLED, DEIT3_DISTILLED], ids=["deit", "deit3"])
def test_distilled_logits_and_drop_path_equal_the_reference(config: ModelConfig) -> None:
    keep = np.random.default_rng(3).random((2 * config.depth, 3)) < 0.6
    drop_path = (keep / 0.6).astype(np.float32)
    assert 0 < keep.sum() < keep.size
    heads = loaded(config)(Tensor(images()), Tensor(drop_path))
    assert len(heads) == 2
    for ours, expected in zip(heads, reference(config, images(), drop_path), strict=True):
        np.testing.assert_allclose(ours.asnumpy(), expected, atol=1e-5)


def test_operator_by_operator_gives_the_same() -> None:
    ms.set_context(mode=ms.PYNATIVE_MODE)
    np.testing.assert_allclose(loaded(TINY)(Tensor(images())).asnumpy(), reference(TINY, images())[0], atol=1e-5)


def test_norm_has_the_eps_of_timm() -> None:
    x = 1e-3 * np.random.default_rng(5).standard_normal((4, 16))  # a variance of the size of eps
    norm = LayerNorm(16, FLOAT32)
    norm.gamma.set_data(Tensor(np.ones(16, np.float32)))
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(norm(Tensor(x, ms.float32)).asnumpy(), expected, atol=1e-5)


def test_flash_attention_rejects_float32() -> None:
    with pytest.raises(UserError, match=r"model\.attention=flash"):
        build_model(TINY, CLASSES, flash=True)


class Gradients(nn.Cell):
    """Logits, and the gradients of all parameters."""

    def __init__(self, network: DeiT) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.gradients = ms.value_and_grad(self.loss, None, ParameterTuple(network.trainable_params()), has_aux=True)

    def loss(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(x)
        return (logits**2).mean(), logits

    def construct(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        (_, logits), gradients = self.gradients(x)
        return logits, gradients


def test_precision_levels() -> None:
    config = dataclasses.replace(TINY, depth=1)
    exact = reference(config, images())[0]
    found: dict[str, np.ndarray] = {}
    for level in ("O0", "O1", "O2", "O3"):
        network = loaded(config, compute_types(PrecisionConfig(level, "float16", "none", 1.0, 1)))
        logits, gradients = Gradients(network)(Tensor(images()))
        assert logits.dtype == ms.float32
        found[level] = logits.asnumpy()
        assert {g.dtype for g in gradients} == {ms.float32}
        assert {p.dtype for p in network.get_parameters()} == {ms.float32}
        assert all(np.isfinite(g.asnumpy()).all() and np.any(g.asnumpy()) for g in gradients)
    error = {level: np.abs(logits - exact).max() / np.abs(exact).max() for level, logits in found.items()}
    assert error["O0"] < 2e-6
    for level in ("O1", "O2", "O3"):  # float16 has an eps of 1e-3
        assert 1e-4 < error[level] < 1e-2
    assert len({logits.tobytes() for logits in found.values()}) == 4


def test_dropout_in_the_network_follows_the_key() -> None:
    network = loaded(dataclasses.replace(TINY, drop_rate=0.2))
    plain = network(Tensor(images())).asnumpy()
    np.testing.assert_allclose(plain, reference(TINY, images())[0], atol=1e-5)
    one, again, two = (network(Tensor(images()), None, Tensor(key, ms.int32)).asnumpy() for key in (1, 1, 2))
    assert one.tobytes() == again.tobytes()
    assert not np.allclose(one, two) and not np.allclose(one, plain)
