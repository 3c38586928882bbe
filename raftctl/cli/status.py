"""`status`: the cluster at a glance, as this node sees it. Every member has a row."""

from __future__ import annotations

import argparse
from typing import Any, Dict, List, Optional

from raftctl.base.errors import DONE
from raftctl.cli import endpoint, output

_HEADINGS = ("", "NAME", "ADDRESS", "ROLE", "HEARD", "INDEX", "PROBLEM")

# Followers send each other a PING now and then; a time above this says no more than "connected".
_LATELY_MS = 1000
# A sound disk, however busy, is done long before.
_SLOW_WRITE_MS = 1000


def run(options: argparse.Namespace) -> int:
    """Print the table, or with --json the daemon's whole answer."""
    answer = endpoint.ask(options, {"action": "status"})
    if options.json:
        output.show_json(answer)
    else:
        output.line("\n".join(describe(answer)))
    return DONE


def describe(answer: Dict[str, Any]) -> List[str]:
    """Return the lines for people; fields that an older or newer daemon lacks are left out."""
    state = answer.get("state") or {}
    members = answer.get("members") or []
    problem, decision = answer.get("problem"), answer.get("lastDecision")
    # Its reason is the last decision or what it waits for; either is said once.
    lines = [_headline(state, but_not=problem), _summary(answer)]
    if members:
        lines += ["", *_table([_HEADINGS, *(_row(member, state.get("address")) for member in members)])]
    below = _labelled(
        ("drained", "it does not lead; raftctl undrain takes that back" if state.get("drained") else None),
        ("check", _check(state.get("check"))),
        ("problem", problem),
        ("try", answer.get("hint")),
        ("disk", _disk(answer.get("diskWriteMs"), answer.get("diskFull"))),
        ("last decision", decision if members and decision != state.get("reason") else None),
    )
    below += _dropped(answer.get("framesDropped"), members)
    return lines + ["", *below] if members and below else lines + below


def _check(check: Optional[Dict[str, Any]]) -> Optional[str]:
    if not check:
        return None
    count = check.get("inARow")
    if not count:
        return f"{check.get('state')} since {check.get('since')}, no run has ended yet"
    last = "passed" if check.get("lastPassed") else "failed"
    said = f": {check['lastLine']}" if check.get("lastLine") else ""
    return (f"{check.get('state')} since {check.get('since')}, {last} {_count(count, 'time')} in a row, "
            f"last {check.get('lastStatus')}{said}")


def _disk(write_ms: Optional[int], is_full: Optional[bool]) -> Optional[str]:
    if write_ms is None or write_ms < _SLOW_WRITE_MS:
        return "full: this node takes no new writes; free space for its dataDir" if is_full else None
    return f"hangs: the present write has taken {write_ms / 1000:.1f} s; see the kernel log (dmesg)"


def _headline(state: Dict[str, Any], *, but_not: Optional[str]) -> str:
    said = state.get("reason")
    reason = f": {said}" if said and said not in (but_not or "") else ""
    return f"{state.get('address', '?')} is {state.get('state', '?')}, term {state.get('term', '?')}{reason}"


def _summary(answer: Dict[str, Any]) -> str:
    state, members = answer.get("state") or {}, answer.get("members") or []
    if not members:
        cluster = state.get("clusterId")
        return f"admitted to cluster {cluster}, its log has yet to come" if cluster else "in no cluster yet"
    parts = [
        f"leader {state['leader']}" if state.get("leader") else "no leader known",
        _count(len(members), "member"),
    ]
    reachable, needed = answer.get("votersReachable"), answer.get("votersNeeded")
    if reachable is not None and needed is not None and reachable < needed:
        parts.append(f"no majority: {_count(reachable, 'voter')} of the {needed} that it takes")
    elif answer.get("tolerates") is not None:
        parts.append(f"tolerates {_count(answer['tolerates'], 'failure')}")
    if state.get("commitIndex") is not None:
        parts.append(f"committed {state['commitIndex']}, applied {state.get('lastApplied', '?')}")
    return ", ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _row(member: Dict[str, Any], own_address: Optional[str]) -> tuple:
    own = member.get("address") == own_address
    return (
        "*" if member.get("isLeader") else "",
        str(member.get("name", "")),
        str(member.get("address", "")),
        str(member.get("role", "")),
        "this node" if own else _heard(member),
        "-" if member.get("matchIndex") is None else str(member["matchIndex"]),
        str(member.get("problem") or ""),
    )


def _heard(member: Dict[str, Any]) -> str:
    contact, connected = member.get("lastContactMs"), member.get("connected")
    if contact is None:
        return "connected" if connected else "not since start"
    # With nothing wrong, the connection is the news; how long a member may be silent the daemon knows.
    if connected and contact > _LATELY_MS and not member.get("problem"):
        return "connected"
    return f"{_age(contact)} ago" if connected else f"{_age(contact)} ago, cut"


def _age(span_ms: int) -> str:
    if span_ms < 1000:
        return f"{span_ms} ms"
    for length_ms, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min")):
        if span_ms >= 2 * length_ms:
            return f"{span_ms // length_ms} {unit}"
    return f"{span_ms / 1000:.1f} s"


def _table(rows: List[tuple]) -> List[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _dropped(unread: Optional[int], members: List[Dict[str, Any]]) -> List[str]:
    """Return a line for what bounded queues had to drop since the node started; none where they kept all."""
    unsent = sum(member.get("framesDropped") or 0 for member in members)
    if not unread and not unsent:
        return []
    return [f"dropped: {unread or 0} messages of peers unread, {unsent} to them unsent, "
            "since the node started"]


def _labelled(*pairs: tuple) -> List[str]:
    return [f"{label}: {text}" for label, text in pairs if text]
