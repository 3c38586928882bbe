"""For all tests: nothing is written into the tree, and the user's own raftctl is out of the picture."""

import os
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

sys.dont_write_bytecode = True
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
for name in ("RAFTCTL_CONFIG", "NOTIFY_SOCKET"):
    os.environ.pop(name, None)
if TOP not in sys.path:
    sys.path.insert(0, TOP)
