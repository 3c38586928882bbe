"""The guardian with real processes, signals and sockets; nodes and hooks are fakes that do as told."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time

import pytest
from guarded import PATIENCE_S, Guarded

from raftctl.cluster import handshake
from raftctl.raft.messages import Release
from tests.unit.release_peer import Peer


@pytest.fixture
def guarded(tmp_path):
    made = []

    def make(*args, **options):
        made.append(Guarded(tmp_path, *args, **options))
        return made[-1]

    yield make
    for world in made:
        world.close()


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rpartition(") ")[2][0] in "ZX"


# --- start and orderly stop

def test_an_orderly_stop_runs_follower_then_stop_then_lets_the_node_end(guarded):
    world = guarded(events=("leader", "follower", "start", "stop"))
    node = world.node().begin()
    world.hook("start(0)").end()
    node.lead(7)
    world.hook("leader(7)").end()
    world.signal()
    assert node.hear() == "stop"
    node.tell("stopping")
    world.hook("follower(7)").end()
    world.hook("stop(7)").end()
    node.finish()
    assert world.wait() == 0
    kinds = [message["kind"] for _, message in world.seen()]
    assert kinds == ["opened", "locked", "peers", "ready", "state", "stopping", "ended"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_stop_and_a_follower_runs_no_hook_of_a_leader(guarded, number):
    world = guarded()
    node = world.node().begin()
    node.follow(3)
    world.hook("follower(3)").end()
    world.signal(number)
    node.stop()
    node.finish()
    assert world.wait() == 0


def test_p5_a_hook_gets_environment_and_json_and_its_output_stands_in_the_log(guarded):
    world = guarded()
    node = world.node().begin()
    node.lead(7)
    hook = world.hook()
    expected = {
        "event": "leader", "state": "LEADER", "previousState": "CANDIDATE", "term": 7,
        "leader": "tcp://h1:8001", "address": "tcp://h1:8001", "config": world.loaded.path,
        "members": ["tcp://h1:8001"], "reason": "as the test says"}
    assert hook.hello["json"] == expected
    assert hook.hello["environ"] == {
        "RAFTCTL_EVENT": "leader", "RAFTCTL_STATE": "LEADER", "RAFTCTL_PREVIOUS_STATE": "CANDIDATE",
        "RAFTCTL_TERM": "7", "RAFTCTL_LEADER": "tcp://h1:8001", "RAFTCTL_ADDRESS": "tcp://h1:8001",
        "RAFTCTL_CONFIG": world.loaded.path, "RAFTCTL_MEMBERS": "tcp://h1:8001",
        "RAFTCTL_REASON": "as the test says"}
    hook.end()
    stop_leading(world, node)
    assert "[tcp://h1:8001] INFO [Event: leader] hook output\n" in world.log()
    assert "INFO [Event: leader] begins, term 7: as the test says\n" in world.log()


def stop_leading(world, node, term=7):
    world.signal()
    node.stop()
    world.hook(f"follower({term})").end()
    node.finish()
    assert world.wait() == 0


# --- what the lease does to hooks

def test_p2_a_leader_hook_does_not_start_without_the_lease_on_the_board(guarded):
    world = guarded()
    node = world.node().begin()
    node.state("LEADER", 5, node.address)
    node.follow(6)
    world.hook("follower(6)").end()
    # Of another term than the message: not either.
    node.publish(6).state("LEADER", 7, node.address)
    node.follow(8)
    node.lead(9)
    world.hook("leader(9)").end()
    stop_leading(world, node, 9)


def test_p2_a_lease_that_is_shown_after_the_message_starts_the_hook(guarded):
    world = guarded()
    node = world.node().begin()
    node.state("LEADER", 5, node.address)
    node.publish(5)
    world.hook("leader(5)").end()
    stop_leading(world, node, 5)


def test_p5_a_lease_that_runs_out_ends_the_leader_hook_of_a_mute_node_and_runs_follower(guarded):
    """Pitfall 9.3, and 7.3: the node is stopped, so nobody tells the guardian."""
    world = guarded()
    node = world.node().begin()
    node.lead(5, lease_s=2)
    hook = world.hook("leader(5)")
    os.kill(node.pid, signal.SIGSTOP)
    hook.until_closed()
    outgoing = world.hook("follower(5)")
    assert is_gone(hook.pid)
    assert outgoing.hello["json"]["state"] == "CANDIDATE"
    assert outgoing.hello["json"]["reason"] == "the lease is over"
    outgoing.end()
    os.kill(node.pid, signal.SIGCONT)
    node.lead(5, record=6)      # the one before is done: by it no hook starts any more (P6)
    world.hook("leader(5)").end()
    stop_leading(world, node, 5)


def test_p5_a_renewed_lease_keeps_the_leader_hook(guarded):
    world = guarded()
    node = world.node().begin()
    node.lead(5, lease_s=1)
    node.publish(5, lease_s=600)
    hook = world.hook("leader(5)")
    # Longer than the first lease, which would have ended the hook.
    with pytest.raises(socket.timeout):
        hook.connection.settimeout(1.2)
        hook.connection.recv(1)
    hook.connection.settimeout(PATIENCE_S)
    hook.end()
    wait_for(lambda: "[Event: leader] ended: status 0" in world.log())
    stop_leading(world, node, 5)


def test_p5_hooks_run_one_at_a_time_and_the_last_is_the_one_for_what_holds(guarded):
    world = guarded()
    node = world.node().begin()
    node.follow(1)
    slow = world.hook("follower(1)")
    for term in range(2, 30, 2):
        node.lead(term).follow(term + 1)
    node.lead(40)
    slow.end()
    world.hook("leader(40)").end()
    node.lead(41)
    # The board may be seen before the message: then it is term 40 that is over.
    between = world.hook()
    assert between.brief in ("follower(40)", "follower(41)")
    between.end()
    world.hook("leader(41)").end()
    stop_leading(world, node, 41)


def test_p5_a_hook_that_hangs_is_killed_with_its_group_and_the_next_one_runs(guarded):
    world = guarded(timeout_s=5)
    node = world.node().begin()
    node.follow(1)
    hanging = world.hook("follower(1)")
    node.lead(2)
    hanging.until_closed()
    world.hook("leader(2)").end()
    stop_leading(world, node, 2)
    assert "ERROR [Event: follower] failed: signal 15 (SIGTERM), time limit of 5 s" in world.log()


def test_p5_a_failed_leader_hook_is_tried_again_and_leadership_stays(guarded):
    world = guarded(retry=1)
    node = world.node().begin()
    node.lead(3)
    world.hook("leader(3)").end(1)
    world.hook("leader(3)").end(1)
    stop_leading(world, node, 3)
    assert world.log().count("ERROR [Event: leader] failed: status 1") == 2


# --- the end of a node

def test_p4_a_killed_leader_is_released_then_follower_runs_and_the_node_starts_again(guarded):
    world = guarded()
    peers = [Peer("tcp://h2:8089"), Peer("tcp://h3:8089")]
    node = world.node().begin(incarnation=3, peers=peers)
    node.lead(7)
    world.hook("leader(7)").end()
    node.kill()
    for peer in peers:
        assert peer.join().frames == [(handshake.RAFT, Release("n1", 3, 7))]
        assert peer.hellos[0].role == handshake.GUARDIAN
    outgoing = world.hook("follower(7)")
    assert outgoing.hello["json"]["reason"] == "node ended, signal 9 (SIGKILL)"
    # The restart does not wait for the hook.
    again = world.node().begin(incarnation=4)
    outgoing.end()
    world.signal()
    again.stop()
    again.finish()
    assert world.wait() == 0


def test_p4_a_killed_node_ends_its_running_leader_hook_though_the_board_still_shows_a_lease(guarded):
    world = guarded()
    node = world.node().begin()
    node.lead(7)
    hook = world.hook("leader(7)")
    node.kill()
    hook.until_closed()
    world.hook("follower(7)").end()
    world.node()
    world.signal(signal.SIGKILL)


def test_p4_nothing_is_released_for_a_term_in_which_this_process_did_not_lead(guarded):
    """Pitfall 1.3: a second start that finds the directory locked says nothing about the living leader."""
    world = guarded()
    peer = Peer("tcp://h2:8089")
    node = world.node()
    node.tell("peers", endpoints=[{"address": peer.address, "ip": ["127.0.0.1"], "port": peer.port}])
    node.publish(7)
    node.exit(6)
    assert world.wait() == 6
    with socket.create_connection(("127.0.0.1", peer.port)):
        pass
    assert peer.join().frames == [] and peer.problems == ["closed during the handshake"]


def test_p4_an_orderly_end_is_not_released_twice(guarded):
    world = guarded(events=())
    peer = Peer("tcp://h2:8089")
    node = world.node().begin(peers=[peer])
    node.lead(7)
    world.signal()
    node.stop()
    node.finish()
    assert world.wait() == 0
    with socket.create_connection(("127.0.0.1", peer.port)):
        pass
    assert peer.join().problems == ["closed during the handshake"]


def test_last_words_of_a_node_that_died_at_once_still_give_its_release(guarded):
    world = guarded(events=())
    peer = Peer("tcp://h2:8089")
    node = world.node()
    os.kill(world.process.pid, signal.SIGSTOP)
    node.begin(incarnation=9, peers=[peer]).lead(7)
    node.kill()
    os.kill(world.process.pid, signal.SIGCONT)
    assert peer.join().frames == [(handshake.RAFT, Release("n1", 9, 7))]


def test_a_node_that_closes_its_tether_and_lives_on_is_killed(guarded):
    world = guarded(events=(), patch="keeper._EOF_NS = 10**8")
    node = world.node().begin()
    node.order("close")
    node.until_closed()
    again = world.node().begin()
    world.signal()
    again.stop()
    again.finish()
    assert world.wait() == 0
    assert "node is killed: it closed its tether and lives on" in world.log()


def test_a_node_that_talks_nonsense_is_ended(guarded):
    world = guarded(events=())
    node = world.node().begin()
    node.order("raw", text="nonsense\n")
    node.until_closed()
    world.node()
    assert "node is ended: tether: a line is" in world.log()


@pytest.mark.parametrize("status", [2, 74])
def test_p3_a_node_that_must_not_start_again_does_not(guarded, status):
    """Pitfall 5.1: what the next process would read after a failed sync is not what the disk got."""
    world = guarded()
    node = world.node().begin()
    node.lead(7)
    world.hook("leader(7)").end()
    node.exit(status)
    world.hook("follower(7)").end()
    assert world.wait() == status
    assert f"node is not started again, status {status}" in world.log()


def test_of_several_nodes_the_guardian_goes_on_with_the_rest(guarded):
    world = guarded(2, events=())
    first, second = world.node(), world.node()
    second.begin()
    first.exit(74)
    second.kill()
    world.node().exit(2)
    assert world.wait() == 74


def test_a_directory_that_is_locked_later_on_is_tried_again(guarded):
    world = guarded(events=())
    world.node().begin().kill()
    world.node().exit(6)
    again = world.node().begin()
    world.signal()
    again.stop()
    again.finish()
    assert world.wait() == 0


def test_a_node_that_gives_up_its_cluster_runs_follower_and_starts_again_at_once(guarded):
    world = guarded()
    node = world.node().begin()
    node.lead(1)
    world.hook("leader(1)").end()
    node.tell("stopping")
    world.hook("follower(1)").end()
    assert node.hear() == "outgoing_done"
    node.exit(75)
    again = world.node().begin(incarnation=1)
    again.follow(4)
    again.lead(5)
    world.hook("leader(5)").end()
    stop_leading(world, again, 5)
    assert "started again in" not in world.log()


def test_p6_the_death_of_the_guardian_is_seen_by_each_node_though_others_and_hooks_live(guarded):
    """Pitfall 9.4, 11.3: no other child holds the guardian's end of a tether."""
    world = guarded(2)
    nodes = [world.node().begin(), world.node().begin()]
    nodes[0].follow(1)
    hook = world.hook()
    world.signal(signal.SIGKILL)
    assert [node.hear() for node in nodes] == ["end", "end"]
    # Only tidying up: it may have ended with its guardian's pipe.
    with contextlib.suppress(BrokenPipeError):
        hook.end()


