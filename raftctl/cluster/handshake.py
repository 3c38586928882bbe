"""Who may talk to whom: what a node says of itself at the start of a connection, and the verdict on it.

Owns the numbers of all frame kinds, `Hello` with its bytes, and `judge`, the rules for admission (P7, design
§4.4, §6). Pure. Leaves the proof of the secret to net/auth.py, the memory of who was seen to memory.py, and
founding and joining to their modules: fresh nodes and strangers to the configuration may connect, that is how
they are seen.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

from raftctl.base.addresses import parse as parse_address
from raftctl.base.errors import PeerFault, RaftctlError, UsageError
from raftctl.base.objects import parse_object
from raftctl.raft.messages import ORIGIN, Position

# The version before is accepted as well (design §4.4).
VERSION = 1
HELLO_LIMIT = 4096
NONCE_SIZE = 16

PEER = "peer"
GUARDIAN = "guardian"

HELLO = 1
PROOF = 2
REFUSED = 3
PING = 4
RAFT = 16
FOUND = 17
FOUND_ACK = 18
WELCOME = 19
JOIN = 20
FORWARD = 21
FORWARD_REPLY = 22
JOIN_REPLY = 23
OUTGOING = 24

# Kinds are below 64: the two high bits are net/frames.py's.
FRAME_KINDS: Dict[str, int] = {
    "HELLO": HELLO, "PROOF": PROOF, "REFUSED": REFUSED, "PING": PING,
    "RAFT": RAFT, "FOUND": FOUND, "FOUND_ACK": FOUND_ACK, "WELCOME": WELCOME, "JOIN": JOIN,
    "FORWARD": FORWARD, "FORWARD_REPLY": FORWARD_REPLY, "JOIN_REPLY": JOIN_REPLY,
    "OUTGOING": OUTGOING,
}  # fmt: skip

_LONGEST_WORD = 64
_LONGEST_LIST = 64
_LARGEST = 2**63 - 1


class Hello(NamedTuple):
    """What one side of a connection says of itself; the dialler's stands beside each frame that it sends.

    `expected_address` is whom the dialler wants to reach ("": it can't know: join, an acceptor). `fresh`: its
    log has no entry. `founding` is its `clusterNodes` list, its own address in it, sorted (empty: it has no
    list). `term` and `last` must be on disk already: peers remember them (P7). `start_id` is drawn by each
    process; a guardian has none (""). `generation` numbers the dialler's connections (P2), 0 from an
    acceptor. `nonce` and `secured` are filled in by net/auth.py.
    """

    version: int
    role: str
    cluster_id: str
    address: str
    expected_address: str
    instance: str
    incarnation: int
    start_id: str
    term: int = 0
    last: Position = ORIGIN
    fresh: bool = False
    founding: Tuple[str, ...] = ()
    generation: int = 0
    nonce: bytes = b""
    election_min_ns: int = 0
    heartbeat_ns: int = 0
    secured: bool = False


class Refusal(NamedTuple):
    """Why a connection is refused. `code` is one of `REFUSAL_CODES`; `message` is one line for people."""

    code: str
    message: str


class Seen(NamedTuple):
    """The last that an instance showed. `acked`: the last committed index that it acknowledged; 0: none."""

    incarnation: int
    start_id: str
    term: int = 0
    acked: int = 0


REFUSAL_CODES = ("secret", "version", "self", "cluster", "address", "list", "instance")

WENT_BACK = "data directory went back or is used twice"
_WENT_BACK_MEND = ("if a copy of it runs, stop the copy; if it was restored, stop that node, move its "
                   "directory away and start it: it rejoins empty")


def judge(own: Hello, theirs: Hello, known: Callable[[str], Optional[Seen]]) -> Optional[Refusal]:
    """Return why `own` refuses `theirs`, None where it does not; both sides of a connection ask it.

    `theirs` must be proven first if there is a secret (P8). `known` maps an instance to what it last showed.
    """
    for rule in _RULES:
        refusal = rule(own, theirs)
        if refusal:
            return refusal
    return _judge_instance(theirs, known(theirs.instance))


def speaks(version: int) -> bool:
    """Is `version` ours, the one before, or the one after (whose side speaks ours)?"""
    return version >= 1 and abs(version - VERSION) <= 1


def refuse_version(version: Any) -> Refusal:
    return Refusal("version",
                   f"speaks protocol version {version}, this node {VERSION}; bring both to one release")


def _judge_version(own: Hello, theirs: Hello) -> Optional[Refusal]:
    return None if speaks(theirs.version) else refuse_version(theirs.version)


def _judge_self(own: Hello, theirs: Hello) -> Optional[Refusal]:
    if theirs.instance != own.instance:
        return None
    if theirs.start_id == own.start_id:
        return Refusal("self",
                       f"{theirs.address} is this node itself; one address of the list leads back to it")
    return Refusal(
        "self",
        f"{theirs.address} and {own.address} run on the same instance {own.instance}: one data directory "
        "is a copy of the other; stop that one, move its directory away and start it: it rejoins empty",
    )


def _judge_cluster(own: Hello, theirs: Hello) -> Optional[Refusal]:
    if not own.cluster_id or not theirs.cluster_id or own.cluster_id == theirs.cluster_id:
        return None
    return Refusal(
        "cluster",
        f"{theirs.address} belongs to cluster {theirs.cluster_id}, {own.address} to {own.cluster_id}",
    )


def _judge_address(own: Hello, theirs: Hello) -> Optional[Refusal]:
    for expected, actual in (
        (theirs.expected_address, own.address),
        (own.expected_address, theirs.address),
    ):
        if expected and expected != actual:
            return Refusal("address", f"dialled {expected}, but the node there calls itself {actual}")
    return None


def _judge_list(own: Hello, theirs: Hello) -> Optional[Refusal]:
    both_found = own.fresh and theirs.fresh and own.founding and theirs.founding
    if not both_found or own.founding == theirs.founding:
        return None
    return Refusal(
        "list",
        f"clusterNodes differ: {own.address} has {' '.join(own.founding)}; "
        f"{theirs.address} has {' '.join(theirs.founding)}; make them equal",
    )


_RULES = (_judge_version, _judge_self, _judge_cluster, _judge_address, _judge_list)


def _judge_instance(theirs: Hello, seen: Optional[Seen]) -> Optional[Refusal]:
    # A guardian speaks for a process that has ended: a later one may be there by now.
    if seen is None or theirs.role == GUARDIAN:
        return None
    if theirs.incarnation < seen.incarnation:
        what = f"incarnation {theirs.incarnation} after {seen.incarnation}"
    elif theirs.incarnation == seen.incarnation and theirs.start_id != seen.start_id:
        what = f"incarnation {theirs.incarnation} from two processes"
    elif theirs.term < seen.term:
        what = f"term {theirs.term} after {seen.term}"
    elif theirs.last.index < seen.acked:
        what = f"its log ends at {theirs.last.index}, it acknowledged {seen.acked}"
    else:
        return None
    return Refusal("instance", f"{theirs.address}: {WENT_BACK} ({what}); {_WENT_BACK_MEND}")


def encode_hello(hello: Hello) -> bytes:
    """Return the body of a HELLO frame; `UsageError` where the list of nodes makes it larger than 4 KiB."""
    fields = hello._asdict()
    fields["last"] = list(hello.last)
    fields["founding"] = list(hello.founding)
    fields["nonce"] = hello.nonce.hex()
    body = json.dumps(fields, separators=(",", ":")).encode("ascii")
    if len(body) > HELLO_LIMIT:
        raise UsageError(f"clusterNodes: the list takes {len(body)} bytes, more than {HELLO_LIMIT}; "
                         "shorten the names")
    return body


def read_version(body: bytes) -> Tuple[Dict[str, Any], int]:
    """Return the fields of a HELLO and its version; `PeerFault` where it is none.

    The version alone is looked at: all other fields may differ in a version that we don't speak.
    """
    if len(body) > HELLO_LIMIT:
        raise PeerFault(f"hello of {len(body)} bytes, more than {HELLO_LIMIT}")
    try:
        fields = parse_object(body)
    except ValueError as error:
        raise PeerFault(f"hello is malformed: {error}") from None
    return fields, _number(fields, "version")


def decode_hello(body: bytes) -> Hello:
    """Return the hello that `encode_hello` wrote; unknown fields are ignored, all else raises `PeerFault`."""
    fields, version = read_version(body)
    return Hello(
        version=version,
        role=_choice(fields, "role", (PEER, GUARDIAN)),
        cluster_id=_word(fields, "cluster_id"),
        address=_address(fields.get("address"), "address"),
        expected_address=_expected(fields),
        instance=_word(fields, "instance", empty=False),
        incarnation=_number(fields, "incarnation", least=1),
        start_id=_word(fields, "start_id", empty=fields.get("role") == GUARDIAN),
        term=_number(fields, "term"),
        last=_position(fields),
        fresh=_flag(fields, "fresh"),
        founding=_founding(fields),
        generation=_number(fields, "generation"),
        nonce=_nonce(fields),
        election_min_ns=_number(fields, "election_min_ns"),
        heartbeat_ns=_number(fields, "heartbeat_ns"),
        secured=_flag(fields, "secured"),
    )


def _malformed(name: str) -> PeerFault:
    return PeerFault(f'hello is malformed: "{name}" is missing or wrong')


def _is_number(value: Any, least: int = 0) -> bool:
    return type(value) is int and least <= value <= _LARGEST


def _number(fields: Dict[str, Any], name: str, least: int = 0) -> int:
    value = fields.get(name)
    if not _is_number(value, least):
        raise _malformed(name)
    return value


def _flag(fields: Dict[str, Any], name: str) -> bool:
    value = fields.get(name)
    if not isinstance(value, bool):
        raise _malformed(name)
    return value


def _choice(fields: Dict[str, Any], name: str, allowed: Tuple[str, ...]) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or value not in allowed:
        raise _malformed(name)
    return value


def _word(fields: Dict[str, Any], name: str, *, empty: bool = True) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or len(value) > _LONGEST_WORD or not (value or empty):
        raise _malformed(name)
    if not all("!" <= letter <= "~" for letter in value):
        raise _malformed(name)
    return value


def _address(value: Any, name: str) -> str:
    # Only the canonical form: addresses are compared as text.
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise _malformed(name)
    try:
        if str(parse_address(value)) == value:
            return value
    except RaftctlError:
        pass
    raise _malformed(name)


def _expected(fields: Dict[str, Any]) -> str:
    value = fields.get("expected_address")
    return "" if value == "" else _address(value, "expected_address")


def _position(fields: Dict[str, Any]) -> Position:
    value = fields.get("last")
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_number, value)):
        raise _malformed("last")
    return Position(*value)


def _founding(fields: Dict[str, Any]) -> Tuple[str, ...]:
    value = fields.get("founding")
    if not isinstance(value, list) or len(value) > _LONGEST_LIST:
        raise _malformed("founding")
    return tuple(_address(item, "founding") for item in value)


def _nonce(fields: Dict[str, Any]) -> bytes:
    value = _word(fields, "nonce")
    try:
        nonce = bytes.fromhex(value)
    except ValueError:
        raise _malformed("nonce") from None
    if len(nonce) != NONCE_SIZE:
        raise _malformed("nonce")
    return nonce
