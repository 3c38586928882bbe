"""How names in the file are compared: without case, spaces, `_` and `-`; and which is nearest."""

from __future__ import annotations

import json
from typing import Iterable, Optional

_IGNORED = str.maketrans("", "", " _-")


def fold(name: str) -> str:
    """Return the form in which `name` is compared: `election min` and `electionMin` are one key."""
    return name.lower().translate(_IGNORED)


def nearest(name: str, known: Iterable[str]) -> Optional[str]:
    """Return the known name that `name` was most likely meant to be, None when nothing is near."""
    # Here and not above: only errors need it, and `raftctl state` starts a few ms sooner without.
    import difflib

    names = {fold(one): one for one in known}
    found = difflib.get_close_matches(fold(name), names, n=1, cutoff=0.65)
    return names[found[0]] if found else None


def shown(value: object, limit: int = 60) -> str:
    """Return a JSON value as it may stand in a one-line message."""
    text = json.dumps(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
