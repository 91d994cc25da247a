"""A free port for the scheduler of a run, leased so that no other launch of this machine takes it."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from deit.machine import leases

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOCAL_PORTS = range(10_000, 20_000)  # for schedulers on this machine; Slurm jobs use the next ones (``deit.machine.slurm``)


def lease_port(holder: str) -> tuple[int, leases.Lease]:
    """A free port, and the lease that keeps other launches from choosing it too.

    The scheduler listens there only seconds later, after importing MindSpore. So the port is outside the range that Linux
    assigns to other connections meanwhile.
    """
    while True:
        port = secrets.choice(_quiet_ports())
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        lease = leases.take("port", port, holder)
        if lease is not None:
            return port, lease


def _quiet_ports() -> range:
    """Ports below those that Linux assigns by itself (ip(7)), if there are any."""
    try:
        first = int(EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):  # hidden in this container
        first = LOCAL_PORTS.stop
    return range(LOCAL_PORTS.start, min(first, LOCAL_PORTS.stop)) or LOCAL_PORTS
