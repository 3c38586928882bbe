"""The handshake of two peers, and the seal on each frame after it. Sans-io: links.py, listen.py and
host/release.py move the bytes.

    dialler  HELLO ->            says who it is, with a nonce
             <- HELLO  acceptor  the same
             PROOF ->            knows the secret; the acceptor judges now
             <- PROOF            knows it too, and lets the dialler in; the dialler judges now

A proof is HMAC-SHA-256 under the secret over the prover's role and both hellos as sent: nonces, addresses,
instances, version and "secured" are in them, so a mirrored, replayed or altered hello proves nothing (pitfall
11.2). The first secret signs, all verify (rotation). From the secret that signed comes a key for each
direction; every frame then has a number (counted, not sent) and a MAC. Without secrets the same frames are
empty-handed. Refusals for the secret or the version say nothing else; all others come after the proof and are
signed.
"""

from __future__ import annotations

import json
import os
import struct
import threading
from typing import Callable, NamedTuple, Optional, Tuple

from raftctl.base.errors import PeerFault, require
from raftctl.base.objects import parse_object
from raftctl.cluster import handshake
from raftctl.cluster.handshake import Hello, Refusal
from raftctl.cluster.memory import Memory
from raftctl.net import digest, frames
from raftctl.net.frames import CLOSED, MAC_SIZE, NEED_DATA, FrameReader

Judge = Callable[[Hello, Hello], Optional[Refusal]]

_PROOF_SIZE = 32
_LONGEST_MESSAGE = 1000
_ORDER = struct.Struct(">QB")

# Refusals that a stranger may send: our words, never its own.
_UNPROVEN = {
    "secret": "the secret differs, or only one side has one",
    "version": "the node there speaks another protocol version; bring both to one release",
}


