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


def pytest_addoption(parser):
    parser.addoption("--rounds", type=int, default=0, metavar="N",
                     help="repeat each test that counts rounds N times (issue: 50 cold starts, 20 kills)")


def pytest_configure(config):
    config.addinivalue_line("markers", "rounds(count): run the test `count` times, --rounds changes that")


def pytest_generate_tests(metafunc):
    marker = metafunc.definition.get_closest_marker("rounds")
    if marker:
        count = metafunc.config.getoption("--rounds") or marker.args[0]
        metafunc.parametrize("seed", range(count))
