"""The guardian's RELEASE (P4): to all peers at once, through the real handshake, waiting for nobody."""

from __future__ import annotations

import socket

import pytest
from release_peer import Peer

from raftctl.base.errors import PeerFault
from raftctl.cluster import handshake
from raftctl.cluster.handshake import GUARDIAN, VERSION, Hello
from raftctl.host import release
from raftctl.host.loop import Loop
from raftctl.host.release import Delivery, Endpoint, read_endpoints
from raftctl.raft.encoding import encode_message
from raftctl.raft.messages import Release

SECOND = 1_000_000_000
RELEASE = Release("n1", 3, 7)
OWN = Hello(VERSION, GUARDIAN, "c" * 32, "tcp://h1:8089", "", "n1", 3, "", 7)
SECRET = (b"s" * 32,)


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


def deliver(loop, endpoints, secrets=()):
    results = []
    Delivery(loop, OWN, secrets, handshake.RAFT, encode_message(RELEASE), tuple(endpoints), results.append)
    assert results == []
    loop.run(until=lambda: results)
    assert loop._selector.get_map().keys() == {loop._wake_in.fileno()}
    return results[0]


@pytest.mark.parametrize("secrets", [(), SECRET], ids=["bare", "secret"])
def test_p4_every_peer_gets_the_release_in_the_role_of_a_guardian(loop, secrets):
    peers = [Peer("tcp://h2:8089", secrets), Peer("tcp://h3:8089", secrets)]
    results = deliver(loop, [peer.endpoint() for peer in peers], secrets)
    assert results == {"tcp://h2:8089": "", "tcp://h3:8089": ""}
    for peer in peers:
        peer.join()
        assert peer.frames == [(handshake.RAFT, RELEASE)]
        assert (peer.hellos[0].role, peer.hellos[0].instance, peer.hellos[0].expected_address) == (
            GUARDIAN, "n1", peer.address)


def test_without_peers_it_is_over_at_once(loop):
    assert deliver(loop, []) == {}


def test_a_peer_that_is_down_or_mute_costs_its_answer_and_not_the_others(loop, monkeypatch):
    monkeypatch.setattr(release, "DEADLINE_NS", SECOND // 2)
    with socket.create_server(("127.0.0.1", 0)) as mute, socket.create_server(("127.0.0.1", 0)) as closed:
        dead = closed.getsockname()[1]
        closed.close()
        peer = Peer("tcp://h2:8089")
        results = deliver(loop, [
            Endpoint("tcp://h3:8089", ("127.0.0.1",), mute.getsockname()[1]),
            Endpoint("tcp://h4:8089", ("127.0.0.1",), dead),
            Endpoint("tcp://h5:8089", (), 8089),
            peer.endpoint()])
    assert results == {"tcp://h2:8089": "", "tcp://h3:8089": "timed out",
                       "tcp://h4:8089": "Connection refused", "tcp://h5:8089": "no numeric address is known"}
    assert peer.join().frames == [(handshake.RAFT, RELEASE)]


def test_one_of_several_numbers_of_a_peer_is_enough(loop):
    peer = Peer("tcp://h2:8089")
    assert deliver(loop, [peer.endpoint("127.0.0.2", "127.0.0.1")]) == {"tcp://h2:8089": ""}
    assert peer.join().frames == [(handshake.RAFT, RELEASE)]


def test_p8_a_peer_with_another_secret_gets_nothing(loop):
    peer = Peer("tcp://h2:8089", (b"other" * 8,))
    results = deliver(loop, [peer.endpoint()], SECRET)
    assert "secret" in results["tcp://h2:8089"]
    assert peer.join().frames == [] and peer.problems


def test_a_node_that_calls_itself_otherwise_gets_nothing(loop):
    peer = Peer("tcp://h9:8089")
    results = deliver(loop, [peer.endpoint()._replace(address="tcp://h2:8089")])
    assert "calls itself tcp://h9:8089" in results["tcp://h2:8089"]
    assert peer.join().frames == []


def test_endpoints_are_read_and_names_among_their_numbers_left_out():
    message = {"endpoints": [
        {"address": "tcp://h2:8089", "ip": ["10.0.0.2", "::1", "h2", "fe80::1%eth0"], "port": 8089},
        {"address": "tcp://h3:8089", "ip": [], "port": 8089}]}
    assert read_endpoints(message) == (
        Endpoint("tcp://h2:8089", ("10.0.0.2", "::1"), 8089), Endpoint("tcp://h3:8089", (), 8089))


@pytest.mark.parametrize("endpoint", [
    None, {}, {"address": "h2", "ip": [], "port": 1}, {"address": "tcp://h2:1", "ip": [7], "port": 1},
    {"address": "tcp://h2:1", "ip": [], "port": 0}, {"address": "tcp://h2:1", "ip": None, "port": 1}])
def test_malformed_endpoints_are_the_nodes_fault(endpoint):
    with pytest.raises(PeerFault, match="peers"):
        read_endpoints({"endpoints": [endpoint]})
