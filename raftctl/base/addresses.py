"""`tcp://host:port`: the one form of an address in files, messages and output."""

from __future__ import annotations

import re
from typing import NamedTuple

from raftctl.base.errors import UsageError

_FORM = re.compile(r"tcp://(?:\[([0-9A-Fa-f:.%]+)\]|([^\[\]:/\s]+)):([0-9]{1,6})/?\Z")


class Address(NamedTuple):
    """A host (name, IPv4 or IPv6 without brackets) and a TCP port, 1 to 65535. Sorts by host, then port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


def parse(text: str) -> Address:
    """Return the address written as `tcp://host:port`; raise `UsageError` that says what is wrong with it."""
    found = _FORM.match(text)
    if not found:
        raise UsageError(f'"{text}" is no address; write it as tcp://host:port')
    port = int(found.group(3))
    if not 1 <= port <= 65535:
        raise UsageError(f'port {port} in "{text}" is out of range; use 1 to 65535')
    return Address((found.group(1) or found.group(2)).lower(), port)
