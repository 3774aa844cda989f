"""Words to systemd (sd_notify): READY, WATCHDOG, STATUS, STOPPING.

A datagram to the socket that NOTIFY_SOCKET names; nothing at all where there is none.
"""

from __future__ import annotations

import os
import socket


def notify(*assignments: str) -> bool:
    """Send e.g. `READY=1`, `STATUS=ready`; true when a service manager listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto("\n".join(assignments).encode(), address)
    except OSError:
        return False
    return True
