"""Small faults put into a copy of the source, each of which the tests must find: `python3 tests/mutation`."""
