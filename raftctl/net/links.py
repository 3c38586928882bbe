"""STUB, signatures final: own connections to the peers (out-<peer> threads)."""

from __future__ import annotations

from typing import Callable, Dict, Iterable, NamedTuple, Optional, Tuple

from raftctl.base.addresses import Address
from raftctl.cluster.handshake import Hello, Refusal

Judge = Callable[[Hello, Hello], Optional[Refusal]]   # net/auth.Witness() is one; share it between Links and PeerListener


class LinkUp(NamedTuple):
    address: Address
    generation: int
    hello: Hello


class LinkDown(NamedTuple):
    address: Address
    generation: int     # 0: a dial failed
    reason: str


class FrameIn(NamedTuple):
    hello: Hello
    kind: int
    body: bytes


class LinkStatus(NamedTuple):
    connected_since_s: Optional[float]   # time.monotonic()
    problem: Optional[str]
    dropped: int


class Links:
    def __init__(self, own_hello: Callable[[str, int], Hello], secrets: Tuple[bytes, ...], judge: Judge,
                 post: Callable[[object], None], *, silence_ns: int,
                 longest_backoff_s: Callable[[], float] = lambda: 1.0) -> None: ...
    def set_targets(self, addresses: Iterable[Address]) -> None: ...
    def send(self, address: Address, kind: int, body: bytes, urgent: bool = False) -> bool: ...
    def nudge(self, address: Address) -> None: ...
    def status(self) -> Dict[Address, LinkStatus]: ...
    def close(self, deadline_s: float) -> None: ...
