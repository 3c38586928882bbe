"""Takeover records: when a leader is LEADER to users, and which record its `leader` hook starts under (P6).

Pure. Owns the reading of the last record, the wait for the work of the host that it names, and what is to be
proposed. The record is `store/takeovers.py`'s, what runs on this host its guardian's (`host/outgoing.py`), a
hand-over by will `handing.py`'s. Elections, store and reads never wait for any of it.
"""

from __future__ import annotations

import struct
from typing import Callable, Dict, NamedTuple, Optional, Tuple

from raftctl.base.errors import PeerFault
from raftctl.base.instants import Instant, later
from raftctl.raft.messages import Instance
from raftctl.store import takeovers
from raftctl.store.takeovers import Record, encode_done, encode_open

# What a guardian says of its host's work. OPEN: a `leader` hook has begun, and its outgoing work has not
# ended; FAILED: that ended, but not with status 0.
NONE = "none"
OPEN = "open"
FAILED = "failed"
WORK = (NONE, OPEN, FAILED)

# The words about outgoing work in an OUTGOING frame.
GOES_ON = 1
ENDED = 2
# Repeated twice a second; one of three may be lost.
GOES_ON_EVERY_NS = 500_000_000
GOES_ON_LASTS_NS = 1_700_000_000
# A leader that waits looks so often; after a longer gap it was deaf (SIGSTOP, a busy host), and may have
# missed words: it does not take that for silence before the next one would have come.
LOOK_EVERY_NS = 100_000_000
DEAF_NS = 250_000_000
NEXT_WORD_NS = 700_000_000

NEVER = Instant(0, 0)
_WORD = struct.Struct("!BQ")


def encode_word(word: int, index: int) -> bytes:
    """Return the body of an OUTGOING frame: `GOES_ON` or `ENDED`, of the work of record `index`."""
    return _WORD.pack(word, index)


def read_word(body: bytes) -> Tuple[int, int]:
    """Return (word, index); raise `PeerFault` for anything that `encode_word` does not write."""
    if len(body) != _WORD.size or body[0] not in (GOES_ON, ENDED):
        raise PeerFault(f"word about outgoing work of {len(body)} bytes")
    word, index = _WORD.unpack(body)
    return word, index


class HostWork(NamedTuple):
    """What the guardian of this host says. `index`: the record of the work that is not over, 0 where unknown.

    `ended`: all work of this host under records up to this index is over, and none of them starts any more.
    `hooked`: it has a `leader` hook; `limit`: how long the outgoing work may take, in ns. `begun`: the record
    under which a `leader` hook has run to its end, `begun_well` with status 0.
    """

    state: str
    index: int
    ended: int
    hooked: bool
    limit: int
    begun: int = 0
    begun_well: bool = True


class Leadership(NamedTuple):
    """What a leader is. `since`: its election; `is_ready`: its no-op is applied; `is_fit`: it has the lease,
    and may be LEADER for all else. `yields`: why it hands over by its own will, "" where it does not."""

    term: int
    since: Instant
    is_ready: bool
    is_fit: bool = True
    yields: str = ""


class Verdict(NamedTuple):
    """What follows now. `waits`: why a leader is no LEADER to users yet, `until` when at most (None: open).

    `index`: the open record under which the `leader` hook may start; 0: it must not. `propose`: the body of a
    TAKEOVER entry; `report`: tell the leader that the own work under this record is over; 0: nothing. `due`:
    look again then.
    """

    waits: str = ""
    until: Optional[Instant] = None
    index: int = 0
    propose: Optional[bytes] = None
    report: int = 0
    due: Optional[Instant] = None


