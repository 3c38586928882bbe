"""What may run on a host under which record, and that it is over: the guardian's side of P6."""

from __future__ import annotations

import logging
import os
import signal
import subprocess

import pytest

from raftctl.base import groups
from raftctl.base.addresses import Address
from raftctl.base.groups import Group
from raftctl.cluster.takeover import ENDED, FAILED, GOES_ON, NONE, OPEN, encode_word
from raftctl.config.model import Hook, NodeConfig
from raftctl.host.loop import Loop
from raftctl.host.outgoing import Note, Work, limit_ns, parse_note, read_left

S = 1_000_000_000
HOOKS = {"leader": Hook(("/l",), S, 0), "follower": Hook(("/f",), 5 * S, 1)}


class World:
    def __init__(self, folder):
        self.loop, self.sent, self.told = Loop(), [], []
        self.node = NodeConfig(None, Address("h1", 1), "h1", "h1", None, "h1", (), 1, 2, 3, None, str(folder),
                               False, None, "info", (), None, (), True, "x", "", None)
        self.note = folder / "outgoing"
        self.work = self.make()

    def make(self):
        work = Work(self.loop, self.node, logging.getLogger("test"), lambda: self.told.append(1),
                    self.sent.append)
        work.configure(HOOKS)
        work.of_instance("n1")
        return work

    def state(self):
        found = self.work.message()
        return found["state"], found["index"], found["ended"]

    def begin(self, index, term=7):
        self.work.arm(index)
        assert self.work.may_begin
        path, text = self.work.begin(term)
        assert path == str(self.note)
        self.note.write_text(text)

    def end(self, succeeded=True):
        self.work.end(succeeded=succeeded)

    def removed(self):
        self.work._remover.wait(20)
        return self.work.reap()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.work.close()
    made.loop.close()


def test_p6_nothing_begins_without_a_record(world):
    assert not world.work.may_begin
    world.work.arm(12)
    assert world.work.may_begin


def test_without_a_leader_hook_no_record_is_asked_for(world):
    world.work.configure({"follower": HOOKS["follower"]})
    assert world.work.may_begin and world.work.message()["hooked"] is False


def test_p6_the_note_says_whose_work_it_is(world):
    world.begin(12)
    assert parse_note(world.note.read_text()) == Note("n1", 12, 7)
    world.note.write_text(world.note.read_text() + "\n77 1234\n")
    assert parse_note(world.note.read_text()) == Note("n1", 12, 7, Group(77, 1234))
    assert world.state() == (OPEN, 12, 0)


def test_p6_status_0_ends_the_record_removes_the_note_and_tells_all(world):
    world.begin(12)
    world.end()
    assert world.state() == (NONE, 0, 12)
    assert world.sent == [encode_word(ENDED, 12)]
    assert not world.work.may_begin, "under the record that is over"
    world.work.arm(30)
    assert not world.work.may_begin, "before the note is gone"
    assert world.removed() and not world.note.exists()
    assert world.work.may_begin


def test_p6_failed_work_is_never_over(world):
    world.begin(12)
    world.end(succeeded=False)
    assert world.state() == (FAILED, 12, 0)
    assert world.sent == [] and world.note.exists()
    world.work.disarm()
    assert world.state() == (FAILED, 12, 0)
    world.end()
    assert world.state() == (NONE, 0, 12)


def test_p6_what_never_began_is_over_once_the_node_leads_no_more(world):
    world.work.arm(12)
    assert world.state() == (NONE, 0, 0)
    world.work.disarm()
    assert world.state() == (NONE, 0, 12) and not world.work.may_begin
    assert world.sent == []


def test_p6_a_newer_record_is_not_over_with_the_work_of_an_older(world):
    world.begin(12)
    world.work.arm(30)
    world.end()
    assert world.state() == (NONE, 0, 12)
    world.removed()
    assert world.work.may_begin


def test_p6_a_note_of_a_former_run_is_open_work(world):
    world.begin(12)
    world.work = world.make()
    world.work.left_behind(Note("n1", 12, 7), names_record=True)
    assert world.state() == (OPEN, 12, 0)
    world.end()
    assert world.state() == (NONE, 0, 12)
    world.removed()


