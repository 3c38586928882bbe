"""The lane of hooks of one node: order, levels, terms, retries and the end (P5)."""

from __future__ import annotations

import random

import pytest

from raftctl.base.errors import OurFault
from raftctl.cluster import hookplan
from raftctl.cluster.hookplan import (
    FOLLOWS,
    LEADS,
    NEXT_HOOK,
    RETRY_DELAY_NS,
    UNKNOWN,
    Ended,
    EndRunning,
    Facts,
    Holds,
    NotStarted,
    Outgoing,
    OutgoingDone,
    Plan,
    Ready,
    Run,
    SkipStop,
    Wake,
    WakeAt,
    WorkEnded,
)

ALL = {"leader": 0, "follower": 0, "start": 0, "stop": 0}


def leads(term):
    return Holds(LEADS, Facts("LEADER", "CANDIDATE", term, "tcp://h1:1", "won", ("tcp://h1:1",)))


def follows(term):
    return Holds(FOLLOWS, Facts("FOLLOWER", "CANDIDATE", term, "tcp://h2:1", "heard h2", ("tcp://h1:1",)))


def unknown(term):
    return Holds(UNKNOWN, Facts("CANDIDATE", "LEADER", term, None, "lease over", ("tcp://h1:1",)))


class Lane:
    """Steps a plan and notes the effects in short: the hook with its term, `end`, `done`, `wake`."""

    def __init__(self, retries=None):
        self.plan = Plan(ALL if retries is None else retries)
        self.now = 0
        self.work = []       # how each outgoing work ended

    def __call__(self, *events):
        return [short for event in events for short in map(self._short, self._step(event))]

    def _step(self, event):
        effects = self.plan.step(self.now, event)
        self.work += [effect.succeeded for effect in effects if isinstance(effect, WorkEnded)]
        return [effect for effect in effects if not isinstance(effect, WorkEnded)]

    @staticmethod
    def _short(effect):
        if isinstance(effect, Run):
            again = "" if effect.attempt == 1 else f" try {effect.attempt}"
            return f"{effect.hook}({effect.facts.term}){again}"
        return {EndRunning: "end", OutgoingDone: "done", WakeAt: "wake"}[type(effect)]


OK = Ended(True)
FAILED = Ended(False)


def test_the_table_answers_every_pair():
    assert set(NEXT_HOOK) == {
        (last, holds) for last in (None, "leader", "follower") for holds in (LEADS, FOLLOWS, UNKNOWN)}


def test_p5_follower_never_runs_before_it_is_known_that_another_leads():
    lane = Lane()
    assert lane(unknown(0), unknown(1), unknown(2)) == []
    assert lane(follows(2)) == ["follower(2)"]


def test_p5_leader_then_follower_once_each_however_often_the_level_is_repeated():
    lane = Lane()
    assert lane(leads(1), leads(1), OK, leads(1)) == ["leader(1)"]
    assert lane(follows(2), follows(2), OK, follows(3)) == ["follower(2)"]


def test_p5_one_at_a_time_and_after_any_flapping_the_last_hook_is_the_one_for_what_holds():
    lane = Lane()
    assert lane(follows(1)) == ["follower(1)"]
    assert lane(leads(2), follows(3), leads(4), follows(5), leads(6)) == []
    assert lane(OK) == ["leader(6)"]


def test_p5_a_new_term_passes_through_follower():
    """Pitfall 9.5: leader(5), follower, leader(7) must not collapse to nothing."""
    lane = Lane()
    lane(leads(5), OK)
    assert lane(leads(7), OK, OK) == ["follower(7)", "leader(7)"]


def test_p5_the_follower_between_two_own_terms_is_never_told_leader():
    lane = Lane()
    lane(leads(5), OK)
    run, = lane.plan.step(0, leads(7))
    reason = "led in term 5 and leads anew in term 7"
    assert run.facts == Facts("CANDIDATE", "LEADER", 7, None, reason, ("tcp://h1:1",))


def test_p5_the_follower_between_two_own_terms_is_told_who_led_between():
    lane = Lane()
    lane(Ready(), OK, leads(5), OK, Ready())
    lane(follows(6), leads(7))
    run, = lane._step(OK)
    assert (run.hook, run.facts.leader, run.facts.term) == ("follower", "tcp://h2:1", 6)
    assert lane(OK) == ["leader(7)"]


def test_p5_a_lost_lease_ends_a_running_leader_hook_then_follower_runs():
    """Pitfall 9.3."""
    lane = Lane()
    assert lane(leads(5), unknown(5), unknown(5), FAILED) == ["leader(5)", "end", "follower(5)"]


