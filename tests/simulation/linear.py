"""Is there one order of a key's operations that explains every answer? (Wing and Gong, with a memory of dead ends)

Depth first: next comes an operation that began before any other that is left ended, if the key's state then
gives its answer. The revision of a change is its place among the changes, so the search hardly ever branches.
An operation without an answer may come at any time after its begin, or never.
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Set, Tuple

from simulation.clients import DONE, REFUSED, UNKNOWN, Operation

FOREVER = 1 << 62
# A history that asks for more was not meant to be judged: say so rather than pass it.
STEPS_LIMIT = 200_000


class _Key(NamedTuple):
    """`value` None: absent. `revision` of the last change of a present key, None: not known. `newest`: of any."""

    value: Optional[bytes]
    revision: Optional[int]
    newest: int


def unexplained(history: List[Operation]) -> Optional[str]:
    """Return the first operation behind which no order of one key's operations goes on; None: all explained."""
    operations = sorted((one for one in history if one.outcome != REFUSED), key=lambda one: one.begin)
    seen_values = {one.value: one.revision for one in operations if one.kind == "get" and one.value}
    wanted = sum(1 << place for place, one in enumerate(operations) if one.outcome == DONE)
    stack = [(0, _Key(None, 0, 0))]
    dead: Set[Tuple[int, _Key]] = set()
    furthest, steps = 0, 0
    while stack:
        placed, key = stack.pop()
        if placed & wanted == wanted:
            return None
        if (placed, key) in dead:
            continue
        dead.add((placed, key))
        steps += 1
        if steps > STEPS_LIMIT:
            return f"no order found in {STEPS_LIMIT} steps"
        if bin(placed & wanted).count("1") > bin(furthest & wanted).count("1"):
            furthest = placed
        stack += _next(operations, placed, key, seen_values)
    left = [one for place, one in enumerate(operations) if one.outcome == DONE and not furthest >> place & 1]
    return f"no order explains {min(left, key=lambda one: one.end)}"


def _next(operations: List[Operation], placed: int, key: _Key, seen_values) -> List[Tuple[int, _Key]]:
    left = [(place, one) for place, one in enumerate(operations) if not placed >> place & 1]
    first_end = min(one.end if one.outcome == DONE else FOREVER for _, one in left)
    found = []
    for place, one in left:
        if one.begin > first_end:
            break
        after = _after(one, key, seen_values)
        if after is not None:
            found.append((one.outcome == DONE, placed | 1 << place, after))
    # Taken from the end: what has an answer first, and of that the earliest.
    return [(mask, after) for _, mask, after in sorted(reversed(found), key=lambda item: item[0])]


def _after(one: Operation, key: _Key, seen_values) -> Optional[_Key]:
    """Return the key's state after `one`, None where its answer does not fit."""
    if one.outcome == UNKNOWN:
        return _unknown(one, key, seen_values)
    if one.kind == "get":
        return _sees(key, one.revision) if one.value == key.value else None
    if one.code == "not_found":
        return key if key.value is None else None
    if one.code is not None:                    # a compare-and-set that did not meet what it expected
        return _sees(key, one.revision) if one.revision != one.expected else None
    if one.revision <= key.newest:
        return None
    if one.kind == "delete":
        return _Key(None, 0, one.revision) if key.value is not None else None
    if one.kind == "cas" and _sees(key, one.expected or 0) is None:
        return None
    return _Key(one.written, one.revision, one.revision)


def _sees(key: _Key, revision: int) -> Optional[_Key]:
    """`revision` is that of the key now: does it fit? What was not known of it is known then."""
    if key.revision is None and revision > key.newest:
        return key._replace(revision=revision, newest=revision)
    return key if key.revision == revision else None


def _unknown(one: Operation, key: _Key, seen_values) -> Optional[_Key]:
    if one.kind == "delete":
        return None if key.value is None else _Key(None, 0, key.newest)
    if one.kind == "cas" and _sees(key, one.expected or 0) is None:
        return None
    revision = seen_values.get(one.written)
    if revision is None:
        return _Key(one.written, None, key.newest)
    return _Key(one.written, revision, revision) if revision > key.newest else None
