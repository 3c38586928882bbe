"""Clients that load a server: the same for all that is measured, but for what they say.

A client has one request under way at a time (closed loop) on a connection of its own. The clients run in
processes of their own, a share of the connections on one epoll each: threads would cost more than they
measure. What a client says, and when an answer is whole, is its `Talk`'s.
"""

from __future__ import annotations

import array
import contextlib
import multiprocessing
import select
import socket
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from common import PATIENCE_S, percentile

# Processes are forked: what they need is in memory, and their death is their parent's.
FORK = multiprocessing.get_context("fork")
GENERATORS = 2
VALUE = "v" * 100


class Load(NamedTuple):
    """What clients got: answers a second, nanoseconds from request to answer, and what one cost the client.

    `answers` are all, also those before and after the window. `client_us`: CPU time of the load generators
    for each of them, in µs; None where they are in the server.
    """

    per_second: float
    latencies_ns: List[int]
    refused: int
    answers: int
    client_us: Optional[float] = None

    def ms(self, percent: float) -> Optional[float]:
        """Return that percentile of the latencies in ms, None where there was no answer."""
        return round(percentile(self.latencies_ns, percent) / 1e6, 3) if self.latencies_ns else None


class Talk:
    """One client's side of a conversation."""

    # Sent once, before the first request.
    greeting = b""
    # What is to be sent besides, as soon as an answer was looked at; whoever sends it empties it.
    owed = b""

    def request(self) -> bytes:
        """Return the next request, empty where this client has done all it was to do."""
        raise NotImplementedError

    def receive(self, data: bytes) -> Optional[bool]:
        """Take bytes of the server; return None while the answer is not whole, else: was it done?"""
        raise NotImplementedError


class Lines(Talk):
    """raftctl's command protocol: a JSON object a line."""

    def __init__(self, line: Callable[[], bytes]) -> None:
        """`line()` is each request in turn, with its newline; empty: no more."""
        self._line = line
        self._part = b""

    def request(self) -> bytes:
        return self._line()

    def receive(self, data: bytes) -> Optional[bool]:
        if self._part:
            data = self._part + data
        if not data.endswith(b"\n"):
            self._part = data
            return None
        self._part = b""
        return b'"ok":true' in data or b'"ok": true' in data


def put_line(key: str, value: str = VALUE) -> bytes:
    return f'{{"action": "put", "key": "{key}", "value": "{value}", "timeoutMs": 30000}}\n'.encode("ascii")


def get_line(key: str, stale: bool = False) -> bytes:
    more = ', "stale": true' if stale else ""
    return f'{{"action": "get", "key": "{key}"{more}, "timeoutMs": 30000}}\n'.encode("ascii")


def own_key(number: int, client: int) -> str:
    return f"bench-{number}-{client}"


def puts(number: int, client: int) -> Talk:
    """The talk of one client of one generator that puts 100 bytes under a key of its own, again and again."""
    line = put_line(own_key(number, client))
    return Lines(lambda: line)


def drive(port: int, clients: int, warm_s: float, seconds: float,
          talk: Callable[[int, int], Talk] = puts) -> Load:
    """Let `clients` loops talk to `port`; count after `warm_s` for `seconds`, or until all have done theirs.

    `talk(generator, client)` makes a client's talk.
    """
    shares = [clients // GENERATORS + (number < clients % GENERATORS) for number in range(GENERATORS)]
    # CLOCK_MONOTONIC is one for all processes: they begin and end to count at the same instants.
    began = time.monotonic_ns() + 200_000_000
    window = (began + int(warm_s * 1e9), began + int((warm_s + seconds) * 1e9))
    running = []
    for number, share in enumerate(shares):
        if share:
            ours, theirs = FORK.Pipe(duplex=False)
            talks = [talk(number, client) for client in range(share)]
            process = FORK.Process(target=_generate, args=(theirs, port, talks, window), daemon=True)
            process.start()
            theirs.close()
            running.append((process, ours))
    latencies: List[int] = []
    refused, answers, cpu_s = 0, 0, 0.0
    for process, ours in running:
        if not ours.poll(warm_s + seconds + PATIENCE_S):
            raise AssertionError("a load generator does not end")
        data, bad, more, spent_s = ours.recv()
        latencies.extend(array.array("q", data))
        refused, answers, cpu_s = refused + bad, answers + more, cpu_s + spent_s
        process.join(PATIENCE_S)
    client_us = round(cpu_s / max(answers, 1) * 1e6, 1)
    return Load(len(latencies) / seconds, latencies, refused, answers, client_us)


def _generate(result: Any, port: int, talks: List[Talk], window: Tuple[int, int]) -> None:
    """Load generator process: every answer is looked at, only those that came in `window` count."""
    latencies, refused, answers = array.array("q"), 0, 0
    begin, end = window
    with select.epoll() as poller, contextlib.ExitStack() as stack:
        sockets: Dict[int, socket.socket] = {}
        talk_of: Dict[int, Talk] = {}
        sent = {}
        for talk in talks:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sockets[sock.fileno()], talk_of[sock.fileno()] = sock, talk
            poller.register(sock, select.EPOLLIN)
        cpu_s = time.process_time()
        for descriptor, talk in talk_of.items():
            sent[descriptor] = time.monotonic_ns()
            sockets[descriptor].sendall(talk.greeting + talk.request())
        now, left = 0, len(talks)
        while now < end and left:
            for descriptor, _ in poller.poll(PATIENCE_S):
                data, talk = sockets[descriptor].recv(65536), talk_of[descriptor]
                if not data:
                    raise ConnectionError("the server closed a client's connection")
                done = talk.receive(data)
                now = time.monotonic_ns()
                request, talk.owed = talk.owed, b""
                if done is not None:
                    answers += 1
                    if not done:
                        refused += 1
                    elif begin <= now < end:
                        latencies.append(now - sent[descriptor])
                    sent[descriptor] = now
                    following = talk.request()
                    left -= not following
                    request += following
                if request:
                    sockets[descriptor].sendall(request)
        cpu_s = time.process_time() - cpu_s
    result.send((latencies.tobytes(), refused, answers, cpu_s))
