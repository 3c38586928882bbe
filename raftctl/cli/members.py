"""`join`, `bootstrap`, `remove`, `leave`: who is a member, by the operator's word (design §6)."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any, Dict, List

from raftctl.base import errors
from raftctl.base.addresses import parse
from raftctl.base.errors import DONE, OutcomeUnknown, RaftctlError
from raftctl.cli import endpoint, output

# The node is another process after it gave up its cluster: there is no connection on which it could tell us.
_LOOK_EVERY_S = 0.2
_ONE_QUESTION_S = 2.0
_PATIENCE_S = 1.0
_PASSING = (errors.UNREACHABLE, errors.NO_LEADER, errors.UNKNOWN)


def join(options: argparse.Namespace) -> int:
    """Make the node join the cluster of ADDRESS; print its `clusterNodes` line when it votes there."""
    address = str(parse(options.address))
    daemon = endpoint.find(options)
    deadline = time.monotonic() + options.timeout
    before = daemon.ask({"action": "state"}, min(options.timeout, _ONE_QUESTION_S))
    try:
        daemon.ask(
            {"action": "join", "address": address, "discardData": options.discard_data}, options.timeout
        )
    except OutcomeUnknown:
        pass  # The node may have ended before its answer was out: what it is now tells.
    # One that was removed may come back to the same cluster.
    former_cluster = before.get("clusterId") if before.get("role") != "none" else None
    _await_voter(daemon, former_cluster or "", address, deadline, options.timeout)
    answer = daemon.ask({"action": "status"}, _ONE_QUESTION_S)
    _show_joined(options, answer)
    return DONE


def _await_voter(
    daemon: endpoint.Daemon, former_cluster: str, address: str, deadline: float, timeout_s: float
) -> None:
    """Return once the node votes in another cluster than `former_cluster`, by `deadline` (monotonic, s).

    What it waits for is said where that lasts. Raises `RaftctlError` once the leader there has refused it for
    good, `OutcomeUnknown` at the deadline.
    """
    last = "it did not answer"
    waits = _Waits()
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise OutcomeUnknown(
                f"no voter of the cluster of {address} after {timeout_s:g} s: {last}; it goes on trying, "
                "see: raftctl status"
            )
        try:
            answer = daemon.ask({"action": "state"}, min(left, _ONE_QUESTION_S))
        except RaftctlError as error:
            if error.exit_status not in _PASSING:
                raise
            last = str(error)
        else:
            if answer.get("joinProblem"):
                raise RaftctlError(f"{address}: {answer['joinProblem']}; the node goes on asking")
            if answer.get("role") == "voter" and answer.get("clusterId") not in ("", None, former_cluster):
                return
            last = answer.get("reason") or f"it is {answer.get('state')}"
            waits.note(last)
        time.sleep(max(0.0, min(_LOOK_EVERY_S, deadline - time.monotonic())))


class _Waits:
    """Says what the node waits for, once, where it stays the same for a while: a quick join says nothing."""

    def __init__(self) -> None:
        self._reason, self._since_s, self._is_said = "", 0.0, False

    def note(self, reason: str) -> None:
        now_s = time.monotonic()
        if reason != self._reason:
            self._reason, self._since_s, self._is_said = reason, now_s, False
        elif not self._is_said and now_s >= self._since_s + _PATIENCE_S:
            self._is_said = True
            output.complain(f"{reason} ...")


def _show_joined(options: argparse.Namespace, answer: Dict[str, Any]) -> None:
    state, addresses = answer["state"], _addresses(answer["members"])
    if options.json:
        output.show_json(
            {"address": state.get("address"), "clusterId": state.get("clusterId"), "clusterNodes": addresses}
        )
        return
    output.complain(
        f"{state.get('address')} is a voter; put this line into its configuration, so that it finds the "
        "cluster again after the loss of its disk:"
    )
    output.line(f'"clusterNodes": {json.dumps(addresses)}')


def _addresses(members: List[Any]) -> List[str]:
    listed = [member["address"] if isinstance(member, dict) else str(member) for member in members]
    return sorted(listed, key=parse)


def bootstrap(options: argparse.Namespace) -> int:
    """Found the cluster with the listed nodes that this node reaches now; print its id and members."""
    answer = endpoint.ask(options, {"action": "bootstrap"})
    if options.json:
        output.show_json(answer)
    else:
        addresses = _addresses(answer["members"])
        output.line(f"cluster {answer['clusterId']} of {len(addresses)}: {' '.join(addresses)}")
    return DONE


def remove(options: argparse.Namespace) -> int:
    """Remove the member at ADDRESS; print who is left."""
    return _remove(options, endpoint.find(options), str(parse(options.address)))


def leave(options: argparse.Namespace) -> int:
    """Remove this node itself; print who is left."""
    daemon = endpoint.find(options)
    address = daemon.ask({"action": "state"}, options.timeout)["address"]
    return _remove(options, daemon, address)


def _remove(options: argparse.Namespace, daemon: endpoint.Daemon, address: str) -> int:
    answer = daemon.ask({"action": "remove", "address": address, "force": options.force}, options.timeout)
    if options.json:
        output.show_json(answer)
    else:
        output.line(f"removed {address}, left: {' '.join(_addresses(answer['members']))}")
    return DONE
