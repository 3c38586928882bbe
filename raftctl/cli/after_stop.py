"""The hidden command `after-stop`: for a unit whose service has ended, and a node whose guardian died (P6).

Without the proof that nobody is that node any more (P4) it does nothing at all.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import time
from typing import List, Optional, Tuple

from raftctl.base.addresses import parse
from raftctl.base.errors import DONE, RaftctlError, UsageError
from raftctl.base.groups import Group
from raftctl.base.logs import Logs, setup
from raftctl.config.load import load, pick
from raftctl.config.model import Loaded, NodeConfig
from raftctl.disk.directory import Left, locked_directory, read_note
from raftctl.disk.peers import read_peers
from raftctl.disk.reading import read_term
from raftctl.host import after_stop
from raftctl.host.after_stop import Ended
from raftctl.host.outgoing import parse_note
from raftctl.host.release import Endpoint, read_endpoints
from raftctl.tether import Board

_LOCK_S = 1.0
_LOGS_CLOSE_S = 2.0


def run(options: argparse.Namespace) -> int:
    """Do it for all nodes of the file, or the one that is named; return the exit status."""
    loaded = _load(options)
    nodes = loaded.nodes if options.node is None else (pick(loaded, options.node),)
    named = _groups(options.board_fd)
    logs: List[Logs] = []
    with contextlib.ExitStack() as held:
        held.callback(_close, logs)
        found = []
        for node in nodes:
            name = f"after-stop {str(node.address).replace('.', '_')}"
            logs.append(setup(str(node.address), node.log_file, node.log_level, name))
            ended = _prove(held, node, logging.getLogger(name), named)
            if ended:
                found.append((ended, logging.getLogger(name)))
        after_stop.run(found)
    return DONE


def _close(logs: List[Logs]) -> None:
    end_s = time.monotonic() + _LOGS_CLOSE_S
    for target in logs:
        target.close(max(0.0, end_s - time.monotonic()))


def _load(options: argparse.Namespace) -> Loaded:
    """A node says which it is: the network may be gone, and with it the address by which it was found."""
    try:
        own = parse(options.node) if options.node else None
    except UsageError:
        own = None
    if own is None:
        return load(options.config, environ=os.environ)
    return load(options.config, environ=os.environ,
                can_bind=lambda host: None if host == own.host else "another host's")


def _groups(board_fd: Optional[int]) -> Tuple[Group, ...]:
    return () if board_fd is None else Board.attach(board_fd).groups()


def _prove(held: contextlib.ExitStack, node: NodeConfig, log: logging.Logger, named: Tuple[Group, ...]
           ) -> Optional[Ended]:
    """Take the lock of the node's directory, for as long as `held`, and return what its last process left.

    None, with a word in the log, without the proof that nobody can be that process any more (pitfall 1.3).
    """
    try:
        left = held.enter_context(locked_directory(node.data_dir, deadline_s=_LOCK_S))
    except FileNotFoundError:
        return None          # nobody was ever started there
    except RaftctlError as error:
        log.info("after-stop does nothing: %s", error)
        return None
    if not left.is_proof:
        log.info("after-stop does nothing: %s says of the process before: %s", node.data_dir, left.why_not)
        return None
    text, identity = read_note(node.data_dir), left.identity
    note = None if text is None else parse_note(text)
    groups = (note.group,) if note and note.group else ()
    return Ended(node, identity.cluster_id, identity.instance, identity.incarnation, _term(node, left, log),
                 _endpoints(node, log), note, tuple(dict.fromkeys((*named, *groups))))


def _term(node: NodeConfig, left: Left, log: logging.Logger) -> int:
    """Return the term on disk: the node led in no later one. 0: it can't be told, nothing is released."""
    if not left.identity.cluster_id:
        return 0
    try:
        return read_term(os.path.join(node.data_dir, "log"), left.identity.instance)
    except RaftctlError as error:
        log.error("nothing is released: %s", error)
        return 0


def _endpoints(node: NodeConfig, log: logging.Logger) -> Tuple[Endpoint, ...]:
    try:
        found = json.loads(read_peers(node.data_dir))
        return tuple(endpoint for endpoint in read_endpoints({"endpoints": found})
                     if endpoint.address != str(node.address))
    except (RaftctlError, OSError, ValueError, TypeError) as error:
        log.warning("nobody is told: which peers there are can't be read: %s", error)
        return ()
