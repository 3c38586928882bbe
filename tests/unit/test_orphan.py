"""A node without guardian: it ends the groups on the board and becomes after-stop (P6)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from raftctl.base import groups
from raftctl.base.errors import NoLeader
from raftctl.node import orphan
from raftctl.tether import Board

BECOMES = r"""
import os, sys
from raftctl.node import orphan
from raftctl.tether import Board
board = Board.create()
os.close(0)
say = "import os, sys; print(sys.argv[1], os.fstat(int(sys.argv[2])).st_size)"
orphan.become([sys.executable, "-c", say], board)
"""


def test_p6_the_groups_on_the_board_are_told_to_end_and_no_other():
    board = Board.create()
    hook, other = (subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(2))
    board.name_groups((groups.of(hook.pid), groups.of(other.pid)._replace(begun=1)))
    orphan.end_groups(board)
    assert hook.wait(20) == -signal.SIGTERM and other.poll() is None
    other.kill()
    other.wait(20)
    board.close()


def test_a_node_thread_that_hangs_does_not_keep_it_from_ending():
    def hangs():
        raise NoLeader("busy")
    orphan.resign(hangs)


def test_p6_it_becomes_after_stop_with_the_board():
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run([sys.executable, "-c", BECOMES], capture_output=True, timeout=20, check=True,
                          env={**os.environ, "PYTHONPATH": top})
    assert done.stdout.split() == [b"--board-fd", b"704"], done.stderr


def test_where_it_can_not_it_says_so(caplog):
    board = Board.create()
    orphan.become(["/nowhere/python3"], board)
    assert "after-stop can't be executed" in caplog.text
    board.close()
