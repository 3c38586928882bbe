"""Removed nodes are told so, and campaign no more (design §6; dissertation §4.2.3; pitfall 3.10).

Who is removed gets no entry any more, so it never learns that from its log: it hears no leader and asks for
votes. Whoever knows better answers with what only a member can know: a committed configuration without it,
and the committed position at which that one holds. Positions of committed entries and of later ones compare
by term and index: one that is behind, and lacks the entry that added us, has an earlier position than that
entry and is not believed. The notice is on disk; it ends only with an entry that names this node again.
"""

from __future__ import annotations

from raftctl.base.instants import Instant
from raftctl.raft import configuration as configurations
from raftctl.raft.configuration import Configuration
from raftctl.raft.messages import ORIGIN, Instance, Removed
from raftctl.raft.state import State


def tell(state: State, peer: Instance) -> None:
    """Tell `peer`, which asks for votes, that it is removed, if that is known to be committed here."""
    if not state.configuration.members or state.configuration.find(peer):
        return
    if state.configuration_index > state.commit_index or state.is_installing:
        return          # may yet be taken back, or is not durable
    position = state.log.position(state.commit_index)
    state.send_now(peer, Removed(position, configurations.encode(state.configuration)))


def receive_removed(state: State, now: Instant, peer: Instance, message: Removed) -> None:
    """Believe a later configuration of our cluster that does not name this node: campaign no more."""
    found = configurations.decode(message.configuration)
    if state.hard.removed != ORIGIN or not _is_news(state, message, found):
        return
    state.decide(f"{state.name(peer)} shows members of {message.position}, without this node",
                 "removed, campaigns no more")
    state.set_hard(removed=message.position)
    state.become_follower(now, state.term, None)


def _is_news(state: State, message: Removed, found: Configuration) -> bool:
    own = state.configuration
    # Up to the base ours is the newest committed one: a place before it can't know of another.
    known = max(state.configuration_index, state.log.base.index)
    return (own.find(state.own) is not None and own.cluster_id == found.cluster_id
            and found.find(state.own) is None
            and message.position > state.log.position(known))
