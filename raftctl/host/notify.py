"""Words to systemd (sd_notify(3)): READY=1, STATUS=…, STOPPING=1. Nothing where no service manager listens.

Owns nothing: a socket a datagram, so that a systemd which was re-executed meanwhile is found as well. Only
the main process of the unit is heard (NotifyAccess=main); what goes to nodes and hooks does not hold
NOTIFY_SOCKET.
"""

from __future__ import annotations

import os
import socket

VARIABLE = "NOTIFY_SOCKET"


def notify(text: str) -> bool:
    """Send the `NAME=value` lines of `text` to $NOTIFY_SOCKET; return whether they were taken.

    Never blocks and never raises: False also where nobody asked (no variable), where nobody listens any more,
    and where the queue, which all services share, is full. Then a status may be lost; READY=1 is said again
    by the caller. The guardian's thread.
    """
    path = os.fsencode(os.environ.get(VARIABLE, ""))
    if not path:
        return False
    # A leading @ stands for the zero byte of the abstract namespace.
    address = b"\0" + path[1:] if path[:1] == b"@" else path
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_UNIX, kind) as sender:
        try:
            sender.sendto(text.encode("utf-8", "replace"), address)
        except OSError:
            return False
    return True
