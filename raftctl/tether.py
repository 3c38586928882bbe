"""What passes between guardian and node: JSON lines over a socketpair, and the lease board in shared memory.

Owns the table of messages, their framing (sans-io) and the board. Leaves the sockets, and what the words make
either side do, to host/keeper.py and node/daemon.py. The end of the tether is a message too: whoever sees it
closed ends (the node) or ends the other (the guardian), P6.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
import zlib
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from raftctl.base.errors import OurFault, PeerFault, require
from raftctl.base.groups import Group
from raftctl.base.instants import Instant
from raftctl.base.objects import parse_object

# From the node.
OPENED = "opened"
LOCKED = "locked"
READY = "ready"
STATUS = "status"
STATE = "state"
PEERS = "peers"
STOPPING = "stopping"
PONG = "pong"
# From the guardian.
STOP = "stop"
PING = "ping"
HOOKS = "hooks"
ENDED = "ended"
RELOAD = "reload"
OUTGOING_DONE = "outgoing_done"
WORK = "work"
CHECK = "check"

# Kind → its fields and their types. Each side checks both what it sends and what it gets; further fields and
# kinds are ignored: after an upgrade in place the node is newer than its guardian.
MESSAGES: Dict[str, Dict[str, Tuple[type, ...]]] = {
    # It has the lock of its directory, and there the note of a `leader` hook of a former run, if any. Was
    # that run in this very directory, and since this host was booted?
    OPENED: {"instance": (str,), "note": (str, type(None)), "sameLock": (bool,), "sameBoot": (bool,)},
    LOCKED: {"instance": (str,), "incarnation": (int,), "term": (int,), "clusterId": (str,)},
    READY: {},
    STATUS: {"text": (str,)},
    STATE: {"state": (str,), "previous": (str,), "term": (int,), "leader": (str, type(None)),
            "reason": (str,), "role": (str,), "members": (list,), "clusterId": (str,), "record": (int,)},
    PEERS: {"endpoints": (list,)},
    STOPPING: {},
    STOP: {},
    # Once a second each way; a node answers from the thread that leads.
    PING: {"pid": (int,)},
    PONG: {},
    # Of each hook that failed, how often, since the guardian began.
    HOOKS: {"failures": (dict,)},
    # How and when (Unix time, s) the process before this one ended, where nobody asked for it.
    ENDED: {"at": (float,), "text": (str,)},
    # What changed in the file while the node runs; secrets are in hexadecimal, the socketpair is private.
    RELOAD: {"logFile": (str, type(None)), "logLevel": (str,), "secrets": (list,)},
    OUTGOING_DONE: {},
    # What of this host's work is over (P6): the fields of cluster/takeover.py's `HostWork`; `limit` in ns.
    WORK: {"state": (str,), "index": (int,), "ended": (int,), "hooked": (bool,), "limit": (int,),
           "begun": (int,), "begunWell": (bool,)},
    # What the health check of this host says: the fields of cluster/checking.py's `Checked`.
    CHECK: {"state": (str,), "since": (float,), "passed": (bool,), "count": (int,), "status": (str,),
            "line": (str,), "cause": (str,)},
}
# The guardian is silent, or the node: looked for as often as PING.
PULSE_NS = 1_000_000_000
LINE_LIMIT = 256 * 1024


def _flaw(message: Dict[str, Any]) -> str:
    """Return what is wrong with `message`, "" where nothing is."""
    kind = message.get("kind")
    if not isinstance(kind, str):
        return "no kind"
    for name, types in MESSAGES.get(kind, {}).items():
        if type(message.get(name, ...)) not in types:
            return f'{kind}: "{name}" is missing or wrong'
    return ""


def encode(message: Dict[str, Any]) -> bytes:
    """Return the line for `message`, a dict with "kind" and the fields of `MESSAGES`."""
    require(message.get("kind") in MESSAGES and not _flaw(message), "tether message", message)
    line = json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"
    require(len(line) <= LINE_LIMIT, "tether message too long", message["kind"], len(line))
    return line


class Line:
    """Cuts the bytes of a stream into messages; never reads a socket itself. One thread."""

    def __init__(self) -> None:
        self._rest = b""

    def receive(self, data: bytes) -> List[Dict[str, Any]]:
        """Return the messages that `data` completes, in order; kinds unknown here are left out.

        Raises `PeerFault` for what no process of ours sends. The end of the stream is the caller's to see: a
        line cut short by it is no message.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_LIMIT:
            raise PeerFault(f"tether: a line of more than {LINE_LIMIT} bytes")
        messages = map(_parse, lines)
        return [message for message in messages if message["kind"] in MESSAGES]


def _parse(line: bytes) -> Dict[str, Any]:
    try:
        message = parse_object(line)
    except ValueError as error:
        raise PeerFault(f"tether: a line is {error}") from None
    flaw = _flaw(message)
    if flaw:
        raise PeerFault(f"tether: {flaw}")
    return message


class BoardState(NamedTuple):
    """What the node shows. `term`: the last that this process led, 0: none. `lease_end`: while `leading`."""

    incarnation: int = 0
    term: int = 0
    leading: bool = False
    lease_end: Instant = Instant(0, 0)


