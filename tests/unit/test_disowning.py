"""What peers say of this node's own directory (P7): who is told twice is silent until it is let in."""

from __future__ import annotations

from turn_world import World

from raftctl.base.addresses import parse
from raftctl.cluster.disowning import Disowning

H1, H2 = "tcp://h1:8089", "tcp://h2:8089"


def test_p7_a_first_refusal_may_be_a_hello_that_crossed_an_ack():
    disowning = Disowning()
    assert disowning.refused(H1) == () and not disowning.is_disowned
    disowning.accepted(H1)
    assert disowning.refused(H1) == () and not disowning.is_disowned


def test_p7_two_refusals_of_one_peer_disown_and_are_told_once():
    disowning = Disowning()
    disowning.refused(H1)
    assert disowning.refused(H2) == () and not disowning.is_disowned, "of two peers, one each"
    (told,) = disowning.refused(H1)
    assert told.cause.startswith(H1) and disowning.is_disowned
    assert disowning.refused(H1) == ()
    disowning.accepted(H2)
    assert disowning.is_disowned, "another peer may know less"
    disowning.accepted(H1)
    assert not disowning.is_disowned


def test_p7_a_disowned_leader_leads_no_more_and_another_does():
    world = World()
    for port in (1, 2, 3):
        world.add(port, (1, 2, 3))
    world.run(500)
    (leader,) = world.leaders()
    peer = next(node for node in world.nodes.values() if node is not leader)
    for _ in range(2):
        leader.turn.link_down(world.instant, parse(peer.address), 0, "refused", True)
    leader.finish()
    assert any("neither votes" in decision for decision in leader.decisions)
    world.run(3000)
    assert leader not in world.leaders() and len(world.leaders()) == 1
