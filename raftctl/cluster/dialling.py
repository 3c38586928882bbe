"""Whom this node dials: members, whom founding or joining needs, and the file's list until there are members.

Pure. Owns no connection; the turn carries a changed answer to the links.
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

from raftctl.raft.configuration import Configuration


class Dialling:
    """The addresses to dial. Node thread only."""

    def __init__(self, own_address: str, listed: Tuple[str, ...]) -> None:
        self._own, self._listed = own_address, listed
        self._introduced: Tuple[str, ...] = ()
        self._asked: Tuple[Any, ...] = ()
        self._targets: Tuple[str, ...] = ()

    def introduce(self, address: str) -> None:
        """Without a configuration yet, the leader at `address` speaks to us: our answers need a way back."""
        self._introduced = (address,)

    def changed(self, configuration: Configuration, needed: Tuple[str, ...]) -> Optional[Tuple[str, ...]]:
        """Return the addresses to dial from now on, None where they are those of the last call.

        `needed`: of others than members. Called each turn: the same questions are answered by comparison.
        """
        asked = (configuration, self._introduced, needed)
        if asked == self._asked:
            return None
        self._asked = asked
        members = tuple(member.address for member in configuration.members)
        wanted = (members or self._listed + self._introduced) + needed
        targets = tuple(sorted({address: None for address in wanted if address != self._own}))
        if targets == self._targets:
            return None
        self._targets = targets
        return targets
