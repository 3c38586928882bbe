"""The bytes of the file `instance`: who a data directory is (P7), as JSON for people, with a checksum. Pure.

Nothing else says which incarnation was the last, so that a flipped bit must be seen: the file is read only
where it is, byte for byte, what this module writes.
"""

from __future__ import annotations

import json
import zlib
from typing import Any, Dict, NamedTuple, Tuple

from raftctl.raft.configuration import Malformed

# 1 had no checksum; no release wrote it.
FORMAT = 2


class Identity(NamedTuple):
    """`incarnation` is that of this start. `boot_id`, `lock_device`, `lock_inode`: of this start too (P4)."""

    cluster_id: str
    instance: str
    incarnation: int
    boot_id: str
    lock_device: int
    lock_inode: int


_TYPES = dict(zip((*Identity._fields, "removed"), (str, str, int, str, int, int, bool)))


class UnknownFormat(Exception):
    """The file has another format; the argument is its number."""


def encode(identity: Identity, *, removed: bool = False) -> bytes:
    """Return the content of `instance`. `removed`: the data is being given up."""
    return _spell({"format": FORMAT, **identity._asdict(), "removed": removed})


def decode(raw: bytes) -> Tuple[Identity, bool]:
    """Return the identity and whether it is removed; raise `Malformed` or `UnknownFormat`.

    The format is judged before the checksum: how a later one spells that is not known here.
    """
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from error
    if not isinstance(found, dict):
        raise Malformed("it is no object")
    number = found.get("format")
    if type(number) is int and number != FORMAT:
        raise UnknownFormat(number)
    found.pop("crc", None)
    if raw != _spell(found):
        raise Malformed("its checksum is wrong")
    wrong = [name for name, kind in _TYPES.items() if type(found.get(name)) is not kind]
    if wrong or not found["instance"] or found["incarnation"] < 1:
        raise Malformed(f"its checksum fits, but {wrong[0] + ' is missing' if wrong else 'it names nobody'}")
    return Identity(*(found[name] for name in Identity._fields)), found["removed"]


def _spell(fields: Dict[str, Any]) -> bytes:
    bare = json.dumps(fields, indent=1).encode()
    return json.dumps({**fields, "crc": f"{zlib.crc32(bare):08x}"}, indent=1).encode() + b"\n"
