"""Attention rollout."""

from __future__ import annotations

import numpy as np

from deit.engine.attention import maps, rollout


def test_rollout_follows_its_definition() -> None:
    attentions = np.random.default_rng(2).dirichlet(np.ones(6), (3, 4, 6))  # [L, heads, N, N]
    mixed = [(block.mean(0) + np.eye(6)) / 2 for block in attentions]
    np.testing.assert_allclose(rollout(attentions), mixed[2] @ mixed[1] @ mixed[0], rtol=1e-12)
    np.testing.assert_allclose(rollout(np.broadcast_to(np.eye(6), (3, 4, 6, 6))), np.eye(6))
    # Four patches after two tokens; a token's map keeps their order, row by row.
    cls, dist = maps(attentions, distilled=True, grid=(2, 2))
    expected = rollout(attentions)[1, 2:]
    np.testing.assert_allclose(dist.rollout.reshape(-1), expected / expected.sum(), rtol=1e-6)
    assert (cls.token, dist.token, cls.heads.shape) == ("class token", "distillation token", (4, 2, 2))
    np.testing.assert_array_equal(cls.heads[1].reshape(-1), attentions[-1, 1, 0, 2:])
    assert maps(attentions, distilled=True, grid=(1, 4))[1].heads.shape == (4, 1, 4)
