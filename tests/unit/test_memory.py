"""The collector of a long-lived process: what it began with is set aside, later cycles are found."""

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PROGRAM = """
import gc, weakref
from raftctl.base import memory
memory.settle()
assert gc.isenabled() and gc.get_freeze_count() > 1000, gc.get_freeze_count()
class Knot: pass
knot = Knot()
knot.itself, seen = knot, weakref.ref(knot)
del knot
kept = [[] for _ in range(2 * memory.YOUNG)]
assert seen() is None
"""


def test_settled_objects_are_set_aside_and_later_cycles_are_collected():
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=TOP, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr
