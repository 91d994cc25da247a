"""Data sets by the name of their source, opened or rejected."""

from __future__ import annotations

from typing import Any

import pytest

from deit.config.schema import DataConfig
from deit.data.datasets import open_dataset
from deit.errors import UserError


def data(source: str, **changes: Any) -> DataConfig:
    """A data configuration that accepts what is found."""
    sizes = {"num_classes": None, "train_size": None, "val_size": None, "train_limit": None, "val_limit": None}
    return DataConfig(**{"name": source, "source": source, "root": None, **sizes, **changes})


def refused(config: DataConfig, train: bool = True) -> str:
    """The message of opening a split."""
    with pytest.raises(UserError) as caught:
        open_dataset(config, train)
    assert caught.value.exit_code == 2
    return str(caught.value)
