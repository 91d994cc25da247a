"""The state of a training at its start."""

from __future__ import annotations

import numpy as np
import pytest
from composition import composed
from launching import SHORT

from deit.engine.state import TrainState, first_weights


@pytest.mark.usefixtures("graph_mode")
def test_network_and_ema_start_with_the_same_weights() -> None:
    config = composed(*SHORT)
    wanted = {name: value + 1 for name, value in first_weights(config).items()}
    parts = TrainState(config, wanted).parts()
    for part in ("model", "ema"):
        assert all(np.array_equal(parts[part][name], value) for name, value in wanted.items())
