"""Words to systemd (sd_notify(3)): READY, STATUS, STOPPING. Non-blocking; what can't be said now is said later.

Owns the socket of NOTIFY_SOCKET. systemd reads one queue for all services, so a send can find it full: the newest
value of each field then waits until `flush`. Only the main process of the unit is heard (NotifyAccess=main), so the
variable is taken out of the environment: nodes and hooks don't inherit it. Without a service manager all is a no-op.
"""

from __future__ import annotations

import os
import socket
from typing import Dict, MutableMapping, Optional

VARIABLE = "NOTIFY_SOCKET"
_STATUS_LIMIT = 500


class Notifier:
    """One conversation with the service manager. One thread (the guardian's); nothing blocks, nothing raises.

    `problem` says why the last word did not get through (None: it did, or it waits); it is for the log.
    """

    def __init__(self, path: Optional[str]) -> None:
        self.problem: Optional[str] = None
        self._owed: Dict[str, str] = {}
        self._path = path or ""
        self._socket: Optional[socket.socket] = None
        if self._path and self._path[0] not in "/@":
            self.problem = f"{VARIABLE}={self._path} is neither a path nor an abstract socket"
        elif self._path:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    @property
    def pending(self) -> bool:
        """Does something wait for `flush`? Try again within a second or so."""
        return bool(self._owed)

    def ready(self, status: str = "") -> None:
        """The service is up: it listens and its data is loaded (not: it has a leader)."""
        self._say({"READY": "1"}, status)

    def status(self, text: str) -> None:
        """Set the one line that `systemctl status` shows."""
        self._say({}, text)

    def stopping(self, status: str = "") -> None:
        """The orderly stop has begun. A READY that still waits is still said, before it."""
        self._say({"STOPPING": "1"}, status)

    def flush(self) -> None:
        """Say what waits, in one datagram."""
        if self._socket is None:
            self._owed.clear()
            return
        if not self._owed:
            return
        datagram = "".join(f"{name}={value}\n" for name, value in self._owed.items())
        self.problem = None
        try:
            self._socket.sendto(datagram.encode("utf-8", "replace"), self._address())
        except BlockingIOError:
            return
        except (OSError, ValueError) as error:
            self.problem = f"{VARIABLE}={self._path}: {error}"
        self._owed.clear()

    def close(self) -> None:
        """Give the socket back; later words go nowhere."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _address(self) -> bytes:
        raw = os.fsencode(self._path)
        # A leading @ stands for the zero byte of the abstract namespace.
        return b"\0" + raw[1:] if raw[:1] == b"@" else raw

    def _say(self, fields: Dict[str, str], status: str) -> None:
        if status:
            fields["STATUS"] = " ".join(status.split())[:_STATUS_LIMIT]
        self._owed.update(fields)
        self.flush()


def take(environ: MutableMapping[str, str]) -> Notifier:
    """Return the notifier of this process and remove the variable from `environ`, so that no child inherits it."""
    return Notifier(environ.pop(VARIABLE, None))
