"""net/auth.py: mirror, replay and downgrade (pitfall 11.2); both learn the same; frames can't be altered."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from net_world import OTHER, SECRET, admit, events_of, hello, run_handshake

from raftctl.base.errors import PeerFault
from raftctl.cluster import handshake, memory
from raftctl.cluster.handshake import Refusal
from raftctl.net import frames
from raftctl.net.auth import Handshake, Opener, Refused, Sealer, Witness
from raftctl.net.frames import FRAME_LIMIT, Frame, FrameReader

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ONE, TWO = hello("h1", generation=4), hello("h2")


def sides(dialler_secrets=(SECRET,), acceptor_secrets=(SECRET,), judges=(admit, admit), own=(ONE, TWO)):
    return (Handshake(True, own[0], dialler_secrets, judges[0]),
            Handshake(False, own[1], acceptor_secrets, judges[1]))


def outcome(dialler, acceptor, between=lambda data: data):
    """Return what each side raised, (dialler's, acceptor's), passing on bytes as a socket would."""
    errors = [None, None]
    for _ in range(6):
        for number, (speaker, listener) in enumerate(((acceptor, dialler), (dialler, acceptor))):
            said = speaker.outgoing()
            said = between(said) if speaker is dialler else said
            if said and not errors[number]:
                try:
                    listener.receive(said)
                except PeerFault as error:
                    errors[number] = error
    return tuple(errors)


def codes(errors):
    return tuple(getattr(error, "code", None) or type(error).__name__ for error in errors)


@pytest.mark.parametrize("secrets", [(), (SECRET,)])
def test_both_sides_learn_who_the_other_is(secrets):
    dialled, accepted = run_handshake(*sides(secrets, secrets))
    assert dialled.theirs._replace(nonce=b"") == TWO._replace(nonce=b"", secured=bool(secrets))
    assert accepted.theirs._replace(nonce=b"") == ONE._replace(nonce=b"", secured=bool(secrets))


@pytest.mark.parametrize("secrets", [(), (SECRET,)])
def test_the_handshake_survives_single_bytes(secrets):
    dialler, acceptor = sides(secrets, secrets)
    while not (dialler.result and acceptor.result):
        for speaker, listener in ((dialler, acceptor), (acceptor, dialler)):
            for byte in speaker.outgoing():
                listener.receive(bytes([byte]))


@pytest.mark.parametrize("dialler, acceptor, fine", [
    ((SECRET,), (SECRET, OTHER), True),
    ((SECRET, OTHER), (OTHER, SECRET), True),
    ((OTHER, SECRET), (SECRET,), False),
    ((SECRET,), (OTHER,), False),
])
def test_the_first_secret_signs_and_all_verify(dialler, acceptor, fine):
    left, right = sides(dialler, acceptor)
    errors = outcome(left, right)
    if fine:
        assert errors == (None, None)
        sealed = left.result.sealer.seal(16, b"word")
        assert events_of(FrameReader(FRAME_LIMIT, right.result.opener.open), sealed) == [Frame(16, b"word")]
    else:
        assert codes(errors) == ("secret", "secret")


@pytest.mark.parametrize("dialler, acceptor", [((SECRET,), (OTHER,)), ((SECRET,), ()), ((), (SECRET,))])
def test_p8_without_a_common_secret_both_are_told_so_and_nothing_else(dialler, acceptor):
    judged = []

    def judge(own, theirs):
        judged.append(theirs)
        return Refusal("cluster", "a private matter")

    left, right = sides(dialler, acceptor, (judge, judge))
    errors = outcome(left, right)
    assert codes(errors) == ("secret", "secret")
    assert judged == []
    assert left.result is right.result is None


def test_p8_a_stranger_without_a_secret_gets_no_hello_from_one_that_has_one():
    left, right = sides((), (SECRET,))
    with pytest.raises(Refused, match="no secret is configured there, this node has one"):
        right.receive(left.outgoing())
    assert right.outgoing() == frames.encode(handshake.REFUSED, b'{"code": "secret", "message": ""}')


def test_11_2_a_mirrored_hello_is_refused():
    dialler = sides()[0]
    said = dialler.outgoing()
    with pytest.raises(PeerFault, match="our own hello came back"):
        dialler.receive(said)


def test_11_2_a_mirrored_proof_proves_nothing():
    """An attacker without the secret answers with a hello of its own and the dialler's own proof."""
    dialler = sides()[0]
    dialler.outgoing()
    dialler.receive(frames.encode(handshake.HELLO, handshake.encode_hello(TWO._replace(secured=True))))
    with pytest.raises(Refused, match="secret"):
        dialler.receive(dialler.outgoing())


