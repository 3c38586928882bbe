"""`inspect`: what a data directory holds, read only, whether its node runs, is stopped or can't start.

Values are never shown, they may be secret; keys only with --log.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any, Callable, Dict, List, Sequence, Tuple

from raftctl.base import durations
from raftctl.base.errors import DONE, NO, RaftctlError
from raftctl.cli import output
from raftctl.cluster.memory import Memory
from raftctl.config.load import load, pick
from raftctl.disk.files import PlacedFault
from raftctl.disk.recovery import MEND
from raftctl.disk.survey import DAMAGED, Survey, survey, walk
from raftctl.raft.configuration import Malformed, decode
from raftctl.raft.messages import COMMAND, CONFIGURATION, NOOP, ORIGIN, Entry
from raftctl.store import commands

_KINDS = {NOOP: "noop", COMMAND: "command", CONFIGURATION: "configuration"}
_OPERATIONS = {commands.PUT: "put", commands.DELETE: "delete"}
_FLUSH_BYTES = 1 << 16
_MS = 1_000_000


def run(options: argparse.Namespace) -> int:
    """Print what is there; return NO where something is damaged."""
    path = options.dir
    if path is None:
        path = pick(load(options.config, environ=os.environ, for_client=True), options.node).data_dir
    found = _with_memory(survey(path))
    if options.json:
        _show_json(found, with_log=options.log)
    else:
        _show(found, with_log=options.log)
    return NO if found.damage else DONE


def _with_memory(found: Survey) -> Survey:
    """Judge the memory of the members (P7) as well, which is no matter of the disk's."""
    try:
        Memory(found.log.memory)
    except Malformed as error:
        fault = PlacedFault(found.log.log_path, str(error), MEND)
        return found._replace(damage=(*found.damage, fault))
    return found


class _Buffer:
    """Writes to standard output in larger parts: a log has very many entries."""

    def __init__(self) -> None:
        self._parts: List[str] = []
        self._size = 0

    def add(self, text: str) -> None:
        self._parts.append(text)
        self._size += len(text)
        if self._size >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._parts:
            output.write("".join(self._parts).encode("utf-8", "backslashreplace"))
        self._parts, self._size = [], 0


def _walk(found: Survey, show: Callable[[Entry], None]) -> None:
    try:
        walk(found, show)
    except PlacedFault as fault:
        raise RaftctlError(f"{fault.path}: was changed while it was read ({fault.why}); run this again"
                           ) from fault


# --- for programs


def _show_json(found: Survey, *, with_log: bool) -> None:
    text = json.dumps(to_object(found), ensure_ascii=False)
    if not with_log:
        output.line(text)
        return
    buffer = _Buffer()
    # One object all the same, however long the log is.
    buffer.add(text[:-1] + ', "entries": [')
    between = ""

    def show(entry: Entry) -> None:
        nonlocal between
        buffer.add(between + json.dumps(entry_to_object(entry), ensure_ascii=False))
        between = ",\n"

    _walk(found, show)
    buffer.add("]}\n")
    buffer.flush()


def to_object(found: Survey) -> Dict[str, Any]:
    """Return all but the entries. Null: there is none, or it is not known."""
    own, hard = found.identity, found.hard_state
    members = found.members and {
        "index": found.members.index, "committed": found.members.is_committed,
        "clusterId": found.members.value.cluster_id,
        "members": [member._asdict() for member in found.members.value.members]}
    return {
        "path": found.path, "sound": not found.damage,
        "identity": own and {"clusterId": own.cluster_id or None, "instance": own.instance,
                             "incarnation": own.incarnation, "bootId": own.boot_id},
        "givenUp": found.is_given_up, "lock": found.holder._asdict(),
        "hardState": {"term": hard.term, "vote": hard.vote, "promiseMs": hard.promise / _MS,
                      "removed": None if hard.removed == ORIGIN else hard.removed._asdict()},
        "configuration": members, "log": {"after": found.base._asdict(), "last": found.last._asdict()},
        "segments": [segment._asdict() for segment in found.segments],
        "snapshots": [{"name": one.name, "state": one.state, "size": one.size,
                       "term": one.mark.position.term if one.mark else None,
                       "index": one.mark.position.index if one.mark else None,
                       "storeSize": one.mark.size if one.mark else None} for one in found.snapshots],
        "damage": [{"file": fault.path, "offset": fault.offset, "problem": fault.why, "hint": fault.mend}
                   for fault in found.damage],
    }


def entry_to_object(entry: Entry) -> Dict[str, Any]:
    """Return what is shown of an entry; `size` is that of its body in bytes."""
    shown: Dict[str, Any] = {**entry.position._asdict(), "kind": _KINDS[entry.kind], "size": len(entry.body)}
    try:
        if entry.kind == COMMAND:
            command = commands.decode(entry.body)
            shown.update(operation=_OPERATIONS[command.operation], key=command.key.decode(),
                         valueSize=len(command.value), ifRevision=command.if_revision)
        elif entry.kind == CONFIGURATION:
            shown["members"] = [member._asdict() for member in decode(entry.body).members]
    except (commands.Malformed, Malformed) as error:
        shown["problem"] = str(error)
    return shown


# --- for people


