"""From the path of a configuration file to a JSON object, strictly; faults name file, line and column.

Stricter than `json`: no duplicate keys (two spellings of one key are duplicates), no NaN or Infinity, no lone
surrogates or control characters in text, UTF-8 without a byte order mark. The texts of syntax errors are
ours, because those of `json` differ from version to version.
"""

from __future__ import annotations

import json
import os
import re
import stat
from typing import Any, Dict, List, Tuple

from raftctl.base.errors import UsageError
from raftctl.config.spelling import fold

SIZE_LIMIT = 1 << 20
_BAD_CHARACTER = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_SHORTEST = '{"address": "tcp://localhost:8089"}'


def read_object(path: str) -> Dict[str, Any]:
    """Return the object in the file `path`, keys as written; raise `UsageError` `PATH: ...`."""
    text = _decode(path, read_regular(path, SIZE_LIMIT))
    if not text.strip():
        raise UsageError(f"{path}: is empty; the shortest configuration is {_SHORTEST}")
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=_integer
        )
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}: {_syntax(text, error.msg, error.pos)}") from None
    except RecursionError:
        raise UsageError(f"{path}: is nested too deeply; a configuration has at most four levels") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path}: is no JSON object; write {_SHORTEST}")
    _refuse_bad_characters(path, value)
    return value


def read_regular(path: str, limit: int) -> bytes:
    """Return the content of a regular file; `UsageError` `PATH: ...` if it is none or over `limit` bytes."""
    try:
        # O_NONBLOCK: a FIFO without a writer must not hang us; it is then refused.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise UsageError(f"{path}: is {_kind(mode)}; name a regular file")
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(limit + 1)
        finally:
            os.close(descriptor)
    except ValueError:
        raise UsageError(f"{path!r}: is no file name") from None
    except PermissionError as error:
        raise Unreadable(f"{path}: {_reason(error)}; let this user read it, or use sudo") from None
    except OSError as error:
        raise UsageError(f"{path}: {_reason(error)}") from None
    if len(data) > limit:
        raise UsageError(f"{path}: is longer than {limit} bytes; name another file")
    return data


class Unreadable(UsageError):
    """This user may not read a file (a client goes on without the secret)."""


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()


def _kind(mode: int) -> str:
    return "a directory" if stat.S_ISDIR(mode) else "no regular file"


def _decode(path: str, data: bytes) -> str:
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"{path}: begins with a byte order mark; save it as UTF-8 without one")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}: line {line} is not UTF-8 (byte {error.start}); save it as UTF-8") from None


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    seen: Dict[str, str] = {}
    for name, _ in pairs:
        former = seen.get(fold(name))
        if former == name:
            raise UsageError(f'"{name}" stands twice in one object; remove one')
        if former is not None:
            raise UsageError(f'"{former}" and "{name}" are the same key; remove one')
        seen[fold(name)] = name
    return dict(pairs)


def _refuse_constant(name: str) -> Any:
    raise UsageError(f"{name} is no JSON; write a number")


def _integer(digits: str) -> int:
    # Python 3.11 and newer refuse to convert more than 4300 digits, with an error of their own.
    if len(digits) > 20:
        raise UsageError(f"the number {digits[:12]}... has {len(digits)} digits; write a smaller one")
    return int(digits)


def _refuse_bad_characters(path: str, value: Any) -> None:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str):
            found = _BAD_CHARACTER.search(item)
            if found:
                raise UsageError(
                    f"{path}: the text {json.dumps(item)[:60]} holds the control character "
                    f"U+{ord(found.group()):04X}; remove it"
                )


# What `json` says (its beginning, the same in all versions) and what we say; {c} is the character there.
_SYNTAX = (
    ("Expecting property name", "expected a key in double quotes, not {c}"),
    ("Expecting ':' delimiter", 'expected ":" after the key, not {c}'),
    ("Expecting ',' delimiter", 'expected "," or the end of the object or list, not {c}'),
    ("Expecting value", "expected a value, not {c}"),
    ("Unterminated string", "this text has no closing double quote"),
    ("Invalid control character", "a text must end on the line where it begins"),
    ("Invalid \\", 'unknown escape; write "\\\\" for a backslash'),
    ("Extra data", "expected the end of the file, not {c}"),
)


def _syntax(text: str, message: str, position: int) -> str:
    """Return one line for a syntax error at `position`: line, column (from 1), what is wrong, what to do."""
    complaint = next((ours for theirs, ours in _SYNTAX if message.startswith(theirs)), "is no JSON at {c}")
    # Python 3.13 points at a trailing comma, older ones behind it.
    before = (
        text[: position + 1].rstrip() if text[position : position + 1] == "," else text[:position].rstrip()
    )
    rest = text[len(before) :].lstrip()
    if before.endswith(",") and rest[:1] in ("}", "]"):
        position = len(before) - 1
        complaint = f'there is a comma before "{rest[0]}"; remove it'
    elif text.startswith(("//", "/*", "#"), position):
        complaint = "JSON has no comments; remove it"
    elif text.startswith("'", position):
        complaint = "text stands in double quotes, not single ones"
    here = text[position : position + 1]
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    return f"line {line}, column {column}: " + complaint.replace(
        "{c}", json.dumps(here) if here else "the end"
    )
