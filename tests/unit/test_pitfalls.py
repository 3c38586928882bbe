"""Every pitfall of the consensus core is cited, as `pitfall N.N`, by what would find it; gaps have an owner."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
# Chapter of the list of pitfalls → how many entries it has. 4, 5 and 9 to 11 are no matter of the core.
CHAPTERS = {1: 9, 2: 4, 3: 12, 6: 3, 7: 3, 8: 2}
ENTRIES = [f"{chapter}.{entry}" for chapter, count in CHAPTERS.items() for entry in range(1, count + 1)]

# Entry → what must be there before anything can catch it. An entry that is cited after all goes out of here.
OWED = {
    "3.3": "the command recover",
    "3.4": "the command recover, which raises the term",
    "3.11": "the command members readdress",
}
CITED = re.compile(r"[Pp]itfalls?\s+(\d+\.\d+(?:(?:,|\s+and|,\s+and)\s+\d+\.\d+)*)")


def citations():
    """Return entry → files under tests/ that cite it."""
    found = {}
    for path in sorted([*TESTS.rglob("*.py"), *TESTS.rglob("*.txt")]):
        if path == Path(__file__).resolve():
            continue
        # A citation may go over the end of a line of comment.
        text = re.sub(r"\n\s*#?\s*", " ", path.read_text(encoding="utf-8"))
        for numbers in CITED.findall(text):
            for number in re.findall(r"\d+\.\d+", numbers):
                found.setdefault(number, []).append(str(path.relative_to(TESTS)))
    return found


FOUND = citations()


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry not in OWED])
def test_each_pitfall_of_the_core_is_cited_by_a_scenario_or_a_rule_or_fault_of_the_simulator(entry):
    catchers = [name for name in FOUND.get(entry, []) if name.startswith(("scenarios/", "simulation/", "unit/"))]
    assert catchers, f"nothing under tests/ cites pitfall {entry}"


@pytest.mark.parametrize("entry", sorted(OWED))
def test_what_is_owed_is_not_there_yet(entry):
    assert entry in ENTRIES
    assert entry not in FOUND, f"{FOUND.get(entry)} cites pitfall {entry}: take it out of OWED ({OWED[entry]})"


def test_citations_are_read_over_commas_and_line_ends():
    assert CITED.findall("Pitfalls 1.3, 3.6 and 7.1 (pitfall 2.4)") == ["1.3, 3.6 and 7.1", "2.4"]
