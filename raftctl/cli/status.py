"""`status`: the cluster at a glance, as this node sees it. Every member has a row."""

from __future__ import annotations

import argparse
from typing import Any, Dict, List, Optional

from raftctl.base.errors import DONE
from raftctl.cli import endpoint, output

_HEADINGS = ("", "NAME", "ADDRESS", "ROLE", "HEARD", "INDEX", "PROBLEM")


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
    lines = [_headline(state), _summary(state, members, answer.get("tolerates"))]
    if members:
        lines += ["", *_table([_HEADINGS, *(_row(member, state.get("address")) for member in members)]), ""]
    lines += _labelled(
        ("problem", answer.get("problem")),
        ("try", answer.get("hint")),
        ("last decision", answer.get("lastDecision")),
    )
    return lines


def _headline(state: Dict[str, Any]) -> str:
    reason = f": {state['reason']}" if state.get("reason") else ""
    return f"{state.get('address', '?')} is {state.get('state', '?')}, term {state.get('term', '?')}{reason}"


def _summary(state: Dict[str, Any], members: List[Dict[str, Any]], tolerates: Optional[int]) -> str:
    parts = [
        f"leader {state['leader']}" if state.get("leader") else "no leader known",
        f"{len(members)} member{'' if len(members) == 1 else 's'}",
    ]
    if tolerates is not None:
        parts.append(f"tolerates {tolerates} failure{'' if tolerates == 1 else 's'}")
    if state.get("commitIndex") is not None:
        parts.append(f"committed {state['commitIndex']}, applied {state.get('lastApplied', '?')}")
    return ", ".join(parts)


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
    contact = member.get("lastContactMs")
    if contact is None:
        return "connected" if member.get("connected") else "never"
    text = f"{contact} ms ago" if contact < 1000 else f"{contact / 1000:.1f} s ago"
    return text if member.get("connected") else f"{text}, cut"


def _table(rows: List[tuple]) -> List[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _labelled(*pairs: tuple) -> List[str]:
    return [f"{label}: {text}" for label, text in pairs if text]
