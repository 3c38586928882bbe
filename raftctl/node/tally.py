"""What a node counts since its process began, for `/metrics`: leaders, syncs, failures of hooks."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Tuple

from raftctl.base.instants import Instant


class Tally:
    """Each method is one thread's, as it says; the fields are for any thread to read."""

    def __init__(self) -> None:
        self.leader_changes = 0
        self.syncs = 0
        self.sync_ns = 0
        self.longest_sync_ns = 0
        self.hook_failures: Dict[str, int] = {}
        self._led: Optional[Tuple[int, str]] = None
        self._sync_began: Optional[Instant] = None

    def see_leader(self, term: int, leader: Optional[str]) -> None:
        """Count each new (term, leader); nobody is none. Node thread."""
        if leader is not None and (term, leader) != self._led:
            self._led = term, leader
            self.leader_changes += 1

    def begin_sync(self, now: Instant) -> None:
        """A write goes to the disk, one at a time. Node thread."""
        self._sync_began = now

    def end_sync(self, now: Instant) -> None:
        """It is durable. Disk thread; the next one begins only after that."""
        if self._sync_began is not None:
            span_ns = now.since(self._sync_began)
            self.syncs, self.sync_ns = self.syncs + 1, self.sync_ns + span_ns
            self.longest_sync_ns = max(self.longest_sync_ns, span_ns)

    def take_failures(self, failures: Mapping[str, Any]) -> None:
        """Take the guardian's count of failed hooks, by event. Main thread."""
        self.hook_failures = {str(hook): count for hook, count in failures.items() if type(count) is int}
