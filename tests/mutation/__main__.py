"""`python3 tests/mutation [NAME …]`: try all mutants, or those named."""

import os
import sys

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]

from mutation.suite import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
