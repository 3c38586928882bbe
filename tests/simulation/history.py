"""Is what clients saw linearizable? Easy to say here, because each change has a revision that is its place.

A revision is the index of the entry that changed the key, so the revisions of one key *are* the order in
which its changes took effect. What is left to check: real time (who began after another ended comes later),
and that each read, compare and delete saw what that order says. The rules here say in words what is wrong;
`linear.py` judges all that they leave out.
"""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

from simulation.clients import DONE, UNKNOWN, Operation
from simulation.linear import unexplained


def flaw(history: List[Operation]) -> Optional[str]:
    """Return what is not linearizable, None where all is."""
    for key in sorted({operation.key for operation in history}):
        found = _flaw([operation for operation in history if operation.key == key])
        if found:
            return f"key {key.decode()}: {found}"
    return None


def _flaw(history: List[Operation]) -> Optional[str]:
    known = [operation for operation in history if operation.outcome == DONE]
    changes: Dict[int, Operation] = {}
    for operation in known:
        if operation.kind != "get" and operation.code is None:
            if operation.revision in changes:
                return f"two changes with revision {operation.revision}: {operation}"
            changes[operation.revision] = operation
    unknown = {operation.written: operation for operation in history if operation.outcome == UNKNOWN}
    for operation in known:
        found = _wrong_value(operation, changes, unknown)
        if found:
            return found
    return _applied_twice(known) or _out_of_time(known, changes) or _lost_updates(known, changes) or unexplained(history)


def _wrong_value(operation: Operation, changes: Dict[int, Operation],
                 unknown: Dict[Optional[bytes], Operation]) -> Optional[str]:
    if operation.kind != "get" or not operation.revision:
        return None
    writer = changes.get(operation.revision)
    if writer is not None and writer.written != operation.value:
        return f"read {operation} of revision {operation.revision}, which wrote {writer.written!r}"
    if writer is None and operation.value not in unknown:
        return f"read {operation}, which nobody wrote"
    return None


def _applied_twice(known: List[Operation]) -> Optional[str]:
    """Values are written by one operation each: also one of unknown outcome is applied once (pitfall 8.2)."""
    places: Dict[Optional[bytes], int] = {}
    for operation in known:
        is_read = operation.kind == "get" and operation.revision
        if is_read and places.setdefault(operation.value, operation.revision) != operation.revision:
            return f"read {operation}, whose value had revision {places[operation.value]} before"
    return None


def _place(operation: Operation) -> Tuple[int, int]:
    """Return where an operation stands in the order of the key's changes: a read behind what it saw."""
    is_change = operation.kind != "get" and operation.code is None
    return operation.revision, 0 if is_change else 1


def _out_of_time(known: List[Operation], changes: Dict[int, Operation]) -> Optional[str]:
    """Whoever began after another ended stands at no earlier place."""
    placed = sorted((operation for operation in known if operation.revision), key=lambda one: one.end)
    newest: Optional[Operation] = None
    ended = 0
    for operation in sorted(placed, key=lambda one: one.begin):
        while ended < len(placed) and placed[ended].end < operation.begin:
            if newest is None or _place(placed[ended]) > _place(newest):
                newest = placed[ended]
            ended += 1
        if newest is not None and _place(operation)[0] < _place(newest)[0]:
            return f"{operation} began after {newest} had ended"
        if newest is not None and _place(newest)[1] and _place(operation) == (_place(newest)[0], 0):
            return f"{operation} changed what {newest} had seen already"
    return None


def _lost_updates(known: List[Operation], changes: Dict[int, Operation]) -> Optional[str]:
    """A compare-and-set succeeded on the revision just before it; none that we know of lies between."""
    order = sorted(changes)
    for operation in known:
        if operation.kind != "cas" or operation.code is not None or not operation.expected:
            continue
        between = [revision for revision in order if operation.expected < revision < operation.revision]
        if between:
            return f"{operation} succeeded though {changes[between[0]]} came before it"
    return None