class Takeover:
    """The takeover of one node process. One thread."""

    def __init__(self, own: Instance, delay: int, name: Callable[[Instance], str]) -> None:
        """`delay`: the own `takeover delay` in ns. `name` returns what people call an instance."""
        self._own, self._delay, self._name = own, delay, name
        self.host: Optional[HostWork] = None
        self._told = 0               # the last record that the guardian was told to start under
        self._granted = 0            # the term in which the wait is over
        self._asked: Tuple[int, int, bytes] = (0, 0, b"")
        self._goes_on: Dict[Instance, Tuple[int, Instant]] = {}
        self._ended: Dict[Instance, int] = {}
        self._reported: Tuple[int, Optional[Instant]] = (0, None)
        # The term of the last look of a waiting leader, when it was, and since when it was never deaf.
        self._looked: Tuple[int, Instant, Instant] = (0, NEVER, NEVER)

    def heard(self, now: Instant, instance: Instance, body: bytes) -> None:
        """A member, or its guardian, speaks of the work of its own host; raises `PeerFault`."""
        word, index = read_word(body)
        if word == GOES_ON:
            self._goes_on[instance] = index, now.plus(GOES_ON_LASTS_NS)
        else:
            self._ended[instance] = max(self._ended.get(instance, 0), index)

    def look(self, now: Instant, last: Optional[Record], leadership: Optional[Leadership]) -> Verdict:
        """Return what follows from `last`, the last record that is applied here; None: it does not lead."""
        if leadership is None:
            return self._follow(now, last)
        if not leadership.is_ready:
            return Verdict("its first entry is not applied yet")
        is_active = leadership.is_fit and not leadership.yields
        if is_active and last and self._is_own(last) and last.term == leadership.term:
            self._told = max(self._told, last.index)       # opened just now: its hook begins, nothing is over
        done = encode_done(last.index) if last and self._is_over(last) else None
        end = self._wait_end(now, last, leadership) if self._granted != leadership.term else None
        if end is not None:
            return Verdict(self._why(last), end, propose=self._once(leadership, last, done),
                           due=min(end, now.plus(LOOK_EVERY_NS), key=now.until))
        self._granted = leadership.term
        if done or not is_active:
            return Verdict(leadership.yields, propose=self._once(leadership, last, done))
        if self._is_own(last):
            self._told = last.index  # type: ignore[union-attr]
            return Verdict(index=self._told)
        if not self.host or not self.host.hooked:
            return Verdict()
        opened = encode_open(self._own, self._delay, self.host.limit)
        return Verdict(propose=self._once(leadership, last, opened))

    def _follow(self, now: Instant, last: Optional[Record]) -> Verdict:
        """Not the leader: tell that one of the own work that is over, until the record says so."""
        if last is None or not self._is_own(last) or not self._is_over(last):
            return Verdict()
        index, again = self._reported
        if index != last.index or again is None or now.reached(again):
            again = now.plus(GOES_ON_EVERY_NS)
            self._reported = last.index, again
            return Verdict(report=last.index, due=again)
        return Verdict(due=again)

    def _is_own(self, last: Optional[Record]) -> bool:
        return last is not None and not last.done and last.instance == self._own

    def _is_over(self, last: Record) -> bool:
        """Has the work under the open record `last` ended with status 0, or never begun?"""
        if last.done:
            return False
        if self._ended.get(last.instance, 0) == last.index:
            return True
        if last.instance != self._own or self.host is None or self.host.state != NONE:
            return False
        # Under a record of which this guardian was never told, nothing has begun.
        return last.index <= self.host.ended or self._told < last.index

    def _is_armed(self, last: Record) -> bool:
        host = self.host
        return self._told == last.index or (host is not None and host.state != NONE
                                            and host.index == last.index)

    def _wait_end(self, now: Instant, last: Optional[Record], leadership: Leadership) -> Optional[Instant]:
        """Return until when the work of another host may go on, None where nothing is to be waited for."""
        if last is None or last.done or (last.instance == self._own and self._is_armed(last)):
            return None
        delay = max(last.delay, self._delay)
        most = leadership.since.plus(max(last.limit, delay))
        end = min(self._heard_enough(now, leadership, delay), most, key=now.until)
        if not now.reached(end):
            return end
        index, until = self._goes_on.get(last.instance, (0, now))
        if index != last.index or now.reached(until) or now.reached(most):
            return None
        return until if now.until(until) < now.until(most) else most

    def _heard_enough(self, now: Instant, leadership: Leadership, delay: int) -> Instant:
        """Return from when on silence means that nothing goes on: `delay` after the election, of hearing."""
        term, last_look, awake = self._looked
        if term != leadership.term:
            last_look = awake = leadership.since
        if now.since(last_look) > DEAF_NS:
            awake = now
        self._looked = leadership.term, now, awake
        end = leadership.since.plus(delay)
        return end if awake == leadership.since else later(end, awake.plus(NEXT_WORD_NS))

    def _why(self, last: Optional[Record]) -> str:
        if last is None or last.instance == self._own:
            return "waits until the former work of this host has ended"
        return f"waits until the work of {self._name(last.instance)} has ended"

    def _once(self, leadership: Leadership, last: Optional[Record], body: Optional[bytes]) -> Optional[bytes]:
        """Return `body` the first time: what a leader appended stays in its log as long as it leads."""
        key = (leadership.term, last.index if last else 0, body or b"")
        if body is None or key == self._asked:
            return None
        self._asked = key
        return body

    def is_clear(self, last: Optional[Record], term: int) -> bool:
        """Does nothing run on this host by the leadership of `term`, and does the last record say so?"""
        in_term, behind, body = self._asked
        opens = (in_term, behind, body[:1]) == (term, last.index if last else 0, bytes([takeovers.OPEN]))
        return not opens and not self._is_own(last) and (self.host is None or self.host.state == NONE)

    def is_settled(self, last: Optional[Record]) -> bool:
        """Is there nothing that a leader has yet to commit about the own work?"""
        return last is None or not self._is_own(last) or not self._is_over(last)
