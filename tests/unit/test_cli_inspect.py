"""`inspect`: what is printed, for people and programs, and the exit status."""

from __future__ import annotations

import json
import os
import re

import pytest

from raftctl.cli.main import main
from raftctl.cluster.handshake import Seen
from raftctl.cluster.memory import encode as encode_memory
from raftctl.disk import survey as surveys
from raftctl.disk.directory import open_directory
from raftctl.disk.files import SYSTEM
from raftctl.disk.holder import Holder
from raftctl.disk.journal import Journal
from raftctl.disk.snapshots import Snapshots
from raftctl.raft.configuration import Member, configuration, encode
from raftctl.raft.messages import (
    COMMAND,
    CONFIGURATION,
    NOOP,
    Entry,
    HardState,
    Position,
    SnapshotMark,
    Write,
)
from raftctl.store.commands import encode_delete, encode_put

MEMBERS = encode(configuration("c1", [Member("n1", "tcp://h1:8089", True), Member("n2", "tcp://h2:8089", False)]))
SECRET = b"correct horse battery staple"
ENTRIES = (
    Entry(1, 1, CONFIGURATION, MEMBERS),
    Entry(1, 2, NOOP, b""),
    Entry(1, 3, COMMAND, encode_put(b"overwritten", b"x")),
    Entry(2, 3, COMMAND, encode_put(b"db/password", SECRET)),
    Entry(2, 4, COMMAND, encode_put("schlüssel".encode(), SECRET, 3)),
    Entry(2, 5, COMMAND, encode_delete(b"\x1b[2Jkey\n")),
    Entry(2, 6, COMMAND, b"?"),
)
LOG = """
INDEX  TERM  KIND           BYTES    WHAT
1      1     configuration  46       tcp://h1:8089, tcp://h2:8089 (learner)
2      1     noop           0
3      2     command        43       put "db/password", value of 28 bytes
4      2     command        50       put "schlüssel", value of 28 bytes, if its revision is 3
5      2     command        12       delete "\\u001b[2Jkey\\n"
6      2     command        1        store command cut short at 1 bytes
"""
TEXT = """\
{path}: sound
cluster      c1
instance     n1
incarnation  1
boot id      {boot}
lock         held by no process that is seen from here
term         2
vote         n2
promise      1.5 s
removed      from its cluster, at 2:5
log          entries 1 to 6, the last of term 2
members      2 by entry 1; committed

MEMBER         ROLE     INSTANCE
tcp://h1:8089  voter    n1
tcp://h2:8089  learner  n2

SEGMENT     STATE       FIRST  LAST  USED  SIZE
0000000001  sound       1      6     {used:<4}  16777216
0000000002  made ahead  -      -     0     16777216

SNAPSHOT                                   STATE  INDEX  TERM  SIZE
00000000000000000002-00000000000000000001  sound  2      1     {size}
"""


@pytest.fixture
def data(tmp_path):
    """Make a data directory with all that there may be, and return its path; nobody has its lock."""
    path = str(tmp_path / "data")
    directory = open_directory(path, new_instance=lambda: "n1")
    directory.adopt_cluster("c1")
    snapshots = Snapshots.open(directory.snapshots_path, SYSTEM)
    journal, _ = Journal.open(directory.log_path, "n1", SYSTEM, snapshots=snapshots)
    journal.append(Write(1, HardState(2, "n2", 1_500_000_000, Position(2, 5)), ENTRIES[:3]))
    journal.append(Write(2, None, ENTRIES[3:]))
    snapshot = snapshots.begin(SnapshotMark(Position(1, 2), 1, MEMBERS, 9))
    snapshot.write(b"x" * 9)
    snapshot.finish()
    for one in (journal, snapshots, directory):
        one.close()
    return path


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def looked(capfd, *words):
    status = main(["inspect", *words])
    return (status, *capfd.readouterr())