class Refused(PeerFault):
    """One side does not want the other, for a harmless reason: `code` as in `handshake.REFUSAL_CODES`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Disowned(Refused):
    """The other side says that our data directory went back or is used twice (P7)."""


class Sealer:
    """Writes the frames of one direction. Frames must be sealed in the order in which they are sent."""

    def __init__(self, key: Optional[bytes]) -> None:
        self._key = key
        self._number = 0

    def seal(self, kind: int, body: bytes) -> bytes:
        """Return the wire frame for a body of at most `frames.PART_SIZE` bytes."""
        if self._key is None:
            return frames.encode(kind, body)
        number = self._number
        self._number = number + 1
        mac = digest.digest(self._key, _ORDER.pack(number, kind) + body)[:MAC_SIZE]
        return frames.encode(kind, body + mac)


class Opener:
    """Checks the frames of one direction, each once and in order."""

    def __init__(self, key: Optional[bytes]) -> None:
        self._key = key
        self._number = 0

    def open(self, kind: int, body: bytes) -> bytes:
        """Return the body without its MAC; `PeerFault` for a frame not authentic, replayed or lost before."""
        if self._key is None:
            return body
        bare = body[:-MAC_SIZE]
        mac = digest.digest(self._key, _ORDER.pack(self._number, kind) + bare)[:MAC_SIZE]
        if not digest.is_equal(mac, body[-MAC_SIZE:]):
            raise PeerFault(f"frame {self._number} is not authentic")
        self._number += 1
        return bare


class Established(NamedTuple):
    """The end of a good handshake. `sealer` writes our direction, `opener` reads theirs."""

    theirs: Hello
    sealer: Sealer
    opener: Opener


class Witness(Memory):
    """The memory of what each instance showed (P7), for any thread: links judge by it, the node's turn adds.

    One for all links and listeners of a node, else a copied data directory is seen by half of them only.
    Where very many come, those that were not seen for longest are forgotten.
    """

    def __init__(self, kept: bytes = b"") -> None:
        super().__init__(kept)
        self._lock = threading.Lock()

    def __call__(self, own: Hello, theirs: Hello) -> Optional[Refusal]:
        with self._lock:
            return self.judge(own, theirs)

    def heard(self, instance: str, message: object) -> None:
        with self._lock:
            super().heard(instance, message)

    def acknowledged(self, instance: str, index: int) -> None:
        with self._lock:
            super().acknowledged(instance, index)

    def take(self, members: Tuple[str, ...], *, committed: bool) -> Optional[bytes]:
        with self._lock:
            return super().take(members, committed=committed)


class Handshake:
    """One side of a handshake: write what `outgoing` gives, `receive` what comes, until `result` is set.

    `judge(own, theirs)` is asked once, after the proof. `nonce` is for tests; without it a new one is drawn.
    """

    def __init__(
        self, dialler: bool, own: Hello, secrets: Tuple[bytes, ...], judge: Judge, *,
        nonce: Optional[bytes] = None
    ) -> None:
        fresh = os.urandom(handshake.NONCE_SIZE) if nonce is None else nonce
        self.own = own._replace(nonce=fresh, secured=bool(secrets))
        self.result: Optional[Established] = None
        self._dialler = dialler
        self._secrets = secrets
        self._judge = judge
        self._own_body = handshake.encode_hello(self.own)
        self._their_body = b""
        self._theirs: Optional[Hello] = None
        # Parts as well: else a stranger would make us keep 8 MiB a connection.
        self._reader = FrameReader(handshake.HELLO_LIMIT, message_limit=handshake.HELLO_LIMIT)
        self._out = frames.encode(handshake.HELLO, self._own_body) if dialler else b""

    def outgoing(self) -> bytes:
        """Return the bytes to be written now, taken: after a `Refused` they tell the other side why."""
        out, self._out = self._out, b""
        return out

    def receive(self, data: bytes) -> None:
        """Take bytes of the peer (empty: it closed). `Refused` or `PeerFault` ends the connection."""
        self._reader.receive(data)
        while True:
            event = self._reader.next_event()
            if event is NEED_DATA:
                return
            if event is CLOSED:
                raise PeerFault("closed during the handshake")
            if self.result is not None:
                raise PeerFault("words before the handshake was over")
            self._step(event)

    def _step(self, frame: frames.Frame) -> None:
        if frame.kind == handshake.REFUSED:
            raise self._read_refusal(frame.body)
        wanted = handshake.HELLO if self._theirs is None else handshake.PROOF
        if frame.kind != wanted:
            raise PeerFault(f"frame kind {frame.kind} in the handshake, not {wanted}")
        if self._theirs is None:
            self._receive_hello(frame.body)
        else:
            self._receive_proof(frame.body)

    def _receive_hello(self, body: bytes) -> None:
        fields, version = handshake.read_version(body)
        if not handshake.speaks(version):
            self._refuse(handshake.refuse_version(version))
        if fields.get("secured") is not self.own.secured:
            what = "here, the other side has one" if fields.get("secured") else "there, this node has one"
            self._refuse(Refusal("secret", f"no secret is configured {what}"))
        theirs = handshake.decode_hello(body)
        if theirs.nonce == self.own.nonce:
            raise PeerFault("our own hello came back")
        self._theirs = theirs
        self._their_body = body
        if self._dialler:
            self._out += frames.encode(handshake.PROOF, self._prove())
        else:
            self._out += frames.encode(handshake.HELLO, self._own_body)

    def _receive_proof(self, body: bytes) -> None:
        theirs = self._theirs
        require(theirs is not None, "proof without a hello")
        secret = self._verify(body)
        if secret is None and self._secrets:
            self._refuse(Refusal("secret", f"the secret of {theirs.address} differs from this node's"))
        sealer = Sealer(self._key(self._secrets[0] if self._secrets else None, self._dialler))
        opener = Opener(self._key(secret, not self._dialler))
        refusal = self._judge(self.own, theirs)
        if refusal:
            self._refuse(refusal, sealer)
        if not self._dialler:
            self._out += frames.encode(handshake.PROOF, self._prove())
        self.result = Established(theirs, sealer, opener)

    def _hmac(self, secret: bytes, use: str, by_dialler: bool, extra: bytes = b"") -> bytes:
        dialler, acceptor = self._own_body, self._their_body
        if not self._dialler:
            dialler, acceptor = acceptor, dialler
        role = "dialler" if by_dialler else "acceptor"
        parts = (f"raftctl {use} {role}".encode("ascii"), dialler, acceptor, extra)
        return digest.digest(secret, b"".join(struct.pack(">I", len(part)) + part for part in parts))

    def _prove(self) -> bytes:
        return self._hmac(self._secrets[0], "proof", self._dialler) if self._secrets else b""

    def _verify(self, proof: bytes) -> Optional[bytes]:
        """Return the secret that made the other side's proof, None where it is none of ours."""
        if not self._secrets:
            if proof:
                raise PeerFault("a proof from a side without a secret")
            return None
        for secret in self._secrets:
            if digest.is_equal(self._hmac(secret, "proof", not self._dialler), proof):
                return secret
        return None

    def _key(self, secret: Optional[bytes], by_dialler: bool) -> Optional[bytes]:
        return None if secret is None else self._hmac(secret, "key", by_dialler)

    def _refuse(self, refusal: Refusal, sealer: Optional[Sealer] = None) -> None:
        unproven = refusal.code in _UNPROVEN
        # ASCII, so that the frame keeps within the handshake's limit.
        message = "" if unproven else refusal.message[:_LONGEST_MESSAGE]
        message = message.encode("ascii", "replace").decode("ascii")
        words = {"code": refusal.code, "message": message}
        if self._secrets and not unproven:
            signed = f"{refusal.code} {message}".encode("ascii")
            words["mac"] = self._hmac(self._secrets[0], "refusal", self._dialler, signed).hex()
        body = json.dumps(words).encode("ascii")
        # An acceptor that has let us in reads sealed frames from now on.
        seal = sealer.seal if sealer and self._dialler else frames.encode
        self._out += seal(handshake.REFUSED, body)
        raise Refused(refusal.code, refusal.message)

    def _read_refusal(self, body: bytes) -> PeerFault:
        code, message, mac = read_refusal(body)
        if code in _UNPROVEN:
            return Refused(code, _UNPROVEN[code])
        if self._theirs is None:
            return PeerFault("refused before the handshake, without a reason that counts")
        signed = f"{code} {message}".encode()
        proofs = [self._hmac(secret, "refusal", not self._dialler, signed).hex() for secret in self._secrets]
        if self._secrets and not any(digest.is_equal(proof, mac) for proof in proofs):
            return PeerFault("refused by somebody without the secret")
        return (Disowned if code == "instance" else Refused)(code, printable(message))


def read_refusal(body: bytes) -> Tuple[str, str, str]:
    """Return code, message and MAC (hex) of a REFUSED frame; `PeerFault` where it is malformed."""
    try:
        fields = parse_object(body)
    except ValueError as error:
        raise PeerFault(f"refusal is malformed: {error}") from None
    code, message, mac = fields.get("code"), fields.get("message"), fields.get("mac", "")
    if code not in handshake.REFUSAL_CODES or not isinstance(message, str) or not isinstance(mac, str):
        raise PeerFault("refusal is malformed")
    return code, message, mac if mac.isascii() else ""


def printable(text: str) -> str:
    """Return a peer's words fit for one line of a log."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_LONGEST_MESSAGE])