def test_p5_a_lease_that_comes_back_while_the_leader_hook_is_being_ended_runs_both_anew():
    lane = Lane()
    assert lane(leads(5), unknown(5), leads(5)) == ["leader(5)", "end"]
    assert lane(FAILED, OK) == ["follower(5)", "leader(5)"]


def test_p5_a_new_term_ends_the_leader_hook_of_the_old_one():
    assert Lane()(leads(5), leads(6), FAILED, OK) == ["leader(5)", "end", "follower(6)", "leader(6)"]


@pytest.mark.parametrize("running", [follows(1), Ready()])
def test_p5_no_other_hook_is_ever_ended_by_a_newer_event(running):
    lane = Lane()
    lane(running)
    assert lane(leads(2), unknown(2), follows(3), leads(4), Outgoing(orderly=True)) == []


def test_p2_a_leader_hook_that_found_no_lease_has_not_run():
    lane = Lane()
    assert lane(leads(5), NotStarted(unknown(5).facts)) == ["leader(5)"]
    assert lane(leads(5)) == ["leader(5)"]


def test_p2_follower_does_run_after_a_first_leader_hook_that_was_not_started():
    lane = Lane()
    assert lane(leads(5), NotStarted(unknown(5).facts), follows(6)) == ["leader(5)", "follower(6)"]


def test_start_runs_before_leader_and_stop_after_follower():
    lane = Lane()
    assert lane(Ready(), leads(1), OK, OK) == ["start(0)", "leader(1)"]
    assert lane(Outgoing(orderly=True), OK, OK) == ["follower(1)", "stop(1)", "done"]


def test_stop_without_start_does_not_run():
    assert Lane()(follows(1), OK, Outgoing(orderly=True)) == ["follower(1)", "done"]


def test_start_runs_for_each_process_of_the_node():
    assert Lane()(Ready(), OK, Ready(), OK) == ["start(0)", "start(0)"]


def test_p5_the_outgoing_follower_is_told_that_the_node_is_stopping():
    lane = Lane()
    lane(leads(5), OK)
    run, = lane.plan.step(0, Outgoing(orderly=False))
    assert (run.hook, run.facts.state, run.facts.reason) == ("follower", "CANDIDATE", "stopping")


def test_no_leader_hook_starts_on_a_stopping_node():
    """Pitfall 9.7."""
    for orderly in (False, True):
        lane = Lane()
        assert lane(Outgoing(orderly), leads(5), leads(6)) == ["done"]


def test_a_leader_hook_that_runs_when_the_node_stops_is_ended():
    assert Lane()(leads(5), Outgoing(orderly=True), FAILED, OK) == ["leader(5)", "end", "follower(5)", "done"]


def test_a_node_that_begins_anew_runs_start_again_but_not_after_an_orderly_stop():
    lane = Lane()
    lane(Ready(), OK, leads(1), OK)
    assert lane(Outgoing(orderly=False), OK) == ["follower(1)", "done"]
    assert lane(Ready(), OK, leads(2)) == ["start(1)", "leader(2)"]
    lane(OK, Outgoing(orderly=True), OK, OK)
    assert lane(Ready(), leads(3)) == []


def test_every_outgoing_is_answered_and_an_orderly_one_is_for_good():
    lane = Lane()
    said = lane(Outgoing(False), Outgoing(False), Outgoing(True), Outgoing(False), Outgoing(True))
    assert said == ["done"] * 5
    assert lane(Ready()) == []


def test_a_failed_leader_hook_is_tried_again_as_its_retry_says_and_then_counts_as_run():
    lane = Lane({"leader": 2, "follower": 0})
    assert lane(leads(5), FAILED) == ["leader(5)", "wake"]
    lane.now = RETRY_DELAY_NS - 1
    assert lane(Wake()) == ["wake"]
    lane.now = RETRY_DELAY_NS
    assert lane(Wake(), FAILED) == ["leader(5) try 2", "wake"]
    lane.now = 2 * RETRY_DELAY_NS
    assert lane(Wake(), FAILED, Wake(), leads(5)) == ["leader(5) try 3"]
    assert lane(unknown(5)) == ["follower(5)"]


def test_p5_a_retry_gives_way_to_what_is_due_by_now():
    lane = Lane({"leader": 9, "follower": 0})
    assert lane(leads(5), FAILED, follows(6), OK) == ["leader(5)", "wake", "follower(6)"]
    lane.now = 10 * RETRY_DELAY_NS
    assert lane(Wake()) == []


def test_leader_waits_for_the_tries_of_start():
    lane = Lane({"start": 1, "leader": 0})
    assert lane(Ready(), FAILED, leads(1)) == ["start(0)", "wake", "wake"]
    lane.now = RETRY_DELAY_NS
    assert lane(Wake(), FAILED) == ["start(1) try 2", "leader(1)"]


