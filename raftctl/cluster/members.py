"""The members as `status` shows them, by what this node knows itself: a row a member."""

from __future__ import annotations

from typing import Any, Dict, List

from raftctl.base.instants import Instant
from raftctl.cluster.joining import Reached
from raftctl.raft.core import Core

MS = 1_000_000


def rows(now: Instant, own: str, core: Core, reached: Dict[str, Reached]) -> List[Dict[str, Any]]:
    """Return a row a member: address, instance, role, isLeader, connected, lastContactMs, matchIndex.

    `own` is this node's instance, `reached` its own dials that are up, by address.
    """
    view = core.view()
    found = []
    for member in view.configuration.members:
        progress = core.progress.get(member.instance)
        link = reached.get(member.address)
        last = progress.last_ack if progress else None
        is_own = member.instance == own
        found.append({
            "address": member.address, "instance": member.instance,
            "role": "voter" if member.voter else "learner", "isLeader": member.instance == view.leader,
            "connected": is_own or bool(link and link.hello.instance == member.instance),
            "lastContactMs": now.since(last) // MS if last else None,
            "matchIndex": core.durable[1].index if is_own else progress.match_index if progress else None,
        })
    return found
