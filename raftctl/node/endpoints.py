"""Where the guardian may release to: the members' addresses, looked up while this node lives (P4).

A look-up may hang, so it has a thread of its own, never the node thread or the guardian.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from typing import Any, Callable, Dict, List, Sequence

from raftctl import tether
from raftctl.base.addresses import parse
from raftctl.disk.peers import write_peers

_log = logging.getLogger(__name__)


class Endpoints:
    """`tell` sends a message to the guardian; `own` is this node's address, which is left out.

    What it found is kept in `data_dir` as well, for `after-stop`.
    """

    def __init__(self, tell: Callable[[Dict[str, Any]], None], own: str, data_dir: str) -> None:
        self._tell, self._own, self._data_dir = tell, own, data_dir
        self._lock = threading.Lock()
        self._others: List[str] = []

    def set_members(self, members: Sequence[str]) -> None:
        """Look up all of `members` and tell the guardian; never blocks. Node thread."""
        others = [address for address in members if address != self._own]
        self._others = others
        threading.Thread(target=self._look_up, args=(others,), name="resolve", daemon=True).start()

    def _look_up(self, members: List[str]) -> None:
        endpoints = []
        for text in members:
            host, port = parse(text)
            try:
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (OSError, ValueError) as error:
                _log.warning("%s can't be looked up (%s): the guardian can't release to it", text, error)
                continue
            endpoints.append({"address": text, "ip": sorted({item[4][0] for item in found}), "port": port})
        with self._lock:
            # A look-up that took long must not bring back those who were members before.
            if members is self._others:
                self._tell({"kind": tether.PEERS, "endpoints": endpoints})
                self._keep(endpoints)

    def _keep(self, endpoints: List[Dict[str, Any]]) -> None:
        try:
            write_peers(self._data_dir, json.dumps(endpoints))
        except OSError as error:
            _log.warning("%s/peers is not written (%s): after a death of the guardian nobody is told",
                         self._data_dir, error)
