"""`state`: what is this node? The word LEADER stands in the output of the leader only (P2)."""

from __future__ import annotations

import argparse

from raftctl.base.errors import DONE, NO, UsageError
from raftctl.cli import endpoint, output


def run(options: argparse.Namespace) -> int:
    """Print `{ "state": "…" }`, with --json all that the daemon says, with --is neither."""
    if (options.host is None) != (options.port is None):
        raise UsageError("give HOST and PORT, or neither; for a node of a cluster file: --node")
    daemon = endpoint.find(options) if options.host is None else endpoint.at(options.host, options.port)
    answer = daemon.ask({"action": "state"}, options.timeout)
    if options.states:
        return DONE if answer["state"] in options.states else NO
    if options.json:
        output.show_json(answer)
    else:
        output.line(f'{{ "state": "{answer["state"]}" }}')
    return DONE