def _show(found: Survey, *, with_log: bool) -> None:
    output.line("\n".join(describe(found)))
    if not with_log or found.last == found.base:
        return
    buffer = _Buffer()
    widths = (max(len(str(found.last.index)), 5), max(len(str(found.last.term)), 4), 13, 7)
    buffer.add("\n" + _columns(("INDEX", "TERM", "KIND", "BYTES", "WHAT"), widths))
    _walk(found, lambda entry: buffer.add(_columns(_entry_row(entry), widths)))
    buffer.flush()


def _columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths)]
    return "  ".join([*padded, *cells[len(widths):]]).rstrip() + "\n"


def _entry_row(entry: Entry) -> Tuple[str, ...]:
    shown = entry_to_object(entry)
    what = shown.get("problem", "")
    if "operation" in shown:
        what = f"{shown['operation']} {_quoted(shown['key'])}"
        if shown["operation"] == "put":
            what += f", value of {shown['valueSize']} bytes"
        if shown["ifRevision"] is not None:
            what += f", if its revision is {shown['ifRevision']}"
    elif "members" in shown:
        what = ", ".join(member["address"] + ("" if member["voter"] else " (learner)")
                         for member in shown["members"])
    return str(entry.index), str(entry.term), shown["kind"], str(shown["size"]), what


def _quoted(key: str) -> str:
    """A key is any text: what could change the terminal or look like another line is escaped."""
    return json.dumps(key, ensure_ascii=not key.isprintable())


def describe(found: Survey) -> List[str]:
    """Return the lines for people, without the entries."""
    blocks = [[f"{found.path}: {_verdict(found)}", *_labelled(_identity_rows(found)),
               *_labelled(_state_rows(found))]]
    if found.members:
        blocks.append(_table(("MEMBER", "ROLE", "INSTANCE"), [
            (member.address, "voter" if member.voter else "learner", member.instance)
            for member in found.members.value.members]))
    if found.segments:
        blocks.append(_table(("SEGMENT", "STATE", "FIRST", "LAST", "USED", "SIZE"), [
            (one.name, _torn(one.state, one.torn), _index(one.first), _index(one.last), str(one.used),
             str(one.size)) for one in found.segments]))
    if found.snapshots:
        blocks.append(_table(("SNAPSHOT", "STATE", "INDEX", "TERM", "SIZE"), [
            (one.name, one.state, str(one.mark.position.index) if one.mark else "-",
             str(one.mark.position.term) if one.mark else "-", str(one.size)) for one in found.snapshots]))
    if found.damage:
        blocks.append([f"damage: {_fault(fault)}" for fault in found.damage])
    return "\n\n".join("\n".join(block) for block in blocks).split("\n")


def _verdict(found: Survey) -> str:
    if found.damage:
        return "damaged"
    if found.is_given_up:
        return "sound; its data is being given up, and the next start removes it"
    return "sound"


def _identity_rows(found: Survey) -> List[Tuple[str, str]]:
    own, holder = found.identity, found.holder
    by = f"pid {holder.pid}" if holder.pid else "a process that is not seen from here"
    lock = {True: f"held by {by}: the node runs, and its last record may be half written",
            False: "held by no process that is seen from here",
            None: "not known: /proc/locks can't be read"}[holder.held]
    rows = [("lock", lock)]
    if own is None:
        return [("instance", "none"), *rows]
    return [("cluster", own.cluster_id or "none yet"), ("instance", own.instance),
            ("incarnation", str(own.incarnation)), ("boot id", own.boot_id), *rows]


def _state_rows(found: Survey) -> List[Tuple[str, str]]:
    hard, rows = found.hard_state, []
    upto = ", as far as it is sound" if any(one.state == DAMAGED for one in found.segments) else ""
    rows.append(("term", f"{hard.term}{upto}"))
    rows.append(("vote", hard.vote or "nobody"))
    rows.append(("promise", durations.render(hard.promise) if hard.promise else "none"))
    rows.append(("removed", "no" if hard.removed == ORIGIN else f"from its cluster, at {hard.removed}"))
    if found.last == found.base:
        rows.append(("log", f"no entries behind {found.base.index}{upto}"))
    else:
        rows.append(("log", f"entries {found.base.index + 1} to {found.last.index}, the last of term "
                     f"{found.last.term}{upto}"))
    if found.members:
        known = ("committed" if found.members.is_committed
                 else "whether that is committed can't be known from one disk")
        count = len(found.members.value.members)
        rows.append(("members", f"{count} by entry {found.members.index}; {known}"))
    return rows


def _labelled(rows: Sequence[Tuple[str, str]]) -> List[str]:
    return [f"{label:<12} {text}" for label, text in rows]


def _torn(state: str, size: int) -> str:
    return f"torn tail of {size} bytes, which a start cuts" if size else state


def _index(index: int) -> str:
    return str(index) if index else "-"


def _fault(fault: PlacedFault) -> str:
    is_said = fault.offset is None or f"byte {fault.offset} " in fault.why
    where = "" if is_said else f"byte {fault.offset}: "
    return f"{fault.path}: {where}{fault.why}; {fault.mend}"


def _table(headings: Sequence[str], rows: Sequence[Tuple[str, ...]]) -> List[str]:
    everything = [headings, *rows]
    widths = [max(len(row[column]) for row in everything) for column in range(len(headings))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in everything]
