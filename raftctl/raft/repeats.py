"""Decisions taken again and again: people are told the first, then what changed, then ever less often.

Without a quorum a pre-candidate asks every 12 ms after a RELEASE and every election timeout later, for ever,
and each voter answers. Only the telling is thinned out here, never the deciding.
"""

from __future__ import annotations

from typing import Dict, Hashable, NamedTuple

from raftctl.base.instants import Instant

FIRST_SILENCE_NS = 1_000_000_000


class _Told(NamedTuple):
    what: Hashable
    at: Instant
    silence_ns: int


class Repeats:
    """What was told last of each matter. Unchanged it is told again after 1 s, then 2 s, 4 s and so on."""

    def __init__(self) -> None:
        self._told: Dict[Hashable, _Told] = {}

    def is_due(self, now: Instant, about: Hashable, what: Hashable) -> bool:
        """Is `what` to be told of the matter `about` now? If so, it counts as told."""
        last = self._told.get(about)
        silence_ns = FIRST_SILENCE_NS
        if last is not None and last.what == what:
            if now.since(last.at) < last.silence_ns:
                return False
            silence_ns = 2 * last.silence_ns
        self._told[about] = _Told(what, now, silence_ns)
        return True

    def forget(self) -> None:
        """Somebody leads, or one that led is proven dead: whatever comes next is news."""
        self._told.clear()
