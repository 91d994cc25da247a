"""Ports for the servers of tests."""

from __future__ import annotations

import socket

_kept: list[socket.socket] = []


def reserved_port() -> int:
    """A port that this process owns until it ends: other searches for a free port find another one, even without a server.

    A server that sets SO_REUSEADDR, as all do that can be started again, may listen there; until it does, connections to it
    are refused. A port that is merely found free may be anybody's by the time the server is up, or while it is down.
    """
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(("127.0.0.1", 0))
    _kept.append(keeper)
    return int(keeper.getsockname()[1])
