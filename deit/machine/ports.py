"""A free port for the scheduler of a run, leased so that no other launch of this machine takes it."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from deit.machine import leases

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOCAL_PORTS = range(10_000, 20_000)  # of schedulers on this machine; those of jobs of Slurm follow (``deit.machine.slurm``)


def lease_port(holder: str) -> tuple[int, leases.Lease]:
    """A port nobody listens on, and the lease that keeps other launches from choosing it too.

    The scheduler listens there seconds later, when it has imported MindSpore. So the port is none of those that Linux gives to
    any connection of this machine meanwhile.
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
    """Ports below those that Linux gives out by itself (ip(7)), as far as it leaves some."""
    try:
        first = int(EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):  # hidden in this container
        first = LOCAL_PORTS.stop
    return range(LOCAL_PORTS.start, min(first, LOCAL_PORTS.stop)) or LOCAL_PORTS
