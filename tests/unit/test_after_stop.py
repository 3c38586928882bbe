"""after-stop: what proves an end, and what is done then: RELEASE, process groups, outgoing work (P4, P6)."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest
from release_peer import Peer

from raftctl import tether
from raftctl.base import groups
from raftctl.base.addresses import Address
from raftctl.cli import after_stop as command
from raftctl.cluster import handshake
from raftctl.cluster.takeover import ENDED as WORK_ENDED
from raftctl.cluster.takeover import GOES_ON, read_word
from raftctl.config.model import Hook, NodeConfig
from raftctl.disk import identity as identities
from raftctl.disk.directory import open_directory
from raftctl.disk.journal import Journal
from raftctl.disk.peers import write_peers
from raftctl.disk.reading import read_term
from raftctl.host import after_stop
from raftctl.host.after_stop import Ended
from raftctl.host.outgoing import Note
from raftctl.raft.messages import HardState, Release, Write

S = 1_000_000_000
LOG = logging.getLogger("test after-stop")


def node_of(folder, events=()):
    return NodeConfig(None, Address("h1", 1), "h1", "h1", None, "h1", (), 1, 2, 3, None, str(folder), False,
                      None, "info", events, None, (), True, "x", "", None)


@pytest.fixture
def peer():
    made = Peer("tcp://h2:8089")
    yield made
    made.join()


# --- the proof

@pytest.fixture
def data(tmp_path):
    """A data directory as a leader of term 7 left it that was killed: its incarnation is 2."""
    path = str(tmp_path / "data")
    for _ in range(2):
        directory = open_directory(path, new_instance=lambda: "n1")
        directory.adopt_cluster("c" * 32)
        journal, _ = Journal.open(directory.log_path, "n1")
        journal.append(Write(1, HardState(7, "n1", 0), ()))
        journal.close()
        directory.close()
    write_peers(path, json.dumps([{"address": "tcp://h2:8089", "ip": ["127.0.0.1"], "port": 1}]))
    with open(os.path.join(path, "outgoing"), "w", encoding="ascii") as file:
        file.write('{"instance":"n1","index":12,"term":7}\n77 5\n')
    return path


def prove(path, caplog):
    caplog.set_level(logging.INFO)
    with contextlib.ExitStack() as held:
        return command._prove(held, node_of(path), LOG, ())


def test_p4_what_the_last_process_left_is_exactly_what_is_released(data, caplog):
    found = prove(data, caplog)
    assert (found.instance, found.incarnation, found.term, found.cluster_id) == ("n1", 2, 7, "c" * 32)
    assert [endpoint.address for endpoint in found.endpoints] == ["tcp://h2:8089"]
    assert found.note == Note("n1", 12, 7, groups.Group(77, 5)) and found.groups == (groups.Group(77, 5),)


def test_p4_while_another_has_the_lock_nothing_is_done(data, caplog, monkeypatch):
    """Pitfall 1.3."""
    monkeypatch.setattr(command, "_LOCK_S", 0.0)
    living = open_directory(data, new_instance=lambda: "n1")
    assert prove(data, caplog) is None
    assert "is in use by another raftctl" in caplog.text
    living.close()


def test_p4_a_copy_of_the_directory_proves_nothing(data, caplog):
    """Pitfall 1.3."""
    shutil.copytree(data, data + "2")
    assert prove(data + "2", caplog) is None
    assert "of which this is a copy" in caplog.text


def test_p4_a_start_before_this_boot_proves_nothing(data, caplog):
    """Pitfall 1.3."""
    name = os.path.join(data, "instance")
    with open(name, "rb") as file:
        found, _ = identities.decode(file.read())
    with open(name, "wb") as file:
        file.write(identities.encode(found._replace(boot_id="another")))
    assert prove(data, caplog) is None
    assert "before this host was booted" in caplog.text


def test_a_directory_that_is_not_there_is_not_made(tmp_path, caplog):
    assert prove(str(tmp_path / "none"), caplog) is None
    assert os.listdir(tmp_path) == [] and not caplog.text


def test_a_damaged_log_releases_nothing_but_the_outgoing_work_is_done(data, caplog):
    log = os.path.join(data, "log")
    with open(os.path.join(log, sorted(os.listdir(log))[0]), "r+b") as file:
        file.write(b"\xff" * 64)
    found = prove(data, caplog)
    assert (found.term, found.note.index) == (0, 12)
    assert "nothing is released" in caplog.text


def test_the_term_is_that_of_the_newest_record(data):
    assert read_term(os.path.join(data, "log"), "n1") == 7


def test_a_node_says_which_it_is_though_its_address_has_gone(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"clusterNodes": ["tcp://192.0.2.1:8089", "tcp://192.0.2.2:8089"],
                                "insecure": True, "dataDir": str(tmp_path / "data")}))
    done = []
    monkeypatch.setattr(after_stop, "run", done.append)
    options = argparse.Namespace(config=str(path), node="tcp://192.0.2.2:8089", board_fd=None)
    assert command.run(options) == 0 and done == [[]]


# --- what is done

def ended(peer, *, term=7, note=None, named=(), node=None):
    endpoints = (peer.endpoint(),) if peer else ()
    return Ended(node or node_of("/none"), "c" * 32, "n1", 3, term, endpoints, note, named)


def test_p4_exactly_that_incarnation_and_term_is_released_in_the_role_of_a_guardian(peer):
    after_stop.run([(ended(peer), LOG)])
    assert peer.join().frames == [(handshake.RAFT, Release("n1", 3, 7))]
    assert peer.hellos[0].role == handshake.GUARDIAN


def test_p4_release_is_given_up_after_a_second(tmp_path):
    """A peer that takes no connection: its queue is full, and nobody reads it."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        with socket.create_connection(listener.getsockname()):
            mute = argparse.Namespace(endpoint=lambda: after_stop.Endpoint(
                "tcp://h2:1", ("127.0.0.1",), listener.getsockname()[1]))
            begun = time.monotonic()
            after_stop.run([(ended(mute), LOG)])
            assert 0.9 < time.monotonic() - begun < 10


