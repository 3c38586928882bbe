"""The guardian's own words to all peers, over connections of its own: RELEASE (P4), outgoing work (P6).

Owns these connections. RELEASE only for a process that `waitpid` has reaped, and only for the incarnation
that this very child reported and the last term that it led in (pitfall 1.3): the caller sees to that.
Everything is non-blocking; addresses were looked up by the node while it lived.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from raftctl.base.addresses import parse
from raftctl.base.errors import PeerFault, RaftctlError
from raftctl.cluster import handshake
from raftctl.cluster.handshake import Hello
from raftctl.config.model import NodeConfig
from raftctl.host.loop import READ, WRITE, Loop
from raftctl.net.auth import Handshake

DEADLINE_NS = 1_000_000_000
_IPS_LIMIT = 4
_ENDPOINTS_LIMIT = 64
_CHUNK = 16384


class Endpoint(NamedTuple):
    """One peer: its address as configured (what the handshake expects), the numbers it was looked up to."""

    address: str
    ips: Tuple[str, ...]
    port: int


def read_endpoints(message: Dict[str, Any]) -> Tuple[Endpoint, ...]:
    """Return the endpoints of a `peers` message of the tether; raise `PeerFault` where they are none.

    What is no numeric IP is left out: connecting to it could look up a name, and wait.
    """
    return tuple(_read_endpoint(item) for item in message["endpoints"][:_ENDPOINTS_LIMIT])


def _read_endpoint(item: Any) -> Endpoint:
    try:
        address = str(parse(item["address"]))
        port = parse(f"tcp://peer:{int(item['port'])}").port
        ips = tuple(ip for ip in item["ip"] if _is_numeric(ip))
    except (KeyError, TypeError, ValueError, RaftctlError) as error:
        raise PeerFault(f"tether: peers: {error!r} in an endpoint") from None
    return Endpoint(address, ips[:_IPS_LIMIT], port)


def _is_numeric(ip: str) -> bool:
    try:
        socket.inet_pton(_family(ip), ip)
    except OSError:
        return False
    return True


def _family(ip: str) -> int:
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


def greeting(node: NodeConfig, cluster_id: str, instance: str, incarnation: int, term: int) -> Hello:
    """Return the hello of the guardian of that process of `node`; whom it expects is left open."""
    return Hello(handshake.VERSION, handshake.GUARDIAN, cluster_id, str(node.address), "", instance,
                 incarnation, "", term, election_min_ns=node.election_min_ns, heartbeat_ns=node.heartbeat_ns)


def summary(results: Dict[str, str]) -> str:
    """Return in words what `on_done` of a `Delivery` gets."""
    if not results:
        return "there is no peer"
    return ", ".join(f"{address} {problem or 'knows'}" for address, problem in sorted(results.items()))


def _judge(own: Hello, theirs: Hello) -> Optional[handshake.Refusal]:
    return handshake.judge(own, theirs, lambda instance: None)


class Delivery:
    """One frame under way to all endpoints at once. `on_done` is called from the loop, once, within 1 s.

    It gets address → "" where the frame was delivered, else why not.
    """

    def __init__(
        self, loop: Loop, own: Hello, secrets: Tuple[bytes, ...], kind: int, body: bytes,
        endpoints: Tuple[Endpoint, ...], on_done: Callable[[Dict[str, str]], None],
    ) -> None:
        """`own` is the node's, role guardian; the expected address is filled in for each endpoint."""
        self._on_done = on_done
        self._results: Dict[str, str] = {endpoint.address: "no numeric address is known"
                                         for endpoint in endpoints}
        self._couriers: List[_Courier] = []
        for endpoint in endpoints:
            greeting = own._replace(expected_address=endpoint.address)
            for ip in endpoint.ips:
                shake = Handshake(True, greeting, secrets, _judge)
                courier = _Courier(loop, shake, (kind, body), endpoint.address, self._end_one)
                self._couriers.append(courier)
                courier.dial(ip, endpoint.port)
        self._timer = loop.after(DEADLINE_NS if self._couriers else 0, self.end)

    def _end_one(self, courier: _Courier, problem: str) -> None:
        self._couriers.remove(courier)
        # One way of several to the same peer is enough.
        if self._results[courier.address]:
            self._results[courier.address] = problem
        if not self._couriers:
            self.end()

    def end(self) -> None:
        """Give up what is not delivered yet."""
        for courier in self._couriers:
            courier.close()
            if self._results[courier.address]:
                self._results[courier.address] = "timed out"
        self._couriers.clear()
        self._timer.cancel()
        on_done, self._on_done = self._on_done, lambda results: None
        on_done(self._results)


