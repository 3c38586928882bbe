"""The hidden command `node`: one node's process, as its guardian starts it. Nobody calls it by hand."""

from __future__ import annotations

import argparse
import os

from raftctl.base.addresses import parse
from raftctl.config.load import load, pick
from raftctl.node import daemon


def run(options: argparse.Namespace) -> int:
    """Run the node until it ends; return its exit status. Both descriptors come from the guardian."""
    # Which entry of a shared list this is the guardian has found out; the network may be gone again by now.
    own = parse(options.node)
    loaded = load(options.config, environ=os.environ,
                  can_bind=lambda host: None if host == own.host else "another host's")
    node = pick(loaded, options.node)
    if options.join is not None:
        node = node._replace(join=parse(options.join))
    return daemon.run(node, options.tether_fd, options.board_fd)
