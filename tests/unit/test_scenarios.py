"""One test a file of tests/scenarios/: what the core decides is, line for line, what stands there.

RAFTCTL_REWRITE=1 writes the traces anew instead (as `python3 tests/run scenarios --rewrite` and
`python3 tests/scenario --rewrite` do); the diff is reviewed like code.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scenario.runner import difference, rewrite, scenario_files

FILES = scenario_files()


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_p1_p2_p3_the_core_decides_as_the_scenario_says(path):
    if os.environ.get("RAFTCTL_REWRITE") == "1":
        rewrite(path)
    found = difference(path)
    assert not found, f"the core decides otherwise now:\n{found}"


def test_there_are_the_scenarios_that_the_rules_ask_for():
    assert len(FILES) >= 50


def test_every_scenario_begins_with_the_reason_why_it_exists():
    assert [path.name for path in FILES if not path.read_text(encoding="utf-8").startswith("# ")] == []


def test_no_line_written_by_hand_is_over_110_columns():
    long = [f"{path.name}:{number}" for path in FILES
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if len(line) > 110 and not line.startswith(" ")]
    assert long == []
