"""Our own connections to the peers: one out-<peer> thread each that dials, backs off, pings and flushes.

The dialler only writes, the acceptor only reads (design §4.1): two connections a pair, replies travel on
one's own. The node thread sends straight into the socket while nothing waits there; the thread does the rest.
No end of a connection proves anything about the peer (pitfall 1.2). Leaves accepted connections to
net/listen.py.
"""

from __future__ import annotations

import itertools
import logging
import select
import socket
import threading
import time
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

from raftctl.base.addresses import Address
from raftctl.base.errors import PeerFault, RaftctlError
from raftctl.cluster import handshake
from raftctl.cluster.handshake import Hello
from raftctl.net import dial
from raftctl.net.auth import Disowned, Established, Handshake, Judge
from raftctl.net.complaints import Complaints
from raftctl.net.dial import Waker, Woken
from raftctl.net.outbox import Outbox

_FIRST_BACKOFF_S = 0.05
# A connection that ends sooner counts as a failed dial: one that is let in and thrown out must not spin.
_STEADY_S = 1.0

_log = logging.getLogger(__name__)


class LinkUp(NamedTuple):
    """Our connection to `address` is established; `hello` is what the peer there says of itself."""

    address: Address
    generation: int
    hello: Hello


class LinkDown(NamedTuple):
    """Our connection `generation` is over, or (generation 0) a dial failed.

    `disowns`: the peer there refuses this node's directory as one that went back (P7).
    """

    address: Address
    generation: int
    reason: str
    disowns: bool = False


class FrameIn(NamedTuple):
    """A message on an accepted connection; `hello`: its dialler's (`hello.generation`: that connection's)."""

    hello: Hello
    kind: int
    body: bytes


class LinkStatus(NamedTuple):
    """One peer as its link sees it. `connected_since_s` is on `time.monotonic`, None without a connection."""

    connected_since_s: Optional[float]
    problem: Optional[str]
    dropped: int


class _Settings(NamedTuple):
    own_hello: Callable[[str, int], Hello]
    secrets: Callable[[], Tuple[bytes, ...]]
    judge: Judge
    post: Callable[[object], None]
    silence_ns: int
    longest_backoff_s: Callable[[], float]
    next_generation: Callable[[], int]
    complaints: Complaints


class Links:
    """All out-<peer> threads of a node.

    `own_hello(expected address, generation)` is asked at each dial, by the thread that dials; to join at an
    address that may be another name of the node there, it leaves `expected_address` empty. `judge` is a
    `auth.Witness`, shared with the listener. `post` takes `LinkUp` and `LinkDown` from any thread and must
    not block. A connection is never silent for `silence_ns`; one that the peer does not acknowledge for so
    long is closed.
    """

    def __init__(
        self,
        own_hello: Callable[[str, int], Hello],
        secrets: Tuple[bytes, ...],
        judge: Judge,
        post: Callable[[object], None],
        *,
        silence_ns: int,
        longest_backoff_s: Callable[[], float] = lambda: 1.0,
    ) -> None:
        # One counter for all peers: a generation never comes back, even if a peer is dropped and named again.
        count = itertools.count(1)
        self._secrets = secrets
        self._settings = _Settings(
            own_hello, lambda: self._secrets, judge, post, silence_ns, longest_backoff_s, lambda: next(count),
            Complaints(_log),
        )
        self._lock = threading.Lock()
        self._links: Dict[Address, _Link] = {}
        self._closed = False

    def set_targets(self, addresses: Iterable[Address]) -> None:
        """Dial exactly these from now on. Links to others end without a `LinkDown`."""
        wanted = set(addresses)
        with self._lock:
            if self._closed:
                return
            present = self._links
            # A new dictionary: `send` reads the old one without a lock.
            links = {address: present.get(address) or _Link(self._settings, address)
                     for address in sorted(wanted)}
            self._links = links
        for address, link in present.items():
            if address not in wanted:
                link.end(0.0)
        for link in links.values():
            link.start()

    def set_secrets(self, secrets: Tuple[bytes, ...]) -> None:
        """Use these from the next handshake on; connections that stand go on. Any thread."""
        self._secrets = secrets

    def send(self, address: Address, kind: int, body: bytes, urgent: bool = False) -> bool:
        """Send a frame or queue it; never blocks. False: no connection is up, nothing queued. Node thread."""
        link = self._links.get(address)
        return link is not None and link.outbox.put(kind, body, urgent)

    def nudge(self, address: Address) -> None:
        """Dial `address` now if it waits to be dialled again: the node there was just heard. Any thread."""
        link = self._links.get(address)
        if link is not None:
            link.nudge()

    def status(self) -> Dict[Address, LinkStatus]:
        """Return the state of each link, in the order of their addresses. Any thread."""
        return {address: link.status for address, link in self._links.items()}

    def close(self, deadline_s: float) -> None:
        """Send what waits, then end all connections; returns after at most `deadline_s` seconds."""
        end_s = time.monotonic() + deadline_s
        with self._lock:
            self._closed = True
            links, self._links = self._links, {}
        for link in links.values():
            link.end(end_s)
        for link in links.values():
            link.join(max(0.0, end_s - time.monotonic()))


