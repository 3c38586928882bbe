"""May this node lead? Drain and check together, as the node thread is told."""

from __future__ import annotations

from raftctl.cluster.checking import FAILING, PASSING, Checked
from raftctl.node.fitness import Fitness

GOOD = Checked(PASSING, cause="check passed 2 times")
BAD = Checked(FAILING, passed=False, count=3, cause="check failed 3 times: curl status 7")


class Drained:
    is_on = False


class Turn:
    def __init__(self):
        self.heard = []

    def health(self, now, ok, cause, *, outgoing_first):
        self.heard.append((ok, cause, outgoing_first))


class Node:
    """In place of inbox and node thread; `heard` lets it go on."""

    def __init__(self, has_check=True):
        self.turn, self.waiting, self.drain = Turn(), [], Drained()
        self.fitness = Fitness(self.drain, self, has_check=has_check)

    def post(self, call):
        self.waiting.append(call)

    def heard(self):
        for call in self.waiting:
            call.run(self.turn, 0)
        self.waiting.clear()
        found, self.turn.heard = self.turn.heard, []
        return found


def test_a_node_with_a_check_may_not_lead_before_the_guardian_said_so():
    assert Node(has_check=False).fitness.why_not == ""
    node = Node()
    assert node.fitness.why_not == "its check has not run yet"
    assert node.fitness.take(GOOD) and node.heard() == [(True, "check passed 2 times", True)]


def test_a_guardian_that_knows_no_check_lets_it_lead():
    """The file has one since, which was not reloaded."""
    node = Node()
    assert node.fitness.take(Checked()) and node.heard() == [(True, "there is no check", True)]


def test_only_another_verdict_is_news():
    node = Node()
    assert node.fitness.take(GOOD) and not node.fitness.take(GOOD._replace(count=5))
    assert len(node.heard()) == 1 and node.fitness.checked.count == 5


def test_a_drained_node_stays_unfit_whatever_the_check_says_and_both_causes_are_named():
    node = Node()
    node.fitness.take(GOOD)
    node.drain.is_on = True
    node.fitness.apply_drain()
    node.fitness.take(BAD)
    node.fitness.take(GOOD)
    assert [ok for ok, _, _ in node.heard()] == [False] * 4
    node.fitness.take(BAD)
    assert node.heard() == [(False, "drained by an operator, and check failed 3 times: curl status 7", True)]
    node.drain.is_on = False
    node.fitness.apply_drain()
    assert node.heard() == [(False, "check failed 3 times: curl status 7", False)]


def test_the_newest_holds_where_words_overtake_each_other():
    node = Node()
    node.fitness.take(BAD)
    node.fitness.take(GOOD)
    assert [ok for ok, _, _ in node.heard()] == [True, True]
