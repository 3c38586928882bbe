"""STUB, signatures final: the peer listener."""

from __future__ import annotations

from typing import Callable, Sequence, Tuple

from raftctl.cluster.handshake import Hello


class PeerListener:
    """Binds in the constructor (UsageError: address in use …), accepts from start() on."""

    port: int
    addresses: Tuple[Tuple[str, int], ...]

    def __init__(self, hosts: Sequence[str], port: int, own_hello: Callable[[str, int], Hello], secrets: Tuple[bytes, ...],
                 judge, post: Callable[[object], None], *, silence_ns: int, insecure: bool = False,
                 accepted: Callable[[Hello], None] = lambda hello: None) -> None: ...
    def start(self) -> None: ...
    def close(self, deadline_s: float) -> None: ...