# --- silence

FAST = "from raftctl import tether; tether.PULSE_NS = 10 ** 8"


def test_p4_a_node_that_answers_no_more_is_killed_released_and_started_again(guarded):
    """Pitfall 9.4."""
    world = guarded(patch=FAST)
    peer = Peer("tcp://h2:8089")
    node = world.node().begin(incarnation=3, peers=[peer])
    node.lead(7)
    world.hook("leader(7)").end()
    node.order("deafen")
    node.until_closed()
    assert peer.join().frames == [(handshake.RAFT, Release("n1", 3, 7))]
    world.hook("follower(7)").end()
    again = world.node().begin(incarnation=4)
    world.signal()
    again.stop()
    again.finish()
    assert world.wait() == 0
    assert "node is killed: it does not answer" in world.log()


def test_the_watchdog_is_told_nothing_while_one_of_two_nodes_does_not_answer(guarded, tmp_path):
    """Pitfall 9.4: it is fed by the guardian and its nodes."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(PATIENCE_S)
    world = guarded(2, events=(), patch=FAST + "; from raftctl.host import pulse; pulse.HUNG = 10 ** 6", environ={
        "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"})
    nodes = [world.node().begin(), world.node().begin()]
    while manager.recv(4096) != b"WATCHDOG=1":
        pass
    os.kill(nodes[0].pid, signal.SIGSTOP)
    manager.settimeout(1.0)
    with pytest.raises(socket.timeout):
        while True:
            manager.recv(4096)
    os.kill(nodes[0].pid, signal.SIGCONT)
    manager.settimeout(PATIENCE_S)
    assert manager.recv(4096) == b"WATCHDOG=1"
    manager.close()


def test_p6_a_second_start_runs_nothing_of_what_the_living_one_left(guarded):
    """Pitfall 1.3: `outgoing` is there, but the lock is another's."""
    world = guarded()
    (world.folder / "8001" / "outgoing").write_text('{"instance":"n1","index":12,"term":7}')
    world.node().exit(6)
    assert world.wait() == 6
    assert "[Event: follower]" not in world.log()