def test_11_2_a_proof_from_one_connection_is_no_use_on_another_in_the_other_role():
    """The attacker takes the challenge of an acceptor to a dialler and brings back what that one proves."""
    target = Handshake(False, TWO, (SECRET,), admit)
    victim = Handshake(False, ONE, (SECRET,), admit)
    forged = handshake.encode_hello(hello("h3", nonce=b"f" * 16, secured=True))
    target.receive(frames.encode(handshake.HELLO, forged))
    challenge = target.outgoing()
    # The victim is asked to accept the target's own hello; what it would prove comes only after a good proof.
    victim.receive(challenge)
    assert events_of(FrameReader(4096), victim.outgoing())[0].kind == handshake.HELLO
    with pytest.raises(Refused):
        target.receive(frames.encode(handshake.PROOF, b"\0" * 32))


def test_11_2_a_recorded_dialler_can_not_be_replayed():
    recorded = []
    dialler, acceptor = sides()
    outcome(dialler, acceptor, lambda data: recorded.append(data) or data)
    later = Handshake(False, TWO, (SECRET,), admit)
    with pytest.raises(Refused, match="secret"):
        for data in recorded:
            later.receive(data)
    assert later.result is None


@pytest.mark.parametrize("change", [
    {"secured": False}, {"version": 2}, {"instance": "i-h9"}, {"incarnation": 9}, {"generation": 9},
    {"address": "tcp://h9:8089"}, {"expected_address": "tcp://h9:8089"}, {"role": "guardian"}, {"term": 9},
    {"fresh": True}, {"election_min_ns": 1}, {"start_id": "s"}, {"cluster_id": ""},
])
def test_11_2_nothing_in_a_hello_can_be_changed_on_the_way(change):
    """Downgrade and every other edit by somebody in between: the proof covers the hello as sent."""
    def edit(data):
        if not data or data[4] != handshake.HELLO:
            return data
        edited = handshake.decode_hello(data[5:])._replace(**change)
        return frames.encode(handshake.HELLO, handshake.encode_hello(edited))

    dialler, acceptor = sides()
    errors = outcome(dialler, acceptor, edit)
    assert codes(errors)[1] == "secret"
    assert acceptor.result is dialler.result is None


def test_11_2_a_node_with_a_secret_is_not_talked_out_of_it_by_two_edited_hellos():
    def strip(side):
        data = side.outgoing()
        edited = handshake.decode_hello(data[5:])._replace(secured=False)
        return frames.encode(handshake.HELLO, handshake.encode_hello(edited))

    dialler, acceptor = sides()
    with pytest.raises(Refused):
        acceptor.receive(strip(dialler))
    other = Handshake(False, TWO, (), admit)
    other.receive(frames.encode(handshake.HELLO, handshake.encode_hello(ONE)))
    with pytest.raises(Refused):
        dialler.receive(strip(other))


def test_each_handshake_draws_its_own_nonce():
    assert len({Handshake(True, ONE, (), admit).own.nonce for _ in range(20)}) == 20


@pytest.mark.parametrize("secrets", [(), (SECRET,)])
@pytest.mark.parametrize("who", [0, 1])
def test_a_refusal_reaches_the_other_side_with_its_reason(secrets, who):
    judges = [admit, admit]
    judges[who] = lambda own, theirs: Refusal("cluster", "belongs to another")
    left, right = sides(secrets, secrets, judges)
    errors = outcome(left, right)
    if who == 1:
        assert codes(errors) == ("cluster", "cluster")
        assert str(errors[0]) == "belongs to another"
        return
    # The acceptor has let the dialler in already: it reads the refusal as a sealed frame.
    assert codes(errors)[0] == "cluster"
    assert left.result is None


