"""`start`: the guardian of one node, or of all nodes of a cluster file, in the foreground."""

from __future__ import annotations

import argparse
import os

from raftctl.base.addresses import parse
from raftctl.base.errors import UsageError
from raftctl.cli.program import program
from raftctl.config.load import load, pick
from raftctl.config.nodes import refuse_join
from raftctl.host import guardian


def run(options: argparse.Namespace) -> int:
    """Run until told to stop and return the exit status (design §8, `start`)."""
    if options.local is not None:
        # Not at the top: who starts a service needs none of it.
        from raftctl.cli import local

        return local.run(options)
    if options.event:
        raise UsageError('--event goes with --local; in a configuration it is the key "events"')
    loaded = load(options.config, environ=os.environ)
    nodes = loaded.nodes if options.node is None else (pick(loaded, options.node),)
    prefix = program()
    if options.join is not None:
        address = parse(options.join)
        if len(nodes) != 1:
            raise UsageError(
                f"{loaded.path}: has {len(nodes)} nodes, --join is for one; choose it: --node NODE"
            )
        try:
            refuse_join(address, nodes[0].address, has_list=bool(nodes[0].cluster_nodes), name="--join")
        except UsageError as error:
            raise UsageError(f"{loaded.path}: {error}") from None
        nodes = (nodes[0]._replace(join=address),)
        # The child reads the file itself; what the command line changed it must be told.
        prefix += ["--join", str(address)]
    return guardian.run(loaded, nodes, program=prefix)
