"""When each peer was last heard, whatever this node is: a follower keeps no progress of the others.

Owns one table, instance → the moment of its newest message or handshake. What that means is
node/outlook.py's.
"""

from __future__ import annotations

import threading
from typing import Dict, Optional

from raftctl.base.instants import Instant
from raftctl.cluster import handshake
from raftctl.cluster.handshake import Hello

# More than a cluster has members; instances that only passed by may not fill the memory.
LIMIT = 64


class Contacts:
    """Any thread. Instances, not addresses: what a host said before its disk was wiped says nothing now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heard: Dict[str, Instant] = {}

    def heard(self, hello: Hello, now: Instant) -> None:
        """Note a message or a handshake of `hello.instance`; beyond `LIMIT` the one longest silent goes."""
        if hello.role != handshake.PEER:
            return       # A guardian speaks for a node that has ended.
        with self._lock:
            if len(self._heard) >= LIMIT and hello.instance not in self._heard:
                del self._heard[min(self._heard, key=lambda instance: self._heard[instance])]
            self._heard[hello.instance] = now

    def age_ms(self, instance: str, now: Instant) -> Optional[int]:
        """Return how long ago `instance` was heard, None where it never was."""
        heard = self._heard.get(instance)
        return None if heard is None else max(now.since(heard), 0) // 1_000_000
