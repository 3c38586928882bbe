"""`python3 tests/scenario [--rewrite] [NAME…]`: run scenario files without pytest."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    TESTS = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(TESTS.parent), str(TESTS)]
    from scenario.runner import main

    sys.exit(main())
