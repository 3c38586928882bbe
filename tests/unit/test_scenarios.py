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

# Scenario → the fault of the core that it shows; an entry whose fault is mended fails until it is taken out here.
KNOWN: dict = {}


def cases():
    for path in scenario_files():
        marks = [pytest.mark.xfail(strict=True, reason=KNOWN[path.stem])] if path.stem in KNOWN else []
        yield pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.parametrize("path", cases())
def test_p1_p2_p3_the_core_decides_as_the_scenario_says(path):
    if os.environ.get("RAFTCTL_REWRITE") == "1":
        rewrite(path)
        return
    found = difference(path)
    assert not found, f"the core decides otherwise now:\n{found}"


def test_every_scenario_begins_with_the_reason_why_it_exists():
    without = [path.name for path in scenario_files() if not path.read_text(encoding="utf-8").startswith("# ")]
    assert without == []


def test_no_scenario_has_a_line_over_130_columns_of_its_own():
    long = [f"{path.name}:{number}" for path in scenario_files()
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if len(line) > 130 and not line.startswith(" ")]
    assert long == []


def test_known_faults_name_scenarios_that_exist():
    assert set(KNOWN) <= {path.stem for path in scenario_files()}
