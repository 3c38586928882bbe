"""What a host in a file means as written: an IP literal, the wildcard, the loopback. Looks nothing up."""

from __future__ import annotations

import socket
from typing import Optional


def packed(host: str) -> Optional[bytes]:
    """Return the bytes of an IP address literal, also in the short forms of the resolver; None for a name."""
    try:
        return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except (OSError, ValueError):
        pass
    try:
        return socket.inet_aton(host)
    except (OSError, ValueError):
        return None


def is_wildcard(host: str) -> bool:
    literal = packed(host)
    return host == "*" or (literal is not None and not any(literal))


def is_loopback(host: str) -> bool:
    """Can only this host reach a listener bound to `host`? Other names than localhost do not count (P8)."""
    literal = packed(host)
    if literal is None:
        return host.lower() in ("localhost", "localhost.")
    return literal == b"\0" * 15 + b"\x01" or (len(literal) == 4 and literal[0] == 127)