def test_a_refusing_dialler_tells_an_acceptor_that_has_let_it_in():
    left, right = sides(judges=(lambda own, theirs: Refusal("list", "lists differ"), admit))
    right.receive(left.outgoing())
    left.receive(right.outgoing())
    right.receive(left.outgoing())
    with pytest.raises(Refused, match="lists differ"):
        left.receive(right.outgoing())
    frame = events_of(FrameReader(FRAME_LIMIT, right.result.opener.open), left.outgoing())[0]
    assert frame.kind == handshake.REFUSED
    assert json.loads(frame.body)["message"] == "lists differ"


def test_p8_a_refusal_by_somebody_without_the_secret_is_not_believed():
    dialler, acceptor = sides()
    acceptor.receive(dialler.outgoing())
    dialler.receive(acceptor.outgoing())
    with pytest.raises(PeerFault, match="without the secret") as caught:
        dialler.receive(frames.encode(handshake.REFUSED,
                                      b'{"code":"cluster","message":"go away","mac":"00"}'))
    assert not isinstance(caught.value, Refused)


def test_p8_the_words_of_an_unproven_refusal_are_ours():
    dialler = sides()[0]
    with pytest.raises(Refused) as caught:
        dialler.receive(frames.encode(handshake.REFUSED, b'{"code":"secret","message":"\\u001b[31mpay me"}'))
    assert str(caught.value) == "the secret differs, or only one side has one"


def test_another_version_is_refused_by_name_whatever_else_its_hello_says():
    acceptor = Handshake(False, TWO, (SECRET,), admit)
    with pytest.raises(Refused, match="protocol version 7"):
        acceptor.receive(frames.encode(handshake.HELLO, b'{"version":7}'))
    dialler = Handshake(True, ONE, (SECRET,), admit)
    with pytest.raises(Refused, match="another protocol version"):
        dialler.receive(acceptor.outgoing())


@pytest.mark.parametrize("data, why", [
    (b"GET / HTTP/1.1\r\n\r\n", "frame of"),
    (b"\xff" * 8, "frame of"),
    (frames.encode(handshake.RAFT, b""), "kind 16 in the handshake"),
    (frames.encode(handshake.PROOF, b""), "kind 2 in the handshake"),
    (frames.encode(handshake.HELLO, b"{}"), "hello is malformed"),
    (frames.encode(handshake.HELLO, b"x" * 4097), "frame of"),
    (frames.encode(handshake.REFUSED, b"{"), "refusal is malformed"),
    (frames.encode(handshake.REFUSED, b'{"code":"invented","message":""}'), "refusal is malformed"),
    (b"", "closed during the handshake"),
    (b"\0\0", None),
])
@pytest.mark.parametrize("is_dialler", [True, False])
def test_p8_what_is_no_handshake_is_a_fault(data, why, is_dialler):
    side = Handshake(is_dialler, ONE, (SECRET,), admit)
    side.outgoing()
    if why is None:
        side.receive(data)
        assert side.result is None and side.outgoing() == b""
        return
    with pytest.raises(PeerFault, match=why):
        side.receive(data)


def test_p8_words_behind_the_proof_are_a_fault():
    dialler, acceptor = sides((), ())
    acceptor.receive(dialler.outgoing())
    dialler.receive(acceptor.outgoing())
    with pytest.raises(PeerFault, match="before the handshake was over"):
        acceptor.receive(dialler.outgoing() + frames.encode(handshake.RAFT, b"early"))


def sealed_stream():
    dialled, accepted = run_handshake(*sides())
    return [dialled.sealer.seal(16, f"word {number}".encode()) for number in range(4)], accepted.opener


def open_all(opener, data):
    return [frame.body for frame in events_of(FrameReader(FRAME_LIMIT, opener.open), data)]


def test_sealed_frames_open_in_order():
    stream, opener = sealed_stream()
    assert open_all(opener, b"".join(stream)) == [b"word 0", b"word 1", b"word 2", b"word 3"]


