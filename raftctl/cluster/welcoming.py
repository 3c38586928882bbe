"""Whom the leader must tell that it is a member now: admitted nodes that know no cluster yet (design §6).

Only once the entry that admits it is committed: welcomed by one that a later leader lacks, a node would wait
for ever, in a cluster that does not name it. Founders get FOUND instead while somebody holds entry 1.
"""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from raftctl.cluster.handshake import Hello
from raftctl.cluster.joining import Reached
from raftctl.raft.configuration import Configuration
from raftctl.raft.core import Core


class Welcoming:
    """Node thread only."""

    def __init__(self) -> None:
        self._is_owed = True

    def owe(self) -> None:
        """Somebody was admitted, or a connection came up: there may be one to welcome."""
        self._is_owed = True

    def due(self, core: Core, founders: Optional[Configuration],
            reached: Dict[str, Reached]) -> List[Tuple[str, Reached]]:
        """Return (address, own dial) of all to be welcomed now; taken. `founders`: of a held entry 1."""
        if not self._is_owed or not core.is_settled:
            return []
        self._is_owed = False
        return [(address, found) for address, found in reached.items()
                if _knows_no_cluster(found.hello) and core.configuration.find(found.hello.instance)
                and not (founders and founders.find(found.hello.instance))]


def _knows_no_cluster(hello: Hello) -> bool:
    return not hello.cluster_id and hello.fresh