class _Link:
    def __init__(self, settings: _Settings, address: Address) -> None:
        self._settings = settings
        self._address = address
        self._waker = Waker()
        self.outbox = Outbox(self._waker.wake)
        self._thread = threading.Thread(target=self._run, name=f"out-{address.host}:{address.port}",
                                        daemon=True)
        self._started = False
        self._ending = False
        self._flush_until_s = 0.0
        self._nudged = threading.Event()
        self._since_s: Optional[float] = None
        self._problem: Optional[str] = None

    @property
    def status(self) -> LinkStatus:
        return LinkStatus(self._since_s, self._problem, self.outbox.dropped)

    def start(self) -> None:
        if not self._started:
            self._started = True
            self._thread.start()

    def join(self, timeout_s: float) -> None:
        if self._started:
            self._thread.join(timeout_s)

    def nudge(self) -> None:
        if self._since_s is None:
            self._nudged.set()

    def end(self, flush_until_s: float) -> None:
        """End the thread after what waits is sent, at latest at `flush_until_s` (monotonic); post no more."""
        self._flush_until_s = flush_until_s
        self._ending = True
        self._nudged.set()
        self._waker.wake()

    def _must_end(self) -> bool:
        return self._ending

    def _run(self) -> None:
        backoff_s = _FIRST_BACKOFF_S
        try:
            while not self._ending:
                if self._connection():
                    backoff_s = _FIRST_BACKOFF_S
                longest_s = self._settings.longest_backoff_s()
                if self._nudged.wait(min(backoff_s, longest_s)):
                    backoff_s = _FIRST_BACKOFF_S
                    if not self._ending:
                        self._nudged.clear()
                else:
                    backoff_s = min(backoff_s * 2, longest_s)
        except Woken:
            return
        finally:
            self.outbox.detach()
            self._waker.close()

    def _connection(self) -> bool:
        """Dial, and carry the connection until it ends; return whether it held for a while."""
        generation = self._settings.next_generation()
        sock: Optional[socket.socket] = None
        try:
            sock = dial.connect(self._address, self._settings.silence_ns, self._waker, self._must_end)
            established = self._shake(sock, generation)
            self._nudged.clear()
        except (OSError, RaftctlError) as error:
            # Refused or spoken to in another tongue: that does not end by itself.
            level = logging.WARNING if isinstance(error, RaftctlError) else logging.INFO
            self._down(0, dial.words(error), level, isinstance(error, Disowned))
            return False
        else:
            self._up(sock, established, generation)
            since_s = self._since_s or 0.0
            self._down(generation, self._carry(sock))
            return time.monotonic() >= since_s + _STEADY_S
        finally:
            self.outbox.detach()
            self._since_s = None
            if sock is not None:
                sock.close()

    def _shake(self, sock: socket.socket, generation: int) -> Established:
        settings = self._settings
        own = settings.own_hello(str(self._address), generation)
        side = Handshake(True, own, settings.secrets(), settings.judge)
        return dial.shake(sock, side, self._waker, self._must_end)

    def _up(self, sock: socket.socket, established: Established, generation: int) -> None:
        # First the outbox: the node may answer `LinkUp` with a frame.
        self.outbox.attach(lambda data: sock.send(data, socket.MSG_DONTWAIT), established.sealer)
        self._since_s = time.monotonic()
        self._problem = None
        self._settings.complaints.good(
            str(self._address), f"connected to {self._address}, instance {established.theirs.instance}",
            even_first=True)
        self._settings.post(LinkUp(self._address, generation, established.theirs))

    def _down(self, generation: int, reason: str, level: int = logging.INFO, disowns: bool = False) -> None:
        self.outbox.detach()
        self._since_s = None
        if self._ending:
            return
        self._problem = reason
        line = f"no connection to {self._address}: {reason}"
        self._settings.complaints.bad(str(self._address), reason, line, level)
        self._settings.post(LinkDown(self._address, generation, reason, disowns))

    def _carry(self, sock: socket.socket) -> str:
        """Flush and ping until the connection ends; return why it ended."""
        tick_s = self._settings.silence_ns / 3e9
        next_tick_s = time.monotonic() + tick_s
        frames_before = self.outbox.frames_put
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        poller.register(self._waker, select.POLLIN)
        while not self._ending:
            ready = _poll(poller, next_tick_s)
            if ready.get(self._waker.fileno()):
                self._waker.clear()
            if ready.get(sock.fileno(), 0) & ~select.POLLOUT:
                return _end_of(sock)
            is_empty = self.outbox.flush()
            if self.outbox.broken is not None:
                return dial.words(self.outbox.broken)
            poller.modify(sock, select.POLLIN if is_empty else select.POLLIN | select.POLLOUT)
            if time.monotonic() >= next_tick_s:
                if self.outbox.frames_put == frames_before:
                    self.outbox.put(handshake.PING, b"", urgent=True)
                frames_before = self.outbox.frames_put
                next_tick_s = time.monotonic() + tick_s
        self._flush_last(sock)
        return "this node closed it"

    def _flush_last(self, sock: socket.socket) -> None:
        poller = select.poll()
        poller.register(sock, select.POLLOUT)
        while (not self.outbox.flush() and self.outbox.broken is None
               and time.monotonic() < self._flush_until_s):
            _poll(poller, self._flush_until_s)


def _poll(poller: select.poll, until_s: float) -> Dict[int, int]:
    found: List[Tuple[int, int]] = poller.poll(max(0.0, (until_s - time.monotonic()) * 1000 + 1))
    return dict(found)


def _end_of(sock: socket.socket) -> str:
    """Return why the socket became readable: the acceptor only listens, so it is an end or a fault of its."""
    try:
        data = sock.recv(4096)
    except OSError as error:
        return dial.words(error)
    if not data:
        return "connection closed"
    return str(PeerFault(f"{len(data)} bytes came on a connection that only carries ours"))
