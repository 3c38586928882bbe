"""node/requests.py: what a client is told when a request does not get through."""

from __future__ import annotations

import pytest

from raftctl.cluster.serving import Answer
from raftctl.net.access import Caller
from raftctl.net.error_codes import CODES, CommandError
from raftctl.node.rejoining import parse_target
from raftctl.node.requests import _MESSAGES, Requests

ROOT = Caller(True, "root@h1", "unix")


class Node:
    """Inbox and status of a node that gives every ask the same answer."""

    def __init__(self, answer=None, founds=True):
        self.answer, self.founds = answer, founds
        self.notes = []
        self.requests = Requests(self, self, None, self, None)

    def post(self, ask):
        if self.answer is not None:
            self.requests.deliver(ask, self.answer)

    def note(self, event, cause, by=None):
        self.notes.append((event, cause, by))

    is_initialized = True

    def check_initialized(self):
        if not self.is_initialized:
            raise CommandError("not_initialized", "this node is in no cluster yet")

    def bootstrap(self, timeout_s):
        return None

    def wait_for_change(self, timeout_s):
        return self

    @property
    def view(self):
        return self

    @property
    def configuration(self):
        return self

    members = ()

    def refusal(self, request):
        with pytest.raises(CommandError) as caught:
            self.requests.answer(request, ROOT)
        return caught.value


@pytest.mark.parametrize("code", sorted(_MESSAGES))
def test_an_error_says_each_thing_once(code):
    error = Node(Answer(code, 7, None)).refusal({"action": "put", "key": "k", "value": "v"})
    said = f"{error}; {error.hint}"
    assert error.code == code
    for twice in ("nothing was changed", "may or may not", "raftctl status"):
        assert said.count(twice) <= 1, said
    clauses = [clause for clause in said.split("; ") if clause]
    assert len(clauses) == len(set(clauses))


def test_an_unknown_outcome_says_why_and_what_to_do():
    error = Node(Answer("unknown_outcome", 0, None)).refusal(
        {"action": "put", "key": "k", "value": "v", "timeoutMs": 1500})
    assert (str(error), error.exit_status) == (
        "the leader was lost, or the 1.5 s were over, before it answered", 5)
    assert error.hint == CODES["unknown_outcome"].hint == (
        "it may or may not have been done; read before you repeat it")


def test_an_absent_key_is_named_also_where_it_was_to_be_removed():
    for action in ("get", "del"):
        error = Node(Answer("not_found", 0, None)).refusal({"action": action, "key": "k"})
        assert (str(error), error.exit_status) == ('no key "k"', 1)


def test_a_comparison_with_an_absent_key_says_that_it_is_absent():
    error = Node(Answer("compare_failed", 0, None)).refusal({"action": "del", "key": "k", "ifRev": 3})
    assert "revision 0 (it is absent), not the expected one" in str(error)
    assert error.fields == {"revision": 0}


@pytest.mark.parametrize("request_object", [
    {"action": "get", "key": "k"}, {"action": "get", "key": "k", "stale": True},
    {"action": "put", "key": "k", "value": "v"}, {"action": "del", "key": "k"},
])
def test_a_node_in_no_cluster_has_no_keys_and_says_so_at_once(request_object):
    node = Node()
    node.is_initialized = False
    assert node.refusal(request_object).code == "not_initialized"


def test_a_founding_that_has_begun_is_not_said_to_have_changed_nothing():
    error = Node().refusal({"action": "bootstrap", "timeoutMs": 1})
    assert (error.code, error.exit_status) == ("unknown_outcome", 5)
    assert "nothing was changed" not in f"{error}; {error.hint}"


@pytest.mark.parametrize(("target", "said"), [
    ("h9", "is no address"),
    ("tcp://127.0.0.1:8089", "is this node itself"),
    ("tcp://h9:8089", 'join with "address" names tcp://127.0.0.1:8089 beside tcp://h9:8089'),
])
def test_p9_a_running_node_is_told_to_join_only_what_its_file_might_name(target, said):
    with pytest.raises(CommandError, match=said) as refused:
        parse_target(target, "tcp://127.0.0.1:8089")
    assert refused.value.exit_status == 2
    assert str(parse_target("tcp://LOCALHOST:8090", "tcp://127.0.0.1:8089")) == "tcp://localhost:8090"


class Leader(Node):
    """A leader by its lease: `leases` are what is left of it at each look, in s."""

    def __init__(self, leases, answer=None):
        super().__init__(answer)
        self.leases, self.posted = list(leases), []

    def post(self, ask):
        self.posted.append(type(ask).__name__)
        super().post(ask)

    def lease_left_s(self):
        return self.leases.pop(0)

    def state(self, *, unconfirmed=False):
        return {"state": "CANDIDATE" if unconfirmed else "LEADER", "term": 3}


def state_of(node):
    return node.requests.answer({"action": "state"}, ROOT)["state"]


def test_p2_leader_is_answered_when_a_quorum_confirms_it():
    assert state_of(Leader([5.0], Answer(None, 0, None))) == "LEADER"
    assert state_of(Leader([5.0], Answer("no_leader", 0, None))) == "CANDIDATE"


def test_p2_a_leader_that_nobody_confirms_is_a_candidate_when_its_lease_is_over_and_not_later():
    node = Leader([0.01, 0.01, 0.0])
    assert state_of(node) == "CANDIDATE"
    assert node.leases == [] and node.posted == ["Ask", "Expired"]
    assert node.requests._waiters == {}


def test_what_an_operator_asks_for_is_entered_with_his_name_and_what_programs_ask_is_not():
    node = Node(Answer(None, 7, b"tcp://h1:8089"))
    node.requests.answer({"action": "remove", "address": "tcp://h3:8089"}, ROOT)
    node.requests.answer({"action": "put", "key": "k", "value": "v"}, ROOT)
    assert node.notes == [("asked", "remove tcp://h3:8089", "root@h1")]


@pytest.mark.parametrize("limit", [0, -1, "5", True, 1.5])
def test_a_limit_of_the_history_that_is_none_is_refused(limit):
    assert Node().refusal({"action": "history", "limit": limit}).code == "bad_request"