def test_a_stop_drops_the_tries_of_incoming_hooks_but_waits_for_those_of_outgoing_ones():
    lane = Lane({"start": 9, "follower": 1})
    assert lane(Ready(), FAILED, Outgoing(True)) == ["start(0)", "wake", "done"]
    lane = Lane({"follower": 1})
    assert lane(follows(1), FAILED, Outgoing(True)) == ["follower(1)", "wake", "wake"]
    lane.now = RETRY_DELAY_NS
    assert lane(Wake(), OK) == ["follower(1) try 2", "done"]


def test_in_a_hurry_stop_and_tries_are_left_out_but_never_follower():
    lane = Lane({"stop": 0, "leader": 0, "follower": 9})
    assert lane(Ready(), leads(1), Outgoing(True), SkipStop()) == ["leader(1)", "end"]
    assert lane(FAILED, FAILED, SkipStop()) == ["follower(1)", "wake", "done"]


def test_a_hook_that_is_not_configured_counts_as_run():
    assert Lane({"follower": 0})(leads(1), follows(2)) == ["follower(2)"]
    assert Lane({"leader": 0})(leads(1), OK, follows(2), leads(3)) == ["leader(1)", "leader(3)"]
    assert Lane({})(Ready(), leads(1), leads(2), follows(3), Outgoing(True)) == ["done"]


def test_an_end_without_a_run_is_our_fault():
    for event in (OK, NotStarted(Facts())):
        with pytest.raises(OurFault):
            Plan(ALL).step(0, event)


@pytest.mark.parametrize("seed", range(60))
def test_p5_random_flapping_ends_with_the_hook_for_what_holds_and_never_skips_a_term(seed):
    rng = random.Random(seed)
    lane = Lane()
    term, ran, running, holds = 1, [], None, None
    for _ in range(200):
        if running and rng.random() < 0.4:
            effects = lane._step(Ended(rng.random() < 0.7))
            running = None
        else:
            term += rng.random() < 0.3
            holds = rng.choice([leads, follows, unknown])(term)
            effects = lane._step(holds)
        for effect in effects:
            if isinstance(effect, Run):
                assert running is None
                running = effect.hook
                ran.append((effect.hook, effect.facts.term))
            else:
                assert isinstance(effect, EndRunning) and running == "leader"
    while running:
        running = next((effect.hook for effect in lane._step(OK)), None)
        ran += [(running, term)] if running else []
    hooks = [hook for hook, _ in ran]
    assert all(one != other for one, other in zip(hooks, hooks[1:]))
    assert all(ran[i][1] <= ran[i + 1][1] for i in range(len(ran) - 1))
    expected = {LEADS: "leader", FOLLOWS: "follower"}.get(holds.what)
    if expected:
        assert hooks[-1] == expected
    elif hooks:
        assert hooks[-1] == "follower"


def test_every_event_has_its_handler():
    assert set(hookplan._RECEIVE) == set(hookplan.Event.__args__)


# --- outgoing work (P6)

def test_p6_outgoing_work_has_ended_only_when_follower_has():
    lane = Lane()
    lane(leads(5), OK)
    assert lane.work == [] and not lane.plan.is_outgoing
    lane(unknown(5))
    assert lane.work == [] and lane.plan.is_outgoing
    lane(OK)
    assert lane.work == [True] and not lane.plan.is_outgoing


def test_p6_outgoing_work_goes_on_from_the_moment_at_which_the_leader_hook_is_ended():
    lane = Lane()
    lane(leads(5))
    assert not lane.plan.is_outgoing
    assert lane(unknown(5)) == ["end"]
    assert lane.plan.is_outgoing
    lane(FAILED)
    assert lane.plan.is_outgoing and lane.work == []
    lane(OK)
    assert lane.work == [True]


def test_p6_a_follower_that_fails_has_ended_badly_only_after_its_last_try():
    lane = Lane(dict(ALL, follower=1))
    lane(leads(5), OK, follows(6), FAILED)
    assert lane.work == [] and lane.plan.is_outgoing
    lane.now += RETRY_DELAY_NS
    lane(Wake(), FAILED)
    assert lane.work == [False] and not lane.plan.is_outgoing


def test_p6_without_a_follower_hook_the_work_ends_with_the_leader_hook():
    lane = Lane({"leader": 0})
    lane(leads(5), unknown(5))
    assert lane.work == []
    lane(FAILED)
    assert lane.work == [True]


def test_p6_what_a_former_run_left_behind_runs_follower_first():
    lane = Lane()
    lane.plan.led_before(4)
    assert lane(unknown(0)) == ["follower(0)"]
    assert lane(leads(5)) == []
    assert lane(OK) == ["leader(5)"]
    assert lane.work == [True]
