"""The hidden command `node`: one node's process, as its guardian starts it. Nobody calls it by hand."""

from __future__ import annotations

import os
from typing import NamedTuple, Optional, Sequence

from raftctl.base.addresses import parse
from raftctl.base.errors import UsageError
from raftctl.cli.program import program
from raftctl.config.load import load, pick
from raftctl.node import daemon


class Options(NamedTuple):
    """What `host/children.py` and `cli/start.py` put behind the program."""

    config: Optional[str]
    join: Optional[str]
    node: str
    tether_fd: int
    board_fd: int


def read(words: Sequence[str]) -> Options:
    """Return the options in `[-c FILE] [--join ADDRESS] node --node ADDRESS --tether-fd N --board-fd N`."""
    named = [word for word in words if word != "node"]
    found = dict(zip(named[::2], named[1::2]))
    try:
        return Options(found.pop("-c", None), found.pop("--join", None), found.pop("--node"),
                       int(found.pop("--tether-fd")), int(found.pop("--board-fd")))
    except (KeyError, ValueError):
        raise UsageError("the command `node` is for the guardian alone; see: raftctl help start") from None


def run(options: Options) -> int:
    """Run the node until it ends; return its exit status. Both descriptors come from the guardian."""
    # Which entry of a shared list this is the guardian has found out; the network may be gone again by now.
    own = parse(options.node)
    loaded = load(options.config, environ=os.environ,
                  can_bind=lambda host: None if host == own.host else "another host's")
    node = pick(loaded, options.node)
    if options.join is not None:
        node = node._replace(join=parse(options.join))
    after_stop = [*program(), "-c", loaded.path, "--node", options.node, "after-stop"]
    return daemon.run(node, options.tether_fd, options.board_fd, after_stop)