_MAGIC = b"raftctl2"
# Incarnation, term, leading, padding, lease end on both clocks.
_STATE = struct.Struct("=QQB7xqq")
GROUPS_LIMIT = 6
_GROUPS = struct.Struct(f"={2 * GROUPS_LIMIT}Q")
# Where the counters stand, and the slots, each with room for 160 bytes.
_STATE_AT, _GROUPS_AT = (8, 64), (16, 384)
_SLOT_ROOM = 160
_SIZE = 704
_READ_TRIES = 1000


class _Slots:
    """A value that one process writes and others read, none of them ever waiting.

    Two slots are written in turn, each under its number and a checksum, and a sequence counter names the
    newest. So a writer that is killed half-way leaves the value before it whole, and no order of stores that
    a processor chooses can show a torn one.
    """

    _NUMBER, _CHECKSUM = struct.Struct("=Q"), struct.Struct("=I")

    def __init__(self, memory: mmap.mmap, places: Tuple[int, int], layout: struct.Struct) -> None:
        """`places`: of the counter and of the first slot, multiples of 8."""
        at, slots = places
        self._memory, self._layout = memory, layout
        # Which slot is the newest: one aligned store of 8 bytes, which is not torn between processes. Not by
        # `struct.pack_into`: that fills the place with zeros first, and a writer may be stopped there.
        self._sequence = memoryview(memory)[at:at + 8].cast("Q")
        self._body = self._NUMBER.size + layout.size
        self._slots = (slots, slots + _SLOT_ROOM)

    def write(self, *values: Any) -> None:
        sequence = self._sequence[0] + 1
        body = self._NUMBER.pack(sequence) + self._layout.pack(*values)
        start = self._slots[sequence % 2]
        self._memory[start:start + self._body + self._CHECKSUM.size] = body + self._CHECKSUM.pack(
            zlib.crc32(body))
        self._sequence[0] = sequence

    def read(self) -> Tuple[Any, ...]:
        for _ in range(_READ_TRIES):
            sequence = self._sequence[0]
            start = self._slots[sequence % 2]
            found = bytes(self._memory[start:start + self._body + self._CHECKSUM.size])
            body = found[:self._body]
            # Another number: two values were written while this one was read.
            if (self._NUMBER.unpack_from(body)[0] == sequence
                    and self._CHECKSUM.unpack_from(found, self._body)[0] == zlib.crc32(body)):
                return self._layout.unpack_from(body, self._NUMBER.size)
        raise OurFault("the lease board is damaged")

    def close(self) -> None:
        self._sequence.release()


class Board:
    """The lease board: the node publishes its lease, the guardian reads it and names its process groups.

    `publish`: the node thread alone; `name_groups`: the guardian alone; all else: any thread of either.
    """

    def __init__(self, fd: int, memory: mmap.mmap) -> None:
        self.fd = fd
        self._memory = memory
        self._state = _Slots(memory, _STATE_AT, _STATE)
        self._groups = _Slots(memory, _GROUPS_AT, _GROUPS)

    @classmethod
    def create(cls) -> Board:
        """Make a board that shows `BoardState()`; `fd` is to be passed on to the node (close-on-exec)."""
        fd = os.memfd_create("raftctl-board", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, _SIZE)
        # A truncated mapping would kill its readers by SIGBUS.
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        board = cls(fd, mmap.mmap(fd, _SIZE))
        board._memory[:len(_MAGIC)] = _MAGIC
        board.publish(BoardState())
        board.name_groups(())
        return board

    @classmethod
    def attach(cls, fd: int) -> Board:
        """Map the guardian's board behind `fd`; raise `OurFault` where it is none. Takes `fd` over."""
        require(os.fstat(fd).st_size == _SIZE, "not a lease board", fd)
        memory = mmap.mmap(fd, _SIZE)
        require(memory[:len(_MAGIC)] == _MAGIC, "not a lease board", fd)
        os.set_inheritable(fd, False)
        return cls(fd, memory)

    def publish(self, state: BoardState) -> None:
        """Show `state`. To be called before the first message of a term that it leads in leaves (P4), and at
        each change of the lease; a `lease_end` shown here may be acted on by the guardian until it passes."""
        self._state.write(state.incarnation, state.term, state.leading, *state.lease_end)

    def read(self) -> BoardState:
        """Return the state last shown, whole."""
        incarnation, term, leading, boot, raw = self._state.read()
        return BoardState(incarnation, term, bool(leading), Instant(boot, raw))

    def leased(self, now: Instant) -> bool:
        """Does the node hold its lease at `now` (P2)? Read the clock after nothing else that takes time."""
        state = self.read()
        return state.leading and now.within(state.lease_end)

    def name_groups(self, groups: Sequence[Group]) -> None:
        """Show which groups run: they are ended where the guardian dies (P6). At most GROUPS_LIMIT."""
        require(len(groups) <= GROUPS_LIMIT, "too many process groups", len(groups))
        flat = [number for group in groups for number in group]
        self._groups.write(*flat, *[0] * (2 * GROUPS_LIMIT - len(flat)))

    def groups(self) -> Tuple[Group, ...]:
        """Return the groups last named."""
        flat = self._groups.read()
        return tuple(Group(*pair) for pair in zip(flat[::2], flat[1::2]) if pair[0])

    def close(self) -> None:
        self._state.close()
        self._groups.close()
        self._memory.close()
        os.close(self.fd)
