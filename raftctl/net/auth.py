"""STUB, signatures final: sans-io handshake."""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional, Tuple

from raftctl.base.errors import PeerFault
from raftctl.cluster.handshake import Hello, Refusal


class Refused(PeerFault):
    code: str
    message: str


class Established(NamedTuple):
    theirs: Hello
    sealer: "Sealer"     # .seal(kind, body) -> bytes to write (body ≤ 64 KiB)
    opener: "Opener"


class Handshake:
    """outgoing(): bytes to write now (taken); receive(data) (b"": end of stream) raises PeerFault/Refused, after which outgoing()
    may still hold the refusal for the other side; result is set when done. It draws the nonce itself."""

    result: Optional[Established]

    def __init__(self, dialler: bool, own: Hello, secrets: Tuple[bytes, ...],
                 judge: Callable[[Hello, Hello], Optional[Refusal]]) -> None: ...
    def outgoing(self) -> bytes: ...
    def receive(self, data: bytes) -> None: ...