def test_a_note_of_another_instance_names_no_record_of_this_one(world):
    world.note.write_text("whatever")
    world.work.left_behind(Note("n0", 90, 3), names_record=False)
    assert world.state() == (OPEN, 0, 0)
    world.end()
    assert world.state() == (NONE, 0, 0) and world.sent == []
    world.removed()
    world.work.arm(5)
    assert world.work.may_begin


def test_a_node_that_begins_anew_as_another_instance_has_other_records(world):
    world.begin(40)
    world.end()
    world.removed()
    world.work.of_instance("n2")
    world.work.arm(5)
    assert world.work.may_begin


@pytest.mark.parametrize("text", ["", "[]", "{}", "no", '{"instance": "n1", "index": "x", "term": 1}'])
def test_a_note_that_can_not_be_read_is_one_all_the_same(text):
    assert parse_note(text) == Note("", 0, 0)


def test_p6_that_it_goes_on_is_repeated_while_it_does(world, monkeypatch):
    monkeypatch.setattr("raftctl.host.outgoing.GOES_ON_EVERY_NS", 5_000_000)
    world.work = world.make()
    world.begin(12)
    world.work.watch(is_outgoing=False)
    world.work.watch(is_outgoing=True)
    world.work.watch(is_outgoing=True)
    world.loop.run(lambda: len(world.sent) >= 3)
    assert set(world.sent) == {encode_word(GOES_ON, 12)}
    world.end()
    world.work.watch(is_outgoing=False)
    count = len(world.sent)
    world.loop.after(30_000_000, lambda: world.told.append("later"))
    world.loop.run(lambda: "later" in world.told)
    assert len(world.sent) == count


def test_the_limit_holds_the_end_of_a_leader_hook_and_all_tries_of_follower():
    assert limit_ns({}) == 4 * S
    assert limit_ns(HOOKS) == 4 * S + 2 * (5 + 4) * S + S


def test_a_leader_hook_that_ran_is_told_with_its_record(world):
    world.begin(12)
    world.work.leader_hook_ended(well=False)
    found = world.work.message()
    assert (found["begun"], found["begunWell"]) == (12, False)


def test_a_note_that_can_not_be_removed_is_said(world, caplog):
    world.begin(12)
    os.unlink(world.note)
    world.note.mkdir()
    world.end()
    assert world.removed()
    assert "follower will run at the next start" in caplog.text


# --- what a former run left

NOTE = '{"instance":"n1","index":12,"term":7}'


def opened(note, *, lock=True, boot=True, instance="n1"):
    return {"kind": "opened", "instance": instance, "note": note, "sameLock": lock, "sameBoot": boot}


@pytest.mark.parametrize("message, names_record", [
    (opened(NOTE), True), (opened(NOTE, boot=False), True), (opened(NOTE, instance="n2"), False),
    (opened(NOTE, lock=False, boot=False), False), (opened("damaged"), False)])
def test_p6_whose_record_a_note_names(message, names_record):
    assert read_left(message, logging.getLogger("test")).names_record is names_record


@pytest.mark.parametrize("message", [opened(None), opened(NOTE, lock=False)], ids=["nothing", "a copy"])
def test_p6_what_is_not_this_run_s_to_end(message):
    """Beside a copy the original may lead (pitfall 1.3)."""
    assert read_left(message, logging.getLogger("test")) is None


def test_p6_a_leader_hook_that_outlived_guardian_and_node_is_killed():
    hook = subprocess.Popen(["sleep", "60"], start_new_session=True)
    begun = groups.of(hook.pid).begun
    own, other = (f"{NOTE}\n{hook.pid} {begun + more}\n" for more in (0, 1))
    for message in (opened(other), opened(own, boot=False)):
        read_left(message, logging.getLogger("test"))
        assert hook.poll() is None
    read_left(opened(own), logging.getLogger("test"))
    assert hook.wait(20) == -signal.SIGKILL
