#!/usr/bin/env python3
"""Launcher for a checkout: python3 raftctl.py ... The syntax is that of old Pythons, so that they can say so."""

import os
import sys


def main():
    if sys.version_info < (3, 9):
        sys.stderr.write("raftctl: Python %d.%d is too old, 3.9 is the oldest\n" % sys.version_info[:2])
        return 2
    if not os.path.isdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "raftctl")):
        sys.stderr.write("raftctl: raftctl.py starts a checkout and needs the folder raftctl/ beside it;"
                         " to copy one file to a host, make it with: raftctl pack -o raftctl.pyz\n")
        return 2
    from raftctl.cli.main import main as run
    return run()


if __name__ == "__main__":
    sys.exit(main())
