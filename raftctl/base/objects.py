"""One JSON object from a stranger: strict, so that two readers can never see two things in the same bytes.

Owns only the reading: duplicate keys, NaN and Infinity, numbers beyond 64 bits or a float's range, lone
surrogates and nesting without end are refused. What the fields mean is for the callers (handshake, command
protocol).
"""

from __future__ import annotations

import json
import math
from typing import Any, Dict, List, Tuple

_LONGEST_INTEGER = 20


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f'"{key[:40]}" stands there twice')
            seen.add(key)
    return found


def _integer(digits: str) -> int:
    # int() of a million digits takes seconds where Python has no limit of its own.
    if len(digits) > _LONGEST_INTEGER:
        raise ValueError("a number is too large")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number is too large")
    return value


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


def parse_object(data: bytes) -> Dict[str, Any]:
    """Return the one JSON object that is `data` (UTF-8, white space around it allowed).

    Raises `ValueError` with one line that says what is wrong. Any thread.
    """
    try:
        found = _DECODER.decode(data.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    if isinstance(found, dict):
        if b"\\u" in data:
            _refuse_lone_surrogates(found)
        return found
    raise ValueError("not a JSON object")


def _refuse_lone_surrogates(found: Dict[str, Any]) -> None:
    try:
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair is no text") from None