@pytest.mark.parametrize("order", [(0, 0), (1,), (0, 2), (1, 0)])
def test_p8_a_replayed_lost_or_reordered_frame_is_a_fault(order):
    stream, opener = sealed_stream()
    with pytest.raises(PeerFault, match="not authentic"):
        open_all(opener, b"".join(stream[number] for number in order))


@pytest.mark.parametrize("position", range(4, 5 + len("word 0") + frames.MAC_SIZE))
def test_p8_a_frame_with_any_byte_changed_is_a_fault(position):
    stream, opener = sealed_stream()
    data = bytearray(stream[0])
    data[position] ^= 1
    with pytest.raises(PeerFault):
        open_all(opener, bytes(data))


def test_p8_a_frame_without_a_mac_is_a_fault():
    _, opener = sealed_stream()
    with pytest.raises(PeerFault, match="not authentic"):
        open_all(opener, frames.encode(16, b""))


def test_the_two_directions_and_two_connections_have_different_keys():
    first, second = run_handshake(*sides()), run_handshake(*sides())
    sealed = first[0].sealer.seal(16, b"x")
    for opener in (first[0].opener, second[1].opener):
        with pytest.raises(PeerFault):
            open_all(opener, sealed)


def test_without_secrets_frames_are_bare():
    assert Sealer(None).seal(16, b"x") == frames.encode(16, b"x")
    assert Opener(None).open(16, b"x") == b"x"


def test_p7_the_witness_remembers_what_each_instance_showed():
    witness = Witness()
    assert witness(ONE, hello("h2", incarnation=5, start_id="a")) is None
    assert witness(ONE, hello("h2", incarnation=5, start_id="a")) is None
    assert witness(ONE, hello("h2", incarnation=5, start_id="b")).code == "instance"
    assert witness(ONE, hello("h2", incarnation=4, start_id="c")).code == "instance"
    assert witness(ONE, hello("h2", incarnation=6, start_id="d")) is None


def test_the_witness_learns_nothing_from_the_refused_or_from_guardians():
    witness = Witness()
    assert witness(ONE, hello("h2", incarnation=9, cluster_id="d")).code == "cluster"
    assert witness(ONE, hello("h2", incarnation=9, role="guardian", start_id="")) is None
    assert witness(ONE, hello("h2", incarnation=5)) is None


@pytest.mark.parametrize("make", [
    "from raftctl.net.listen import PeerListener\n"
    "PeerListener(['127.0.0.1'], 0, None, (b's' * 32,), None, print, silence_ns=1)",
    "from raftctl.config.load import load\nfrom raftctl.host.keeper import Keeper\n"
    "from raftctl.host.loop import Loop\nfrom types import SimpleNamespace\nimport logging\n"
    "node = SimpleNamespace(secrets=(b's' * 32,), events=(), check=None, data_dir='/d', takeover_delay_ns=0)\n"
    "Keeper(SimpleNamespace(loop=Loop(), changed=print), node, logging.getLogger())",
])
def test_who_has_a_secret_loads_what_it_needs_before_it_is_ready(make):
    """Not at the first handshake, or when a dead leader is to be released."""
    code = f"import sys; sys.path.insert(0, {TOP!r})\n{make}\nprint('hmac' in sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, timeout=60,
                          check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize("dialler", [True, False])
def test_p8_a_stranger_is_not_listened_to_for_more_than_a_hello_in_parts_either(dialler):
    """Found by reading: parts were joined up to 8 MiB before anything was proven."""
    side = Handshake(dialler, ONE, (SECRET,), admit)
    part = frames.encode(handshake.HELLO | frames.PART | frames.MORE, b"x" * 3000)
    side.receive(part)
    with pytest.raises(PeerFault, match="message of more than 4096 bytes"):
        side.receive(part)


def test_the_witness_forgets_those_that_it_did_not_see_for_longest(monkeypatch):
    monkeypatch.setattr(memory, "STRANGERS", 3)
    witness = Witness()
    member = hello("h2", incarnation=5)
    assert witness(ONE, member) is None
    for number in range(20):
        assert witness(ONE, hello("h3", instance=f"stranger-{number}")) is None
        assert witness(ONE, member) is None
    assert len(witness._seen) == 3
    assert witness(ONE, member._replace(incarnation=4)).code == "instance"
