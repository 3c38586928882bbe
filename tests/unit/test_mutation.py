"""Three mutants of the suite, and that it fails loudly when code has moved away from an anchor."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests"))

from mutation.mutants import MUTANTS
from mutation.suite import Moved, copy_with, killer_of, main

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_anchor_of_each_mutant_is_where_it_was(mutant):
    text = (TOP / "raftctl" / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.before) == 1
    assert mutant.after != mutant.before and mutant.killers


def test_mutants_have_names_of_their_own():
    assert len(BY_NAME) == len(MUTANTS)


@pytest.mark.parametrize("name", ["vote_reply_before_sync", "lease_of_1_2_election_min", "no_voter_vow"])
def test_p2_p3_a_rule_taken_out_is_noticed(name):
    assert killer_of(BY_NAME[name]) in BY_NAME[name].killers


def test_a_mutant_that_changes_nothing_survives_and_fails_the_suite(monkeypatch, capsys):
    same = BY_NAME["no_voter_vow"]._replace(name="same", after=BY_NAME["no_voter_vow"].before,
                                            killers=("scenario first_election",))
    monkeypatch.setattr("mutation.suite.MUTANTS", (same,))
    assert main([]) == 1
    assert "SURVIVES same" in capsys.readouterr().out


def test_an_anchor_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(Moved, match="stands 0 times"):
        copy_with(BY_NAME["no_voter_vow"]._replace(before="no such text"), str(tmp_path))