def test_p6_who_has_the_lock_ends_what_a_former_run_left_before_all_else(guarded):
    world = guarded()
    node = world.node().begin(note='{"instance":"n1","index":12,"term":7}')
    world.hook("follower(7)").end()
    node.lead(9, record=20)
    world.hook("leader(9)").end()
    stop_leading(world, node, 9)


# --- stopping

def test_a_node_that_does_not_answer_a_stop_is_killed_and_its_hooks_run(guarded):
    world = guarded(patch="keeper._ANSWER_NS = 3 * 10**8")
    node = world.node().begin()
    node.lead(7)
    world.hook("leader(7)").end()
    os.kill(node.pid, signal.SIGSTOP)
    world.signal()
    world.hook("follower(7)").end()
    assert world.wait() == 0
    assert "node is killed: it did not say that it is stopping" in world.log()


def test_a_second_signal_kills_the_hook_that_runs_and_leaves_out_stop(guarded):
    world = guarded(events=("leader", "follower", "start", "stop"))
    node = world.node().begin()
    world.hook("start(0)").end()
    node.lead(7)
    running = world.hook("leader(7)")
    world.signal()
    node.stop()
    running.until_closed()
    outgoing = world.hook("follower(7)")
    world.signal()
    outgoing.until_closed()
    node.finish()
    assert world.wait() == 0
    assert "[Event: follower] failed: signal 9 (SIGKILL), killed in a hurry" in world.log()
    assert "[Event: stop]" not in world.log()