def test_a_sound_directory_is_shown_whole_and_stays_as_it_was(data, capfd):
    def everything():
        return {os.path.join(folder, name): (os.stat(os.path.join(folder, name)).st_mtime_ns,
                                             open(os.path.join(folder, name), "rb").read())
                for folder, _, names in os.walk(data) for name in names}
    before = everything()
    status, said, errors = looked(capfd, data)
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    with open(os.path.join(data, "log", "0000000001"), "rb") as file:
        used = len(file.read().rstrip(b"\0"))
    (name,) = os.listdir(os.path.join(data, "snapshots"))
    size = os.path.getsize(os.path.join(data, "snapshots", name))
    assert (status, errors) == (0, "")
    assert said == TEXT.format(path=data, boot=boot, used=used, size=size)
    assert everything() == before


def test_the_entries_that_hold_are_listed_without_their_values(data, capfd):
    short = looked(capfd, data)[1]
    status, said, errors = looked(capfd, data, "--log")
    assert (status, said[len(short):], errors) == (0, LOG, "")


def test_json_has_all_of_it_in_one_object_without_values(data, capfd):
    status, said, _ = looked(capfd, data, "--json")
    shown = json.loads(said)
    assert (status, shown["sound"], shown["damage"], shown["lock"]) == (0, True, [], {"held": False, "pid": None})
    assert shown["hardState"] == {"term": 2, "vote": "n2", "promiseMs": 1500.0,
                                  "removed": {"term": 2, "index": 5}}
    assert shown["identity"]["instance"] == "n1" and shown["identity"]["clusterId"] == "c1"
    assert (shown["configuration"]["index"], shown["configuration"]["committed"]) == (1, True)
    assert [one["state"] for one in shown["segments"]] == ["sound", "made ahead"]
    assert [(one["index"], one["term"], one["storeSize"]) for one in shown["snapshots"]] == [(2, 1, 9)]
    with_log = looked(capfd, data, "--json", "--log")[1]
    assert SECRET.decode() not in with_log
    entries = json.loads(with_log).pop("entries")
    assert {**shown, "entries": entries} == json.loads(with_log)
    assert entries[2] == {"term": 2, "index": 3, "kind": "command", "size": 43, "operation": "put",
                          "key": "db/password", "valueSize": 28, "ifRevision": None}
    assert [one["index"] for one in entries] == [1, 2, 3, 4, 5, 6]
    assert entries[5]["problem"] == "store command cut short at 1 bytes"


def test_an_empty_log_is_an_empty_list(tmp_path, capfd):
    directory = open_directory(str(tmp_path), new_instance=lambda: "n1")
    directory.close()
    status, said, _ = looked(capfd, str(tmp_path), "--json", "--log")
    assert (status, json.loads(said)["entries"]) == (0, [])
    assert looked(capfd, str(tmp_path), "--log")[1].endswith("\nlog          no entries behind 0\n")


@pytest.mark.parametrize("name, at, said", [
    ("instance", 5, "instance: is damaged (its checksum is wrong); move the directory away and start"),
    ("log/0000000001", 100, "log/0000000001: byte 0: the header is damaged; move the directory away"),
    ("log/0000000001", 520, "log/0000000001: the record at byte 512 is damaged: its head is damaged; move"),
    ("log/0000000001", 560, "log/0000000001: the record at byte 512 is damaged: its checksum is wrong and no"),
    ("snapshots/00000000000000000002-00000000000000000001", 70, "-00000000000000000001: is damaged ("),
])
def test_damage_is_told_with_file_byte_and_mend_and_exit_status_1(data, capfd, name, at, said):
    flip(os.path.join(data, name), at)
    status, text, errors = looked(capfd, data, "--log")
    assert (status, errors) == (1, "") and text.startswith(f"{data}: damaged\n")
    assert f"\ndamage: {data}/{name.split('-')[0]}" in text and said in text
    (fault,) = json.loads(looked(capfd, data, "--json")[1])["damage"]
    assert fault["file"] == os.path.join(data, name) and fault["hint"]
    if name.startswith("log"):
        assert fault["offset"] == (0 if at < 512 else 512)
    # What is not in that file is shown all the same.
    assert ("0000000002  made ahead" in text) and (name.startswith("log") or "db/password" in text)


