"""sd_notify(3): tells systemd READY=1, STATUS=…, STOPPING=1. Does nothing where no service manager asked for it."""

from __future__ import annotations

import os
import socket


def notify(text: str) -> bool:
    """Send `text` to $NOTIFY_SOCKET and return whether it went out. Never blocks: a status may be lost, READY=1 is
    repeated by who needs it. The guardian's thread."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    # An abstract socket is written with a leading @ (sd_notify(3)).
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.sendto(text.encode(), address)
        except OSError:
            return False
    return True
