"""What a node does whose guardian has died or hangs: nobody else ends what runs on this host (P6).

In this order: the process groups that the guardian named are told to end, the term is released, and the
process becomes `after-stop`, which runs the outgoing work. Main thread.
"""

from __future__ import annotations

import logging
import os
from typing import Callable, Sequence

from raftctl.base import groups
from raftctl.base.errors import NoLeader
from raftctl.tether import Board

_log = logging.getLogger(__name__)


def end_groups(board: Board) -> None:
    """Tell the hooks of the guardian to end; `after-stop` sees to it that they do."""
    for group in board.groups():
        if groups.is_led(group) and groups.end(group):
            _log.warning("process group %d was the guardian's and is ended", group.number)


def resign(give_up: Callable[[], None]) -> None:
    """Release the term, by `give_up`; a node thread that hangs leads no more either, `become` ends it."""
    try:
        give_up()
    except NoLeader as error:
        _log.error("the term is not released by this node: %s", error)


def become(after_stop: Sequence[str], board: Board) -> None:
    """Execute `after_stop`; return only where that fails. The lock of the directory is free by then."""
    board_fd = board.fd
    os.set_inheritable(board_fd, True)
    try:
        os.execv(after_stop[0], [*after_stop, "--board-fd", str(board_fd)])
    except OSError as error:
        _log.error("after-stop can't be executed (%s): outgoing work waits for the next start", error)
