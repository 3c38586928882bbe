"""STUB, signatures final: the command listener. `answer` raises error_codes.CommandError for error replies."""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple


class Caller(NamedTuple):
    may_change: bool
    who: str            # "root@h2", "tcp 127.0.0.1"
    transport: str      # "unix" | "tcp"


class CommandListener:
    port: Optional[int]

    def __init__(self, tcp: Optional[Tuple[str, int]], unix: Optional[str],
                 answer: Callable[[Dict[str, Any], Caller], Dict[str, Any]], secrets: Tuple[bytes, ...] = (), *,
                 insecure: bool = False) -> None: ...
    def start(self) -> None: ...
    def close(self, deadline_s: float) -> None: ...
