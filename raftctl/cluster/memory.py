"""What each instance showed of itself, so that one that went back or is used twice is caught (P7).

Pure. Owns one table, instance → `Seen`, and its bytes, which the journal takes along with the next batch: no
sync of its own, so a crash forgets at most what came since. What the table means is `handshake.judge`'s.
Members are never forgotten; of instances that only passed by, the newest `STRANGERS` are kept, in memory
alone.

A hello that was written just before an ack on another connection, and read after it, looks like one of a
directory that went back: it is refused once, the next dial shows the present.
"""

from __future__ import annotations

import struct
from typing import Dict, Optional, Tuple

from raftctl.cluster.handshake import Hello, Refusal, Seen, judge
from raftctl.raft.configuration import Malformed
from raftctl.raft.messages import Append, AppendReply, Install, InstallReply, Instance, Vote, VoteReply

STRANGERS = 64

# These carry a term that is on their sender's disk. A pre-vote asks for a term that nobody has yet, and its
# answer may show one that is still on its way to the disk: neither is a promise.
_DURABLE_TERM = (Append, AppendReply, Install, InstallReply, Vote, VoteReply)
_NUMBERS = struct.Struct("!QQQ")
_LONGEST_WORD = 64


class Memory:
    """The table of one node. One thread, or a lock around each call (`auth.Witness`)."""

    def __init__(self, kept: bytes = b"") -> None:
        """`kept`: what `take` gave last before this start, or nothing; raises `Malformed`."""
        self._seen: Dict[Instance, Seen] = decode(kept)
        self._members: Tuple[Instance, ...] = tuple(self._seen)
        self._kept = kept
        self._acknowledged: Tuple[Tuple[Instance, int], ...] = ()

    def judge(self, own: Hello, theirs: Hello) -> Optional[Refusal]:
        """Return why `own` refuses `theirs`; else remember what `theirs` shows."""
        refusal = judge(own, theirs, self._seen.get)
        if refusal is None and theirs.start_id:       # a guardian has none: it is no process of its node
            self._shook_hands(theirs)
        return refusal

    def _shook_hands(self, theirs: Hello) -> None:
        before = self._seen.pop(theirs.instance, None)
        strangers = [instance for instance in self._seen if instance not in self._members]
        if len(strangers) >= STRANGERS:
            del self._seen[strangers[0]]
        self._seen[theirs.instance] = Seen(theirs.incarnation, theirs.start_id, theirs.term,
                                           before.acked if before else 0)

    def heard(self, instance: Instance, message: object) -> None:
        """Note the term of a Raft message of `instance`."""
        if isinstance(message, _DURABLE_TERM):
            self._raise(instance, term=message.term)  # type: ignore[attr-defined]

    def acknowledged_are(self, acknowledged: Tuple[Tuple[Instance, int], ...]) -> None:
        """Note what a leader knows of each peer; as `acknowledged`."""
        if acknowledged != self._acknowledged:
            self._acknowledged = acknowledged
            for instance, index in acknowledged:
                self.acknowledged(instance, index)

    def acknowledged(self, instance: Instance, index: int) -> None:
        """Note that all up to `index` is committed, and on the disk of `instance` by its own word.

        Only what is committed: a newer leader may have it truncate the rest.
        """
        self._raise(instance, acked=index)

    def _raise(self, instance: Instance, term: int = 0, acked: int = 0) -> None:
        seen = self._seen.get(instance)
        if seen is not None and (term > seen.term or acked > seen.acked):
            self._seen[instance] = seen._replace(term=max(term, seen.term), acked=max(acked, seen.acked))

    def take(self, members: Tuple[Instance, ...], *, committed: bool) -> Optional[bytes]:
        """Return the bytes to go with the batch that is written now, None where they are there already.

        `members` of the newest configuration are kept; others are forgotten once that is `committed`, as it
        may yet be taken back.
        """
        keep = members if committed else tuple(dict.fromkeys(self._members + members))
        self._members = keep
        kept = encode({instance: self._seen[instance] for instance in keep if instance in self._seen})
        if kept == self._kept:
            return None
        self._kept = kept
        return kept


def encode(table: Dict[Instance, Seen]) -> bytes:
    """Return incarnation, term, acknowledged index (u64 each), instance and start id of each, one by one."""
    parts = []
    for instance, seen in table.items():
        parts.append(_NUMBERS.pack(seen.incarnation, seen.term, seen.acked))
        parts += [bytes([len(word)]) + word.encode("ascii") for word in (instance, seen.start_id)]
    return b"".join(parts)


def decode(data: bytes) -> Dict[Instance, Seen]:
    """Return the table that `encode` wrote; raise `Malformed` where it is none."""
    table: Dict[Instance, Seen] = {}
    offset = 0
    while offset < len(data):
        if offset + _NUMBERS.size > len(data):
            raise Malformed(f"memory of the members cut short at byte {offset}")
        incarnation, term, acked = _NUMBERS.unpack_from(data, offset)
        instance, offset = _take_word(data, offset + _NUMBERS.size)
        start_id, offset = _take_word(data, offset)
        table[instance] = Seen(incarnation, start_id, term, acked)
    return table


def _take_word(data: bytes, offset: int) -> Tuple[str, int]:
    size = data[offset] if offset < len(data) else 0
    end = offset + 1 + size
    word = data[offset + 1:end]
    if not 0 < size <= _LONGEST_WORD or end > len(data) or not word.isascii():
        raise Malformed(f"memory of the members is wrong at byte {offset}")
    return word.decode("ascii"), end
