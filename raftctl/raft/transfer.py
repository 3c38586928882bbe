"""The end of a leadership by the leader's own will: transfer and orderly stop (dissertation §3.10; P2, P4).

A transfer begins with proposals held back until the successor has the whole log; so far all can be undone.
Then RELEASE goes to all, irrevocably, and within TimeoutNow to the successor. From that step on this node is
a follower that never holds a lease in this term again, whatever acks arrive, and campaigns like anybody else
if nobody wins: it must not lead on, as the successor may have slept and wakes only then (pitfall 1.1).

The successor skips the pre-vote and takes the next term at once, so that late words of the old leader undo
nothing (pitfall 1.9). The RELEASE is its token: in the vote requests of that one candidacy it ends the vows
that it names, also where the voter has not heard of it yet.
"""

from __future__ import annotations

from typing import Optional, Tuple

from raftctl.base.errors import require
from raftctl.base.instants import Instant
from raftctl.raft import election, proposals, release
from raftctl.raft.inputs import LEADER, Transferred
from raftctl.raft.messages import PLENTY, Instance, Release, TimeoutNow
from raftctl.raft.pledges import Handover
from raftctl.raft.standing import why_unfit
from raftctl.raft.state import MS, State

# --- the leader


def ask(state: State, now: Instant, request: int, to: Optional[Instance]) -> None:
    """Hand over to `to`, or to the best voter. Answered once; nothing is undone after `Ready.transferred`."""
    code, reason = why_not(state, now, to)
    if code:
        state.refuse(request, code, reason)
        return
    successor = to or best_successor(state, now)
    require(successor is not None, "a transfer to nobody")
    begin(state, now, successor, "transfer asked", request)  # type: ignore[arg-type]


def why_not(state: State, now: Instant, to: Optional[Instance]) -> Tuple[str, str]:
    """Return code and reason why a transfer to `to`, or to the best voter, would be refused; "" if not."""
    if state.role != LEADER:
        return "no_leader", "this node does not lead"
    if state.stopping:
        return "stopping", "hands over as soon as its outgoing work has ended"
    if state.handover:
        return "busy", f"hands over to {state.name(state.handover.successor)} already"
    successor = to or best_successor(state, now)
    if successor is None:
        return "refused", "no other voter is fit to lead"
    reason = why_no_successor(state, now, successor)
    return ("refused", f"{state.name(successor)} {reason}") if reason else ("", "")


def begin(state: State, now: Instant, successor: Instance, cause: str, request: Optional[int] = None) -> None:
    """Hold proposals until `successor` has caught up; one election min is enough, by the next heartbeat."""
    state.handover = Handover(request, successor, now.plus(state.timing.election_min), [])
    state.decide(cause, f"holds proposals until {state.name(successor)} has {state.log.last}")


def best_successor(state: State, now: Instant, *, waits: bool = True,
                   above: Optional[int] = None) -> Optional[Instance]:
    """Return the best of the fit voters that hold all that is committed: by priority, log, address.

    Where the leader does not wait for it to catch up, the longest log comes first, as the others vote by it.
    One whose disk is full comes last. `above`: only one of a higher priority that preempts.
    """
    fit = []
    for peer, progress in state.progress.items():
        standing, is_full = state.standings.of(peer), progress.room != PLENTY
        if above is not None and (is_full or not (standing.preempt and standing.priority > above)):
            continue
        if progress.match_index >= state.commit_index and not why_no_successor(state, now, peer):
            merits = (-standing.priority, -progress.match_index)
            fit.append((is_full, merits if waits else merits[::-1], state.name(peer), peer))
    return min(fit)[-1] if fit else None


def why_no_successor(state: State, now: Instant, peer: Instance) -> str:
    """Return why `peer` is not one to lead next, how far its log may be; empty where it is."""
    progress = state.progress.get(peer)
    if peer == state.own:
        return "leads already"
    if progress is None or not state.configuration.is_voter(peer):
        return "is no voter"
    if peer not in state.links:
        return "is not connected"
    if progress.last_ack is None or now.reached(progress.last_ack.plus(state.timing.election_min)):
        return "does not answer"
    return why_unfit(state.standings.of(peer))


def go_on(state: State, now: Instant) -> None:
    """Release the term once the successor has caught up, or lead on where it can't. After each input."""
    handover = state.handover
    if handover is None:
        return
    name = state.name(handover.successor)
    reason = why_no_successor(state, now, handover.successor)
    if reason:
        _abort(state, handover, "refused", f"{name} {reason}")
    elif state.progress[handover.successor].match_index == state.log.last_index:
        if handover.request is not None:
            state.transferred.append(Transferred(handover.request, handover.successor))
        state.handover = handover._replace(request=None)      # it is answered, what is held is not
        _release(state, now, f"{name} has {state.log.last}", handover.successor)
    elif now.reached(handover.deadline):
        _abort(state, handover, "timeout", f"{name} did not catch up in time")


def _abort(state: State, handover: Handover, code: str, reason: str) -> None:
    state.handover = None
    if handover.request is not None:
        state.refuse(handover.request, code, reason)
    state.decide(reason, "leads on")
    for given in handover.held:
        proposals.append(state, given)


def _release(state: State, now: Instant, cause: str, successor: Optional[Instance]) -> None:
    """Give the vows back, irrevocably in this term: then no word more as leader (P4)."""
    token = Release(state.own, state.incarnation, state.term, successor or "")
    state.decide(cause, f"releases term {state.term}"
                 + (f", tells {state.name(successor)} to lead" if successor else ""))
    for peer in state.peers:
        if peer == successor:
            known = state.log.position(state.progress[peer].match_index)
            state.send_now(peer, TimeoutNow(token, known))
        else:
            state.send_now(peer, token)
    state.resigned_term = state.term
    state.become_follower(now, state.term, None)


def wait_for_outgoing_work(state: State) -> None:
    """This node stops: give up a transfer that is under way; `resign` names whoever is the best by then."""
    if state.handover:
        reason = f"stops before {state.name(state.handover.successor)} caught up"
        _abort(state, state.handover, "stopping", reason)


def resign(state: State, now: Instant) -> None:
    """RELEASE now, and tell the best voter to lead, if one is known to hold all that is committed (P4)."""
    if state.role == LEADER:
        _release(state, now, "outgoing work has ended", best_successor(state, now, waits=False))


# --- the successor


def receive_timeout_now(state: State, now: Instant, peer: Instance, message: TimeoutNow) -> None:
    """Campaign at once, without a pre-vote; or say why not, and take it for the RELEASE that it is."""
    token = message.token
    reason = _why_not_lead(state, now, message)
    if reason:
        state.decide(f"{state.name(peer)} tells it to lead, but it {reason}", "does not")
        release.receive_release(state, now, token._replace(successor=""))
        return
    release.take(state, now, token)
    state.become_follower(now, state.term, None)
    state.hurry_end = now.plus(state.timing.election_min)
    election.begin_candidacy(state, now, f"{state.name(peer)} tells it to lead", token)


def _why_not_lead(state: State, now: Instant, message: TimeoutNow) -> str:
    token, vow = message.token, state.vow
    if token.term != state.term:
        return f"is in term {state.term}"
    if not state.is_voter or state.is_removed:
        return "is no voter"
    unfit = why_unfit(state.standings.own)
    if unfit:
        return unfit
    if state.is_installing:
        return "is installing a snapshot"
    if not state.log.holds(message.last):
        return f"holds no {message.last}"
    if not now.reached(vow.end) and not release.ends(vow, token):
        return f"has a vow to {state.name(vow.to)} for {now.until(vow.end) // MS} ms"
    return ""
