#!/usr/bin/env python3
"""Starts raftctl from a checkout: `python3 raftctl.py ...`. The program is the folder raftctl/ beside it.

Its syntax is old on purpose: a Python that is too old must get as far as the line that says so.
"""

import os
import sys


def main():
    if sys.version_info < (3, 9):
        return refuse("Python %d.%d is too old; use 3.9 or newer (this is %s)"
                      % (sys.version_info[0], sys.version_info[1], sys.executable))
    here = os.path.dirname(os.path.realpath(__file__))
    if not os.path.isfile(os.path.join(here, "raftctl", "__init__.py")):
        return refuse("%s is only the launcher of a checkout and the folder raftctl/ is not beside it;"
                      " copy the packed file: raftctl pack -o raftctl.pyz" % os.path.realpath(__file__))
    from raftctl.cli.main import main as run

    return run()


def refuse(reason):
    sys.stderr.write("raftctl: %s\n" % reason)
    return 2


# Only here: `import raftctl` may find this file in place of the package, and must then do nothing.
if __name__ == "__main__":
    sys.exit(main())
