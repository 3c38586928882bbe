"""`start`: the guardian of one node, or of all nodes of a cluster file, in the foreground."""

from __future__ import annotations

import argparse
import os
import time

from raftctl.base.addresses import parse
from raftctl.base.errors import UsageError
from raftctl.cli import output
from raftctl.cli.program import program
from raftctl.config.load import load, pick
from raftctl.config.model import Loaded
from raftctl.config.own import NoneIsHere
from raftctl.host import guardian
from raftctl.host.notify import notify

_LOOK_AGAIN_S = 0.5


def run(options: argparse.Namespace) -> int:
    """Run until told to stop and return the exit status (design §8, `start`)."""
    if options.local is not None:
        # Not at the top: who starts a service needs none of it.
        from raftctl.cli import local

        return local.run(options)
    if options.event:
        raise UsageError('--event goes with --local; in a configuration it is the key "events"')
    loaded = _load(options)
    nodes = loaded.nodes if options.node is None else (pick(loaded, options.node),)
    prefix = program()
    if options.join is not None:
        address = parse(options.join)
        if len(nodes) != 1:
            raise UsageError(
                f"{loaded.path}: has {len(nodes)} nodes, --join is for one; choose it: --node NODE"
            )
        if address == nodes[0].address:
            raise UsageError(f"--join: {address} is this node's own address; name a member of the cluster")
        nodes = (nodes[0]._replace(join=address),)
        # The child reads the file itself; what the command line changed it must be told.
        prefix += ["--join", str(address)]
    return guardian.run(loaded, nodes, program=prefix)


def _load(options: argparse.Namespace) -> Loaded:
    """Return the configuration; where no entry of its list is this host yet, wait: the network may come up.

    To end with 2 would be for good: units don't restart that.
    """
    said = ""
    while True:
        try:
            return load(options.config, environ=os.environ)
        except NoneIsHere as error:
            if str(error) != said:
                said = str(error)
                output.complain(f"{said}; waits for it")
                notify(f"STATUS=waits: {said}")
        time.sleep(_LOOK_AGAIN_S)