def test_the_log_up_to_a_damage_is_listed(data, capfd):
    path = os.path.join(data, "log", "0000000001")
    with open(path, "rb") as file:
        second = file.read().rindex(b"btch")
    flip(path, second + 40)
    status, said, _ = looked(capfd, data, "--log")
    assert status == 1 and f"the record at byte {second} is damaged" in said
    assert "log          entries 1 to 3, the last of term 1, as far as it is sound\n" in said
    assert 'put "overwritten", value of 1 bytes\n' in said and "db/password" not in said


def test_a_torn_tail_is_sound_and_its_size_told(data, capfd):
    path = os.path.join(data, "log", "0000000001")
    with open(path, "r+b") as file:
        second = file.read().rindex(b"btch")
        file.truncate(second + 30)
    status, said, _ = looked(capfd, data, "--log")
    assert status == 0 and re.search(r"^0000000001  torn tail of \d+ bytes, which a start cuts  1 ", said, re.M)
    assert "db/password" not in said


def test_a_damaged_memory_of_the_members_is_damage(data, capfd):
    directory = open_directory(data, new_instance=lambda: "n1")
    snapshots = Snapshots.open(directory.snapshots_path, SYSTEM)
    journal, _ = Journal.open(directory.log_path, "n1", SYSTEM, snapshots=snapshots)
    for memory, expected in ((encode_memory({"n2": Seen(1, "s1", 3, 4)}), 0), (b"?", 1)):
        journal.append(Write(3, None, (), memory))
        assert looked(capfd, data)[0] == expected
    for one in (journal, snapshots, directory):
        one.close()


def test_whose_lock_it_is_is_told(data, capfd, monkeypatch):
    directory = open_directory(data, new_instance=lambda: "n1")
    status, said, _ = looked(capfd, data)
    directory.close()
    assert status == 0
    assert f"held by pid {os.getpid()}: the node runs, and its last record may be half written\n" in said
    monkeypatch.setattr(surveys, "find_holder", lambda *_: Holder(None, None))
    assert "lock         not known: /proc/locks can't be read\n" in looked(capfd, data)[1]


def test_without_a_directory_it_is_that_of_the_configuration(data, tmp_path, capfd):
    config = tmp_path / "n.json"
    config.write_text(json.dumps({"address": "tcp://127.0.0.1:8089", "dataDir": data}))
    assert main(["-c", str(config), "inspect"]) == 0
    assert capfd.readouterr().out.startswith(f"{data}: sound\n")


@pytest.mark.parametrize("make", [None, "empty", "file", "other"])
def test_what_is_no_data_directory_is_a_usage_error(tmp_path, capfd, make):
    path = tmp_path / "it"
    if make == "file":
        path.write_text("x")
    elif make:
        path.mkdir()
        if make == "other":
            (path / "log").write_text("x")
    status, said, errors = looked(capfd, str(path))
    assert (status, said) == (2, "") and errors.startswith(f"raftctl: {path}: ")
    assert os.path.exists(path) == bool(make)


def test_what_may_not_be_read_is_exit_status_6(data, capfd, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", path)
    monkeypatch.setattr(os, "listdir", refuse)
    status, said, errors = looked(capfd, data)
    assert (status, said) == (6, "")
    assert errors == f"raftctl: {data}: permission denied; look as root or as the daemon's user: sudo\n"


def test_a_log_that_changes_while_it_is_read_is_no_damage_and_no_success(data, capfd, monkeypatch):
    from raftctl.cli import inspect

    def change(found, take):
        flip(os.path.join(data, "log", "0000000001"), 560)
        walk(found, take)
    walk = inspect.walk
    monkeypatch.setattr(inspect, "walk", change)
    status, _, errors = looked(capfd, data, "--log")
    assert status == 1 and "was changed while it was read" in errors and "run this again" in errors
