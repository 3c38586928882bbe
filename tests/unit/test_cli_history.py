"""`history`: the table, and the file where no daemon answers."""

from __future__ import annotations

import json

from fake_daemon import FakeDaemon

from raftctl.cli.main import main
from raftctl.disk.history import HistoryFile

FIRST = {"time": "2026-12-01T09:00:00.000Z", "term": 4, "event": "asked", "leader": None,
         "cause": "remove tcp://h3:8089", "by": "root@h2"}
SECOND = {"time": "2026-12-01T09:00:01.000Z", "term": 5, "event": "elected", "leader": "tcp://h1:8089",
          "cause": "votes 2/3", "by": None, "leftOut": 2}
TABLE = """\
TIME                      TERM  LEADER         EVENT    CAUSE
2026-12-01T09:00:00.000Z  4     -              asked    remove tcp://h3:8089, by root@h2
2026-12-01T09:00:01.000Z  5     tcp://h1:8089  elected  votes 2/3 (2 entries before it were left out)
"""


def test_the_newest_entries_are_a_table(ask):
    daemon = FakeDaemon(history={"entries": [FIRST, SECOND]})
    assert ask(daemon, "history", "--limit", "7") == (0, TABLE, "")
    assert daemon.requests[0]["limit"] == 7


def test_json_is_the_same_for_programs(ask):
    shown = ask(FakeDaemon(history={"entries": [FIRST]}), "history", "--json")[1]
    assert json.loads(shown) == {"entries": [FIRST]}


def test_an_empty_history_prints_nothing(ask):
    assert ask(FakeDaemon(history={"entries": []}), "history") == (0, "", "")


def test_a_limit_of_0_is_refused_by_the_daemon(ask):
    assert ask(FakeDaemon(history={"code": "bad_request"}), "history", "--limit", "0")[0] == 2


def test_where_no_daemon_answers_the_file_is_read(tmp_path, capfd):
    config = tmp_path / "n.json"
    config.write_text(json.dumps({"address": "tcp://127.0.0.1:8089", "dataDir": str(tmp_path)}))
    assert main(["-c", str(config), "history"]) == 3
    assert "no daemon at" in capfd.readouterr().err
    HistoryFile(str(tmp_path / "history")).append([FIRST, SECOND])
    assert main(["-c", str(config), "history"]) == 0
    assert capfd.readouterr() == (
        TABLE, f"raftctl: no daemon answers; this is what {tmp_path}/history holds\n")
