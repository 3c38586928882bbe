"""The scenario runner itself: text in, the same text with its traces out; and its invariants do bite."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scenario import runner
from scenario.clock import Clock
from scenario.disk import Disk
from scenario.invariants import Broken, Invariants
from scenario.parse import BadScript, Command, compose, parse
from scenario.runner import difference, rewrite, run_text

from raftctl.base.instants import Instant
from raftctl.raft import election, lease, membership, replication
from raftctl.raft.inputs import Persisted
from raftctl.raft.messages import COMMAND, Entry, HardState, Write
from raftctl.raft.state import State

TEXT = """\
# why

cluster n1
run to 3
  one
  two
# between
show
"""
THREE = "cluster n1 n2 n3 leader n1\n"


def trace_of(text):
    """Return the trace lines of a script, all commands' in one list."""
    return [line[2:] for line in run_text(text).splitlines() if line.startswith("  ")]


# --- text

def test_a_script_is_comments_and_commands_with_the_trace_under_each():
    assert parse(TEXT) == ["# why", "", Command(3, ["cluster", "n1"], "cluster n1", []),
                           Command(4, ["run", "to", "3"], "run to 3", ["one", "two"]), "# between",
                           Command(8, ["show"], "show", [])]


def test_composing_with_the_same_traces_gives_the_same_text():
    pieces = parse(TEXT)
    assert compose(pieces, [piece.expected for piece in pieces if isinstance(piece, Command)]) == TEXT


@pytest.mark.parametrize("text", ["  lost\n", "# why\n  lost\n"])
def test_a_trace_under_no_command_is_refused_with_its_place(text):
    with pytest.raises(BadScript, match=r"x.txt:\d: a trace that stands under no command: lost"):
        parse(text, "x.txt")


@pytest.mark.parametrize("text, message", [
    ("run to 5\n", "script:1: run to 5: the first command must be: cluster"),
    (THREE + "fly\n", 'script:2: fly: "fly" is none of: cluster given'),
    (THREE + "run to x\n", "script:2: run to x: ValueError: .*write it as: run to MS"),
    (THREE + "kill n9\n", "script:2: kill n9: KeyError: 'n9'; write it as: kill NODE"),
    (THREE + "kill n1\nkill n1\n", "script:3: kill n1: n1 does not run"),
    (THREE + "start n1\n", "script:2: start n1: n1 runs"),
    (THREE + "run to 9\nrun to 8\n", "script:3: run to 8: it is 9 ms already"),
    (THREE + "cut n1\n", "script:2: cut n1: say NODE from NODE"),
    ("cluster n1 n2 n3 leader n1\ncut n1 from n2 n3\npromote n7\n", "script:3: promote n7: KeyError: 'n7'"),
    ("cluster n1 n2 leader n1\ndisk n2 stuck\ncut n1 from n2\n", "script:3: .*: n1 does not become leader"),
])
def test_what_can_not_be_run_is_refused_with_line_and_reason(text, message):
    with pytest.raises(Exception, match=message):
        run_text(text)


