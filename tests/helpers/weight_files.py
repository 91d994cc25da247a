"""Weight files that are rejected."""

from __future__ import annotations

from pathlib import Path

import pytest

from deit.errors import UserError
from deit.weights.read import read_weights


def refused(path: Path) -> str:
    """The message of reading a file: one line that names it."""
    with pytest.raises(UserError) as error:
        read_weights(path)
    message = str(error.value)
    assert str(path) in message and "\n" not in message
    return message
