"""`transfer`, `drain` and `undrain` as requests: what each answer of the leader becomes for the client (P6)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from raftctl.cluster.serving import TAKEN_OVER, TRANSFER, Answer
from raftctl.net.commands import Caller
from raftctl.net.error_codes import CommandError
from raftctl.node.drain import Drain
from raftctl.node.fitness import Fitness
from raftctl.node.requests import Requests
from raftctl.raft.configuration import Member, configuration
from raftctl.raft.inputs import FOLLOWER, LEADER

ROOT = Caller(True, "root@h1", "unix")
MEMBERS = configuration("c", [Member(f"i{number}", f"tcp://h{number}:1", True) for number in (1, 2, 3)])


class Node:
    """Inbox, status and history at once; `answers` by kind of ask."""

    def __init__(self, folder, role=LEADER, **answers):
        self.answers = {TRANSFER: Answer(None, 0, b"i2"), TAKEN_OVER: Answer(None, 0, b"i2")}
        self.answers.update({TRANSFER if kind == "transfer" else TAKEN_OVER: answer
                             for kind, answer in answers.items()})
        self.asked, self.calls, self.notes = [], [], []
        self.shown = SimpleNamespace(view=SimpleNamespace(role=role, configuration=MEMBERS))
        self.drain = Drain(str(folder))
        self.requests = Requests(self, self, None, self, Fitness(self.drain, self, has_check=False))

    def post(self, item):
        if not hasattr(item, "kind"):
            self.calls.append(item)
        elif getattr(item, "kind", None) in self.answers:
            self.asked.append((item.kind, item.body))
            self.requests.deliver(item, self.answers[item.kind])

    def note(self, event, cause, by=None):
        self.notes.append(cause)

    def check_initialized(self):
        pass

    def member(self, name, timeout_s):
        if name != "h2":
            raise CommandError("not_found", f"no member is called {name}")
        return {"instance": "i2", "address": "tcp://h2:1", "name": "h2"}

    def ask(self, action, **fields):
        return self.requests.answer({"action": action, "timeoutMs": 200, **fields}, ROOT)

    def refusal(self, action, **fields):
        with pytest.raises(CommandError) as caught:
            self.ask(action, **fields)
        return caught.value.code, str(caught.value)


def test_a_transfer_answers_when_the_leader_hook_has_ended(tmp_path):
    node = Node(tmp_path)
    assert node.ask("transfer", to="h2") == {"leader": "tcp://h2:1"}
    assert node.asked == [(TRANSFER, b"i2"), (TAKEN_OVER, b"")]
    assert node.notes == ["transfer h2"]
    assert node.ask("transfer") == {"leader": "tcp://h2:1"}
    assert node.asked[2] == (TRANSFER, b"")


@pytest.mark.parametrize("to", [7, "", ["h2"]])
def test_p9_a_transfer_to_what_is_no_name_is_refused(tmp_path, to):
    assert Node(tmp_path).refusal("transfer", to=to)[0] == "bad_request"


def test_a_transfer_to_nobody_changes_nothing(tmp_path):
    node = Node(tmp_path)
    assert node.refusal("transfer", to="h9")[0] == "not_found"
    assert node.asked == []


@pytest.mark.parametrize("code", ["refused", "timeout"])
def test_a_transfer_that_the_leader_undid_is_a_no_with_its_reason(tmp_path, code):
    node = Node(tmp_path, transfer=Answer(code, 0, b"h2 did not catch up in time"))
    assert node.refusal("transfer") == ("refused", "not handed over: h2 did not catch up in time")


def test_a_transfer_whose_leader_hook_failed_is_a_no_with_the_reason(tmp_path):
    node = Node(tmp_path, taken_over=Answer("refused", 0, b"its leader hook failed; it leads on"))
    assert node.refusal("transfer") == (
        "refused", "leadership was handed over to tcp://h2:1: its leader hook failed; it leads on")


def test_a_transfer_whose_end_is_not_known_is_an_unknown_outcome(tmp_path):
    node = Node(tmp_path, taken_over=Answer("unknown_outcome", 0, None))
    assert node.refusal("transfer")[0] == "unknown_outcome"


def test_a_transfer_that_another_won_is_a_no(tmp_path):
    node = Node(tmp_path, taken_over=Answer(None, 0, b"i3"))
    assert node.refusal("transfer", to="h2") == (
        "refused", "tcp://h2:1 was told to lead, but tcp://h3:1 leads now")
    assert node.ask("transfer") == {"leader": "tcp://h3:1"}


def test_p6_drain_hands_over_first_and_is_on_disk(tmp_path):
    node = Node(tmp_path)
    assert node.ask("drain") == {"drained": True, "problem": None}
    assert node.asked == [(TRANSFER, b"")] and len(node.calls) == 1
    assert Drain(str(tmp_path)).is_on
    assert node.ask("undrain") == {"drained": False}
    assert not Drain(str(tmp_path)).is_on and len(node.calls) == 2
    assert node.ask("undrain") == {"drained": False}, "twice is once"


def test_a_follower_that_is_drained_asks_for_no_transfer(tmp_path):
    node = Node(tmp_path, role=FOLLOWER)
    assert node.ask("drain") == {"drained": True, "problem": None}
    assert node.asked == []


def test_drain_holds_also_where_nobody_takes_over(tmp_path):
    node = Node(tmp_path, transfer=Answer("refused", 0, b"no other voter is fit to lead"))
    assert node.ask("drain") == {
        "drained": True, "problem": "not handed over: no other voter is fit to lead"}
    assert node.drain.is_on and len(node.calls) == 1


def test_drain_that_can_not_be_kept_changes_nothing(tmp_path):
    node = Node(tmp_path / "gone")
    assert node.refusal("drain")[0] == "refused"
    assert node.asked == [] and node.calls == [] and not node.drain.is_on
