"""`python3 tests/simulation`: run, replay and shrink simulations; see `--help`."""

import os
import sys

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
                os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]

from simulation.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
