"""`start`: the guardian of one node, or of all nodes of a cluster file, in the foreground."""

from __future__ import annotations

import argparse
import os
import time
from typing import Tuple

from raftctl.base.addresses import parse
from raftctl.base.errors import DISK, DONE, FAULT, NOT_ALLOWED, USAGE, UsageError
from raftctl.cli import output
from raftctl.cli.program import program
from raftctl.config.load import load, pick
from raftctl.config.model import Loaded, NodeConfig
from raftctl.config.nodes import refuse_join
from raftctl.config.own import NoneIsHere
from raftctl.config.places import NoneNamed
from raftctl.host import guardian
from raftctl.host.notify import notify

_LOOK_AGAIN_S = 0.5

_ENDS = {
    USAGE: "status 2, the configuration can't be used",
    NOT_ALLOWED: "status 6, another raftctl uses the data directory",
    FAULT: "status 70, a fault of raftctl",
    DISK: "status 74, the disk failed or what is on it is damaged",
}


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
        try:
            refuse_join(address, nodes[0].address, has_list=bool(nodes[0].cluster_nodes), name="--join")
        except UsageError as error:
            raise UsageError(f"{loaded.path}: {error}") from None
        nodes = (nodes[0]._replace(join=address),)
        # The child reads the file itself; what the command line changed it must be told.
        prefix += ["--join", str(address)]
    status = guardian.run(loaded, nodes, program=prefix)
    _say_where(status, loaded, nodes)
    return status


def _load(options: argparse.Namespace) -> Loaded:
    """Return the configuration; where no entry of its list is this host yet, wait: the network may come up.

    To end with 2 would be for good: units don't restart that.
    """
    said = ""
    while True:
        try:
            return load(options.config, environ=os.environ)
        except NoneNamed as error:
            raise UsageError(f"{error}; a first look without any: raftctl start --local 3") from None
        except NoneIsHere as error:
            if str(error) != said:
                said = str(error)
                output.complain(f"{said}; waits for it")
                notify(f"STATUS=waits: {said}")
        time.sleep(_LOOK_AGAIN_S)


def _say_where(status: int, loaded: Loaded, nodes: Tuple[NodeConfig, ...]) -> None:
    """Say which log knows why it ended, if that was not on this terminal already."""
    files = [loaded.log_file, *(node.log_file for node in nodes)]
    named = " ".join(dict.fromkeys(file for file in files if file is not None))
    if status != DONE and named:
        output.complain(f"ended with {_ENDS.get(status, f'status {status}')}; see {named}")