def script(folder, name, text):
    path = folder / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return Hook((str(path),), 20 * S, 0)


@pytest.fixture
def group():
    """A process group that ignores TERM, once it says so."""
    process = subprocess.Popen(["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"],
                               start_new_session=True, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)
    process.stdout.close()


def test_p6_groups_are_ended_then_follower_runs_and_the_note_goes(tmp_path, group, monkeypatch):
    monkeypatch.setattr(after_stop, "GRACE_NS", S // 10)
    hook = script(tmp_path, "follower", f"echo $RAFTCTL_EVENT $RAFTCTL_TERM >> {tmp_path}/ran\n")
    (tmp_path / "outgoing").write_text("{}")
    seen = []
    monkeypatch.setattr(after_stop.Widow, "_groups_ended", lambda widow, go=after_stop.Widow._groups_ended: (
        seen.append(groups.is_alive(group.pid)), go(widow)))
    after_stop.run([(ended(None, note=Note("n1", 12, 7), named=(groups.of(group.pid),),
                           node=node_of(tmp_path, (("leader", hook), ("follower", hook)))), LOG)])
    assert seen == [False]
    assert (tmp_path / "ran").read_text() == "follower 7\n"
    assert not (tmp_path / "outgoing").exists()


def test_p6_a_new_leader_hears_that_it_goes_on_while_the_groups_are_ended(tmp_path, group, monkeypatch):
    """`takeover delay` may be over before a hook has ended that ignores TERM."""
    monkeypatch.setattr(after_stop, "GRACE_NS", S // 5)
    said = []
    monkeypatch.setattr(after_stop.Widow, "_deliver_work", lambda widow, body: said.append(
        (read_word(body), groups.is_alive(group.pid))))
    hook = script(tmp_path, "follower", "exit 0\n")
    node = node_of(tmp_path, (("follower", hook),))._replace(takeover_delay_ns=S // 50)
    after_stop.run([(ended(None, note=Note("n1", 12, 7), named=(groups.of(group.pid),), node=node), LOG)])
    assert said[0] == ((GOES_ON, 12), True) and said[-1] == ((WORK_ENDED, 12), False)


def test_a_group_whose_number_was_given_out_again_is_let_alone(group):
    other = groups.of(group.pid)._replace(begun=1)
    after_stop.run([(ended(None, named=(other,)), LOG)])
    assert group.poll() is None


def test_p6_without_a_note_no_hook_runs(tmp_path):
    hook = script(tmp_path, "follower", f"echo $RAFTCTL_EVENT >> {tmp_path}/ran\n")
    after_stop.run([(ended(None, node=node_of(tmp_path, (("follower", hook),))), LOG)])
    assert not (tmp_path / "ran").exists()


def test_a_follower_that_fails_leaves_the_note(tmp_path):
    hook = script(tmp_path, "follower", "exit 1\n")
    (tmp_path / "outgoing").write_text("{}")
    node = node_of(tmp_path, (("follower", hook),))
    after_stop.run([(ended(None, note=Note("n1", 12, 7), node=node), LOG)])
    assert (tmp_path / "outgoing").exists()


def test_the_board_names_groups_to_who_inherits_it(group):
    board = tether.Board.create()
    board.name_groups((groups.of(group.pid),))
    assert command._groups(os.dup(board.fd)) == (groups.of(group.pid),)
    assert command._groups(None) == ()
    board.close()
