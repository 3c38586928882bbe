"""STUB, signatures final: client of the command protocol."""

from __future__ import annotations

from typing import Any, Dict, Sequence, Tuple


class CommandClient:
    """endpoints: ("tcp", host, port) | ("unix", path), tried in order. Context manager."""

    def __init__(self, endpoints: Sequence[tuple], *, secrets: Tuple[bytes, ...] = (), timeout_s: float = 5.0) -> None: ...
    def request(self, request: Dict[str, Any]) -> Dict[str, Any]: ...   # Unreachable, OutcomeUnknown, NotAllowed (authentication)
    def close(self) -> None: ...
