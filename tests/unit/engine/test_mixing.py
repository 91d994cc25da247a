"""Mixup and CutMix against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mindspore import Tensor

from deit.config.schema import AugmentConfig
from deit.engine import mixing
from deit.randomness import generator

pytestmark = pytest.mark.usefixtures("graph_mode")


def augment(**changes: Any) -> AugmentConfig:
    values = dict(mixup=0.8, cutmix=1.0, mixup_prob=1.0, mixup_switch_prob=0.5, mixup_mode="batch", smoothing=0.1)
    return AugmentConfig(**(values | changes))


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_mixing_follows_its_definition(mode: str) -> None:
    rng = np.random.default_rng(1)
    images = rng.standard_normal((6, 3, 8, 8)).astype(np.float32)
    labels = rng.integers(0, 5, 6).astype(np.int32)
    cut_seen = mixed_seen = False
    for step in range(8):
        mix = mixing.draw(augment(mixup_mode=mode), 6, (8, 8), generator(0, "mix", step))
        got = mixing.mix_images(Tensor(images), Tensor(mix.blend), Tensor(mix.box)).asnumpy()
        targets = mixing.soft_targets(Tensor(labels), Tensor(mix.lam), 5, 0.1).asnumpy()
        onehot = np.full((6, 5), 0.1 / 5, np.float32)
        onehot[np.arange(6), labels] += 0.9
        for i in range(6):
            partner = 5 - i
            top, bottom, left, right = mix.box[i]
            wanted = mix.blend[i] * images[i] + (1 - mix.blend[i]) * images[partner]
            wanted[:, top:bottom, left:right] = images[partner][:, top:bottom, left:right]
            np.testing.assert_allclose(got[i], wanted, atol=1e-6)
            np.testing.assert_allclose(targets[i], mix.lam[i] * onehot[i] + (1 - mix.lam[i]) * onehot[partner], atol=1e-6)
            area = (bottom - top) * (right - left)
            if mix.blend[i] == 1:  # CutMix: lambda is the area that was kept
                cut_seen = True
                assert mix.lam[i] == pytest.approx(1 - area / 64)
            else:
                mixed_seen = True
                assert area == 0 and mix.lam[i] == mix.blend[i]
        if mode == "batch":
            assert len(set(mix.lam)) == 1
        elif mode == "pair":
            assert list(mix.lam) == list(mix.lam[::-1])
    assert cut_seen and mixed_seen


def test_mixing_is_drawn_with_the_configured_probabilities() -> None:
    draws = [
        mixing.draw(augment(mixup_prob=0.6, mixup_switch_prob=0.25), 2, (32, 32), generator(0, "mix", i)) for i in range(4000)
    ]
    plain = sum(bool(d.lam[0] == 1 and not d.box.any()) for d in draws) / 4000
    cut = sum(bool(d.box.any()) for d in draws) / 4000
    assert plain == pytest.approx(0.4, abs=0.03)
    assert cut == pytest.approx(0.6 * 0.25, abs=0.02)
    wide = mixing.draw(augment(mixup=0.0, cutmix=1.0, mixup_mode="elem"), 400, (16, 48), generator(0, "mix", 0))
    top, bottom, left, right = wide.box.T
    assert bottom.max() == 16 and right.max() == 48
    np.testing.assert_allclose(wide.lam, 1 - (bottom - top) * (right - left) / (16 * 48), rtol=1e-6)
    only_cut = mixing.draw(augment(mixup=0.0), 2, (32, 32), generator(0, "mix", 0))
    assert only_cut.blend.tolist() == [1, 1]
