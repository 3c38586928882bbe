"""Where clients reach a node: the unix socket, the command port, the HTTP pages. Peers have their own.

Owns when each is bound and closed, in any order of failures; what they say is theirs.
"""

from __future__ import annotations

import time
from typing import Any, Callable, List, Tuple

from raftctl.config.model import NodeConfig
from raftctl.config.places import command_socket
from raftctl.net.commands import CommandListener
from raftctl.node.requests import Requests
from raftctl.node.status import Status


class Listeners:
    """The main thread's."""

    def __init__(self, node: NodeConfig, requests: Requests, status: Status,
                 log_lines_dropped: Callable[[], int]) -> None:
        """Bind the unix socket; raise `UsageError` where that fails."""
        self._node, self._requests, self._status = node, requests, status
        self._log_lines_dropped = log_lines_dropped
        self._open: List[Any] = [CommandListener(None, command_socket(node), requests.answer)]
        self._bound = {"unix"}

    def start(self) -> None:
        """Serve the unix socket."""
        self._open[0].start()

    def bind(self) -> None:
        """Bind and serve what is not bound yet.

        Raises `UsageError`; `NotHere` for an address that may come: then it may be called again.
        """
        node = self._node
        if node.command_port and "command_port" not in self._bound:
            place = node.command_host, node.command_port
            self._serve("command_port", CommandListener(place, None, self._requests.answer, node.secrets,
                                                        insecure=node.insecure))
        if node.http and "http" not in self._bound:
            self._serve("http", self._web_listener())

    def _web_listener(self) -> Any:
        # Not at the top: http.server and what it imports cost 5 MiB, and most nodes have no pages.
        from raftctl.net.web import WebListener
        from raftctl.node.pages import Pages

        host, port = self._node.http  # type: ignore[misc]
        pages = Pages(self._status, self._requests, self._node.data_dir, self._log_lines_dropped)
        return WebListener(host, port, pages.answer)

    def _serve(self, key: str, listener: Any) -> None:
        self._open.append(listener)
        self._bound.add(key)
        listener.start()

    def set_secrets(self, secrets: Tuple[bytes, ...]) -> None:
        """Ask for these over TCP from the next connection on."""
        self._node = self._node._replace(secrets=secrets)
        for listener in self._open:
            if isinstance(listener, CommandListener):
                listener.set_secrets(secrets)

    def close(self, deadline_s: float) -> None:
        """Close all within `deadline_s` seconds; requests under way are answered where that suffices."""
        end_s = time.monotonic() + deadline_s
        for listener in self._open:
            listener.close(max(0.0, end_s - time.monotonic()))
