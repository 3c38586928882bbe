"""What the HTTP pages say (design §5 `http`), read off the node's own tables; no secret is in them.

Each page answers within `TURN_S`, whatever state the node thread is in: a load balancer takes no answer for a
bad one, but later.
"""

from __future__ import annotations

import json
from typing import Callable, Dict, Optional

from raftctl.base.errors import RaftctlError
from raftctl.net.access import Caller
from raftctl.net.web import Page, text_page
from raftctl.node import metrics
from raftctl.node.requests import Requests
from raftctl.node.status import Status

TURN_S = 2.0
OK, UNAVAILABLE = 200, 503
# Every page is for everybody: it may ask for no more than state and status.
_STRANGER = Caller(False, "http", "tcp")


class Pages:
    """`answer` is what the HTTP listener calls, in any of its threads."""

    def __init__(self, status: Status, requests: Requests, data_dir: str,
                 log_lines_dropped: Callable[[], int]) -> None:
        self._status, self._requests, self._data_dir = status, requests, data_dir
        self._log_lines_dropped = log_lines_dropped

    def answer(self, path: str) -> Optional[Page]:
        """Return the page at `path`, None where there is none."""
        page = _PAGES.get(path)
        if page is None:
            return None
        try:
            return page(self)
        except RaftctlError as error:
            return text_page(UNAVAILABLE, str(error))

    def _leader(self) -> Page:
        """Is this node LEADER, by its lease at this instant (P2)? Nobody is asked."""
        state = self._status.state()["state"]
        return text_page(OK if state == "LEADER" else UNAVAILABLE, state)

    def _live(self) -> Page:
        """Does the node thread turn? Where not, `answer` says so."""
        self._status.wait_for_turn(TURN_S)
        return text_page(OK, "LIVE")

    def _ready(self) -> Page:
        """Would this node serve a request: is it up, a member, and does it know a leader?"""
        word = self._unready()
        return text_page(UNAVAILABLE if word else OK, word or "READY")

    def _unready(self) -> str:
        shown = self._status.shown
        if self._requests.stopping or shown.stopping:
            return "STOPPING"
        if self._requests.waiting:
            return "WAITING"
        if self._status.state()["state"] == "UNINITIALIZED":
            return "UNINITIALIZED"
        return "" if shown.leader_address is not None else "LEADERLESS"

    def _cluster(self) -> Page:
        found = self._requests.answer({"action": "status", "timeoutMs": int(TURN_S * 1000)}, _STRANGER)
        return Page(OK, "application/json", json.dumps(found, indent=2).encode("ascii") + b"\n")

    def _metrics(self) -> Page:
        text = metrics.render(metrics.gather(self._status, TURN_S, self._data_dir,
                                             self._log_lines_dropped()))
        return Page(OK, "text/plain; version=0.0.4; charset=utf-8", text.encode("utf-8"))


_PAGES: Dict[str, Callable[[Pages], Page]] = {
    "/leader": Pages._leader, "/live": Pages._live, "/ready": Pages._ready, "/status": Pages._cluster,
    "/metrics": Pages._metrics,
}
