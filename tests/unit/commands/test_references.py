"""Mistakes that can be found without a run are reported before a run is looked up in a store or in MLflow."""

from __future__ import annotations

import socket

import pytest
from composition import freeze

from deit.errors import UserError

ID = "0" * 32  # looks like an MLflow run id


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ((f"run={ID}",), "with task=train: run and checkpoint are for an evaluation"),
        (("task=evaluate", f"resume={ID}"), "with task=evaluate: resume"),
        (("task=evaluate", f"run={ID}", "checkpoint=x.pth"), "both are given"),
        (("task=preview", f"resume={ID}"), "with task=preview: it uses no weights"),
        (("task=compare", f"task.models=[{ID}]"), "allowed: two models or more"),
        (("task=compare", f"task.models=[{ID},{ID}]"), "twice; allowed: each model once"),
        (("task=predict", "task.input=x", f"task.model={ID}", f"run={ID}"), "several are given"),
        (("task=register", "task.registered_model_name=x", f"task.model={ID}", f"run={ID}"), "given are"),
        (("task=sync", f"resume={ID}"), "with task=sync: it sends runs to MLflow"),
    ],
)
def test_references_are_rejected_before_any_network_access(typed: tuple[str, ...], message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        with pytest.raises(UserError, match=message):
            freeze(*typed, f"tracking.uri=http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(BlockingIOError):  # nobody has called
            server.accept()
