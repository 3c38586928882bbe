"""The node's end of the tether: words to the guardian, words of it, and that it is silent or gone.

Owns the socket. What the words make the node do is node/daemon.py's, what its end does node/orphan.py's.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
from typing import Any, Callable, Dict, Optional

from raftctl import tether

_log = logging.getLogger(__name__)

# So many times in a row nothing came in the time of a pulse. Counted, not timed: a host that was paused
# counts one, for its guardian was paused as well.
SILENCES = 5


class Leash:
    """`tell`: any thread; all else: the main thread."""

    def __init__(self, fd: int, take: Callable[[Dict[str, Any]], None], unread: Callable[[], None]) -> None:
        """Takes `fd` over. `take` gets each word that nobody waits for; `unread` is called where the guardian
        has not read for long."""
        self._socket = socket.socket(fileno=fd)
        self._socket.set_inheritable(False)
        self._take, self._unread = take, unread
        self._lock = threading.Lock()
        self._line = tether.Line()
        # Who sends PING; None while nobody did: an older guardian never does, and is not silent for that.
        self._guardian: Optional[int] = None
        self._silences = 0

    def tell(self, message: Dict[str, Any]) -> None:
        """Send a message to the guardian, never waiting for it: one that is stopped must not stop consensus.

        Its buffer holds hundreds of messages; where it is full nobody has read for long, and this node ends:
        it must not lead under a guardian that can't stop its application (P6).
        """
        data = tether.encode(message)
        with self._lock:
            try:
                sent = self._socket.send(data, socket.MSG_DONTWAIT)
            except (BrokenPipeError, ConnectionResetError):
                _log.debug("the guardian is gone")       # the main thread sees the end of the tether and acts
                return
            except BlockingIOError:
                sent = 0
        if sent < len(data):
            self._unread()

    def wait_for(self, *kinds: str, timeout_s: Optional[float] = None) -> Optional[str]:
        """Return which of `kinds` the guardian said, "" when it is gone, None after `timeout_s`.

        Without a time limit the deadlines are the guardian's, as long as it is not silent: then it is killed.
        """
        pulse_s = tether.PULSE_NS / 1e9
        while True:
            if not select.select([self._socket], [], [], pulse_s if timeout_s is None else timeout_s)[0]:
                if timeout_s is not None:
                    return None
                if self._is_silent():
                    return ""
                continue
            self._silences = 0
            try:
                data = self._socket.recv(65536)
            except ConnectionResetError:
                data = b""          # it died with words of ours unread
            if not data:
                return ""
            for message in self._line.receive(data):
                if message["kind"] in kinds:
                    return message["kind"]
                if message["kind"] == tether.PING:
                    self._guardian = message["pid"]
                self._take(message)

    def _is_silent(self) -> bool:
        """Count one silence; end a guardian that hangs: it may wake up and run hooks beside others (P6)."""
        self._silences += 1
        if self._guardian is None or self._silences < SILENCES:
            return False
        _log.error("the guardian, process %d, is silent", self._guardian)
        # Our parent as long as it lives, so the number is nobody else's.
        if os.getppid() == self._guardian:
            os.kill(self._guardian, signal.SIGKILL)
        return True