def test_a_second_signal_does_not_wait_for_a_hung_node(guarded):
    world = guarded(events=())
    node = world.node().begin()
    os.kill(node.pid, signal.SIGSTOP)
    world.signal(signal.SIGINT)
    # Two of a kind may be merged into one by the kernel; two kinds are not.
    world.signal(signal.SIGTERM)
    assert world.wait() == 0 and is_gone(node.pid)


def test_a_lost_terminal_stops_all_but_sighup_alone_does_not(guarded):
    """`start --local` over ssh: nothing is left behind when the connection goes."""
    ours, theirs = os.openpty()
    world = guarded(events=(), stdin=theirs)
    os.close(theirs)
    node = world.node().begin()
    world.signal(signal.SIGHUP)
    node.tell("status", text="still here")
    wait_for(lambda: "still here" in (world.folder / "seen").read_text())
    os.close(ours)
    world.signal(signal.SIGHUP)
    node.stop()
    node.finish()
    assert world.wait() == 0


def test_no_leader_hook_starts_on_a_stopping_node(guarded):
    """Pitfall 9.7."""
    world = guarded()
    node = world.node().begin()
    node.follow(1)
    world.hook("follower(1)").end()
    world.signal()
    node.stop()
    node.lead(2)
    node.finish()
    assert world.wait() == 0
    assert "[Event: leader]" not in world.log()


