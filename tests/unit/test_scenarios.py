"""Each file of tests/scenarios/ is one rule: its commands must cause just the trace that stands below them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scenario.runner import difference, rewrite, scenario_files  # noqa: E402

FILES = scenario_files()


def test_there_are_the_scenarios_that_the_rules_ask_for():
    assert len(FILES) >= 25


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_scenario(path):
    if os.environ.get("RAFTCTL_REWRITE"):
        rewrite(path)
    assert difference(path) == ""