class Deliveries:
    """The frames of one guardian that are under way; `changed` is called at the end of each."""

    def __init__(self, loop: Loop, changed: Callable[[], None]) -> None:
        self._loop, self._changed = loop, changed
        self.under_way: List[Delivery] = []

    def send(self, own: Hello, secrets: Tuple[bytes, ...], frame: Tuple[int, bytes],
             endpoints: Tuple[Endpoint, ...], say: Callable[[Dict[str, str]], None]) -> None:
        """Send one frame (kind, body) to the endpoints; `say` gets what `Delivery` tells at its end."""
        def finish(results: Dict[str, str]) -> None:
            self.under_way.remove(delivery)
            say(results)
            self._changed()

        delivery = Delivery(self._loop, own, secrets, *frame, endpoints, finish)
        self.under_way.append(delivery)

    def end(self) -> None:
        """Give up what is under way."""
        for delivery in list(self.under_way):
            delivery.end()


class _Courier:
    """One connection: dial, shake hands, send, wait for the other side's close (it has read all by then)."""

    def __init__(
        self, loop: Loop, shake: Handshake, frame: Tuple[int, bytes], address: str,
        on_end: Callable[[_Courier, str], None]
    ) -> None:
        self.address = address
        self._loop = loop
        self._shake = shake
        self._frame = frame
        self._on_end = on_end
        self._out = b""
        self._sealed = False
        self._over = False
        self._socket: Optional[socket.socket] = None

    def dial(self, ip: str, port: int) -> None:
        """Begin. `on_end` never comes from inside of this call."""
        try:
            self._socket = socket.socket(_family(ip), socket.SOCK_STREAM)
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            begun = self._socket.connect_ex((ip, port))
        except OSError as error:
            begun = error.errno or errno.EIO
        if begun in (0, errno.EINPROGRESS):
            self._loop.watch(self._socket, WRITE, self._connected)
        else:
            self._loop.after(0, lambda: self._end(os.strerror(begun)))

    def _connected(self) -> None:
        problem = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            self._end(os.strerror(problem))
            return
        self._out = self._shake.outgoing()
        self._turn()

    def _turn(self) -> None:
        """Read what is there, then write what is due; after the frame only the stream's end is awaited."""
        try:
            data = self._receive()
            if data == b"" and self._sealed and not self._out:
                self._end("")
                return
            if data is not None and not self._sealed:
                self._shake.receive(data)
                self._out += self._shake.outgoing()
                self._seal()
            if self._out or not self._sealed:
                self._flush()
        except (OSError, PeerFault) as error:
            self._end(str(error))

    def _receive(self) -> Optional[bytes]:
        try:
            return self._socket.recv(_CHUNK)
        except BlockingIOError:
            return None

    def _seal(self) -> None:
        if self._shake.result:
            self._out += self._shake.result.sealer.seal(*self._frame)
            self._sealed = True

    def _flush(self) -> None:
        try:
            self._out = self._out[self._socket.send(self._out, socket.MSG_NOSIGNAL):] if self._out else b""
        except BlockingIOError:
            pass
        if self._sealed and not self._out:
            self._socket.shutdown(socket.SHUT_WR)
        self._loop.watch(self._socket, READ | WRITE if self._out else READ, self._turn)

    def _end(self, problem: str) -> None:
        if not self._over:
            self.close()
            self._on_end(self, problem)

    def close(self) -> None:
        self._over = True
        if self._socket is not None:
            self._loop.forget(self._socket)
            self._socket.close()
