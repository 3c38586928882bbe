"""`wait CONDITION`: returns when it is true. The daemon waits; it is asked again only for very long ones."""

from __future__ import annotations

import argparse
import time
from typing import Any, Dict

from raftctl.base.errors import DONE, RaftctlError, UsageError
from raftctl.cli import endpoint, output
from raftctl.cli.commands import states

_LONGEST_QUESTION_S = 300.0


def run(options: argparse.Namespace) -> int:
    """Wait until the condition is true of the daemon of --config, at most --timeout.

    Raises `CommandError` with exit status 4 for one that is not true in time, `Unreachable` where no daemon
    answers.
    """
    request = {"action": "wait", **read_condition(options.condition)}
    daemon = endpoint.find(options)
    end_s = time.monotonic() + options.timeout
    while True:
        left_s = max(end_s - time.monotonic(), 0.001)
        try:
            reply = daemon.ask(request, min(left_s, _LONGEST_QUESTION_S))
        except RaftctlError as error:
            if getattr(error, "code", "") == "timeout" and left_s > _LONGEST_QUESTION_S:
                continue
            raise
        if options.json:
            output.show_json(reply)
        return DONE


def read_condition(text: str) -> Dict[str, Any]:
    """Return the fields of the request for `leader`, `quorum`, `member=NAME` or `state=S[,S]`."""
    name, equals, value = text.partition("=")
    if name in ("leader", "quorum") and not equals:
        return {"for": name}
    if name == "member" and value:
        return {"for": name, "member": value}
    if name == "state" and value:
        return {"for": name, "states": list(states(value, name))}
    raise UsageError(f'"{text}" is no condition; wait for leader, quorum, member=NAME or state=S[,S]')