def test_a_stop_while_a_node_waits_to_be_started_again(guarded):
    world = guarded()
    world.node().exit(1)
    world.node().exit(1)
    world.node().exit(1)
    wait_for(lambda: "started again in 0.2 s" in world.log())
    world.signal()
    assert world.wait() == 0


def wait_for(holds):
    """For a file, which tells nobody that it grew."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


# --- the service manager and the logs

def test_systemd_is_told_ready_status_and_stopping(guarded, tmp_path):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(PATIENCE_S)
    world = guarded(2, events=(), environ={"NOTIFY_SOCKET": str(tmp_path / "notify")})
    nodes = sorted([world.node(), world.node()], key=lambda node: node.address)

    def next_word(start):
        while True:
            text = manager.recv(4096).decode()
            if text.startswith(start):
                return text

    nodes[0].begin()
    nodes[0].tell("status", text="waiting for tcp://h3:8089, 2 of 3")
    assert "n8001: waiting for tcp://h3:8089, 2 of 3; n8002: starting" in next_word("STATUS=n8001: wait")
    nodes[1].begin()
    assert next_word("READY") == "READY=1"
    world.signal()
    assert next_word("STOPPING") == "STOPPING=1"
    for node in nodes:
        node.stop()
    for node in nodes:
        node.finish()
    assert world.wait() == 0
    manager.close()


def test_each_node_has_its_own_log_and_the_guardian_another(guarded):
    world = guarded(2)
    nodes = sorted([world.node(), world.node()], key=lambda node: node.address)
    for node in nodes:
        node.begin()
    nodes[0].follow(1)
    world.hook().end()
    os.rename(world.folder / "8001.log", world.folder / "rotated")
    world.signal(signal.SIGHUP)
    nodes[0].lead(2)
    world.hook().end()
    world.signal()
    for node in nodes:
        node.stop()
    world.hook("follower(2)").end()
    for node in nodes:
        node.finish()
    assert world.wait() == 0
    assert "[Event: follower]" in (world.folder / "rotated").read_text()
    assert "[Event: leader]" in world.log(8001)
    assert "[Event:" not in world.log(8002) + world.guardian_log()
    assert "[guardian] INFO SIGTERM: stops" in world.guardian_log()
    assert (world.folder / "stderr").read_bytes() == b""


def test_p9_a_log_file_that_can_not_be_opened_is_said_before_anything_starts(guarded, tmp_path):
    (tmp_path / "8001.log").mkdir()
    world = guarded()
    assert world.wait() == 2
    assert b"8001.log can't be opened (is a directory)" in (tmp_path / "stderr").read_bytes()
    assert not (tmp_path / "seen").read_text()


def test_a_log_that_nobody_reads_stops_nothing(guarded, tmp_path):
    """Pitfall 10.4: standard error is a full pipe."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    world = guarded(stderr=writer)
    os.close(writer)
    node = world.node().begin()
    node.lead(1)
    world.hook("leader(1)").end()
    world.signal()
    node.stop()
    world.hook("follower(1)").end()
    node.finish()
    assert world.wait() == 0
    os.close(reader)