def test_rewriting_twice_changes_the_file_once(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("# why\ncluster n1\ntimeout n1 500\nrun to 500\nshow\n  nothing of the kind\n")
    assert "nothing of the kind" in difference(path)
    assert rewrite(path)
    assert difference(path) == ""
    assert not rewrite(path)
    assert path.read_text().endswith("show\n  n1 leader term 2, log 2:2, committed 2, lease 450 ms\n")


def test_the_command_line_compares_and_rewrites(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.txt").write_text("# why\ncluster n1\nshow\n  wrong\n")
    (tmp_path / "b.txt").write_text("# why\nfly\n")
    monkeypatch.setattr(runner, "FOLDER", tmp_path)
    assert runner.main([]) == 1
    captured = capsys.readouterr()
    assert "-  wrong" in captured.out
    assert "b: b.txt:2: fly: the first command must be" in captured.err
    assert runner.main(["--rewrite", "a"]) == 0
    assert runner.main(["a"]) == 0


def test_the_same_script_gives_the_same_trace():
    text = "cluster n1 n2 n3 n4 n5\nrun to 900\nkill n1\nrun to 2000\nshow\n"
    assert run_text(text) == run_text(text)


# --- the world

def test_clocks_run_at_their_own_rates_and_know_when_both_reach_an_instant():
    clock = Clock(1000, Instant(7000, 300))
    clock.set_rates(1000, 1_100_000, 900_000)
    assert clock.read(2000) == Instant(8100, 1200)
    end = Instant(8100, 1201)
    when = clock.true_time_of(1000, end)
    assert clock.read(when).reached(end) and not clock.read(when - 1).reached(end)


def test_a_crash_loses_the_write_in_flight_and_nothing_else():
    disk = Disk(0)
    disk.submit(Write(1, HardState(3, "n1", 0), (Entry(1, 1, COMMAND, b"a"), Entry(1, 2, COMMAND, b"b"))))
    assert disk.sync() == Persisted(1)
    disk.submit(Write(2, HardState(4, None, 0), (Entry(2, 2, COMMAND, b"c"),)))
    disk.crash()
    assert (disk.hard_state, [entry.body for entry in disk.entries]) == (HardState(3, "n1", 0), [b"a", b"b"])


def test_an_entry_replaces_all_behind_it_on_the_disk():
    disk = Disk(0)
    disk.entries = [Entry(1, index, COMMAND, b"") for index in (1, 2, 3)]
    disk.submit(Write(1, None, (Entry(2, 2, COMMAND, b""),)))
    disk.sync()
    assert [entry.position for entry in disk.entries] == [(1, 1), (2, 2)]


def test_what_a_dead_process_sent_still_arrives_and_what_was_sent_to_it_does_not():
    text = THREE + "propose n1 x\nkill n1\nkill n3\nrun to 10\nshow log n2\nshow disk n3\n"
    assert trace_of(text)[-2:] == ["n2 log 1 2 2", "n3 disk term 2, vote n1, promise 500 ms, log 2:2"]


def test_a_cut_loses_what_is_on_its_way_and_a_redial_does_not():
    sent = THREE + "propose n1 x\n{}\nrun to 5\nshow log n2\n"
    assert trace_of(sent.format("cut n1 from n2"))[-1] == "n2 log 1 2"
    assert trace_of(sent.format("cut n1 to n2"))[-1] == "n2 log 1 2"
    assert trace_of(sent.format("redial n1 to n2"))[-1] == "n2 log 1 2 2"


def test_words_of_one_connection_keep_their_order():
    text = (THREE + "run to 5\nlatency n1 to n2 50\npropose n1 x\nlatency n1 to n2 1\n"
            "propose n1 y\nrun to 54\nshow log n2\n")
    assert trace_of(text)[-1] == "n2 log 1 2"
    assert trace_of(text + "run to 55\nshow log n2\n")[-1] == "n2 log 1 2 2 2"


def test_drop_loses_as_many_as_it_says_of_that_kind_and_way():
    text = "cluster n1 n2\ntimeout n1 500\n{}\nrun to 505\nshow n1\n"
    assert trace_of(text.format("drop Vote n1 to n2"))[-1].startswith("n1 candidate term 2")
    assert trace_of(text.format("drop Vote n2 to n1"))[-1].startswith("n1 leader term 2")
    assert trace_of(text.format("drop any n1 to n2 times 1"))[-1].startswith("n1 pre-candidate term 1")


def test_a_paused_node_does_nothing_and_hears_all_when_it_wakes():
    text = THREE + "pause n2\npropose n1 x\nrun to 20\nshow log n2\nresume n2\nshow log n2\n"
    assert [line for line in trace_of(text) if "log" in line] == ["n2 log 1 2", "n2 log 1 2 2"]


# --- invariants: a core with a rule taken out does not get through

def broken(text, rule):
    with pytest.raises(Broken, match=rule):
        run_text(text)


def test_an_exception_in_the_core_fails_the_scenario_with_its_name(monkeypatch):
    def end(state, now):
        raise ZeroDivisionError("taken for a leader")
    monkeypatch.setattr(election, "begin_pre_vote", end)
    broken("cluster n1 n2\ntimeout n1 750\nrun to 2000\n",
           "script:3: run to 2000: at 750.000 ms, n1: the core ended with ZeroDivisionError: taken")


def test_p2_two_lease_holders_are_found(monkeypatch):
    monkeypatch.setattr(State, "is_vowed", lambda self, now: False)
    broken(THREE + "cut n1 from n2 n3\nsay n2 to n3 Vote term=2 last=2:2\ntimeout n2 500\nrun to 5\n"
           "kill n2\nstart n2\n"
           "clock n2 boot 5 raw 5\nrun to 900\n", "P2: two lease holders: n1 n2")


def test_p2_a_clock_outside_the_promised_rates_is_found():
    text = (THREE + "timeout n2 500\nclock n1 boot {0} raw {0}\n"
            "clock n2 boot {1} raw {1}\nclock n3 boot {1} raw {1}\n"
            "run to 5\ncut n1 from n2 n3\nrun to 1500\n")
    assert "shows LEADER" in run_text(text.format(0.955, 1.045))
    broken(text.format(0.8, 1.2), "P2: two lease holders")


def test_p1_two_leaders_of_a_term_are_found(monkeypatch):
    monkeypatch.setattr("raftctl.raft.election.is_quorum", lambda found, voters: True)
    broken("cluster n1 n2\ntimeout n1 500\ntimeout n2 500\nrun to 600\n", "Election Safety")


def test_p1_commit_by_counting_is_found(monkeypatch):
    monkeypatch.setattr(replication, "quorum_index", lambda held, voters: max(held.values()))
    # Its no-op already: the leader's own disk is no quorum.
    broken(THREE + "cut n1 from n2 n3\npropose n1 x\nrun to 5\n",
           "script:2: cut n1 from n2 n3: at 504.000 ms, n1: committed without a quorum of disks: "
           "2 held by n1")


def test_p3_an_ack_before_the_disk_is_found(monkeypatch):
    append = State.append

    def append_durably(self, entry):
        append(self, entry)
        self.durable_index = entry.index
    monkeypatch.setattr(State, "append", append_durably)
    # The vow is on disk already when x comes: only the entry's own sync is still to end.
    broken("cluster n1 n2 leader n1\nrun to 5\ndisk n2 20\npropose n1 x\nrun to 200\n",
           "acknowledged beyond the disk")


def test_p3_a_vote_before_the_disk_is_found(monkeypatch):
    monkeypatch.setattr(State, "send", State.send_now)
    broken("cluster n1 n2\ntimeout n1 500\nrun to 600\n", "a vote that is not durable")


def test_p2_a_vow_that_is_not_on_disk_is_found(monkeypatch):
    set_hard = State.set_hard
    monkeypatch.setattr(State, "set_hard", lambda self, **changes: set_hard(
        self, **{key: value for key, value in changes.items() if key != "promise"}))
    broken(THREE + "run to 5\n", "a vow that is not on disk")


def test_p1_a_log_that_changes_behind_the_commit_is_found(monkeypatch):
    def forget(self, node, view, log):
        self._committed = [Entry(9, 1, COMMAND, b"other")]
        check(self, node, view, log)
    check = Invariants._commit
    monkeypatch.setattr(Invariants, "_commit", forget)
    broken(THREE + "run to 5\n", "State Machine Safety|Leader Completeness")


def test_p1_a_vote_taken_by_an_uncommitted_entry_is_found(monkeypatch):
    monkeypatch.setattr(membership, "_refusal", lambda state, wanted: None)
    broken(THREE + "run to 10\ncut n1 from n2 n3\nremove n1\n",
           "at 10.000 ms, n1: lost its vote by an unc.* 2:3")


def test_a_setting_whose_leader_never_leases_is_told(monkeypatch):
    monkeypatch.setattr(lease, "may_show_leader", lambda state: False)
    with pytest.raises(Exception, match="does not become leader"):
        run_text(THREE + "run to 5\n")
