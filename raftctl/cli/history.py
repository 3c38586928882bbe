"""`history`: who led, when that changed and why, as one node saw it; without a daemon, off its file."""

from __future__ import annotations

import argparse
import os
from typing import Any, Dict, List

from raftctl.base.errors import DONE, Unreachable
from raftctl.cli import endpoint, output
from raftctl.config.load import load, pick
from raftctl.disk import history

_HEADINGS = ("TIME", "TERM", "LEADER", "EVENT", "CAUSE")


def run(options: argparse.Namespace) -> int:
    """Print the newest entries, the newest last."""
    entries = _entries(options)
    if options.json:
        output.show_json({"entries": entries})
    elif entries:
        output.line("\n".join(describe(entries)))
    return DONE


def _entries(options: argparse.Namespace) -> List[Dict[str, Any]]:
    try:
        return endpoint.ask(options, {"action": "history", "limit": options.limit})["entries"]
    except Unreachable:
        node = pick(load(options.config, environ=os.environ, for_client=True), options.node)
        path = os.path.join(node.data_dir, "history")
        try:
            entries = history.read(path, options.limit)
        except OSError:
            entries = []
        if not entries:
            raise
        output.complain(f"no daemon answers; this is what {path} holds")
        return entries


def describe(entries: List[Dict[str, Any]]) -> List[str]:
    """Return the table for people; "by" stands behind the cause."""
    rows = [_HEADINGS, *(_row(entry) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _row(entry: Dict[str, Any]) -> tuple:
    by, left_out = entry.get("by"), entry.get("leftOut")
    cause = str(entry.get("cause") or "")
    if by:
        cause += f", by {by}"
    if left_out:
        cause += f" ({left_out} entries before it were left out)"
    return (str(entry["time"]), str(entry.get("term", "")), str(entry.get("leader") or "-"),
            str(entry["event"]), cause)
