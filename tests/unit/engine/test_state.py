"""The state of a training at its start."""

from __future__ import annotations

import numpy as np
import pytest
from composition import composed

from deit.engine.state import TrainState, first_weights

SMALL = (
    "experiment=quickstart",
    "model.embed_dim=16",
    "model.num_heads=2",
    "data.train_limit=64",
    "data.val_limit=50",
    "data.batch_size=32",
    "data.workers=0",
    "schedule.epochs=2",
    "schedule.warmup_epochs=1",
    "schedule.eval_every=1",
    "checkpointing.every=1",
    "ema.decay=0.9",
    "hardware=cpu",
    "tracking=none",
)


@pytest.mark.usefixtures("graph_mode")
def test_network_and_ema_start_with_the_same_weights() -> None:
    config = composed(*SMALL)
    wanted = {name: value + 1 for name, value in first_weights(config).items()}
    parts = TrainState(config, wanted).parts()
    for part in ("model", "ema"):
        assert all(np.array_equal(parts[part][name], value) for name, value in wanted.items())
