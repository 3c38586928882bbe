"""config/live.py: what can change while a node runs, and that nothing is in neither table."""

from __future__ import annotations

import pytest

from raftctl.base.addresses import Address
from raftctl.base.errors import UsageError
from raftctl.config import live
from raftctl.config.keys import KEYS
from raftctl.config.model import Hook, Loaded, NodeConfig

NODE = NodeConfig("/c.json", Address("h1", 1), "h1", "h1", None, "h1", (), 1, 2, 3, None, "/d", False, "/l",
                  "info", (), "/s", (b"a" * 16,), False, "raftctl", "", None)
HOOKS = (("leader", Hook(("/x",), 1, 0)),)


def test_every_field_is_in_one_table_and_every_key_is_one_of_the_files():
    named = [*live.LIVE, *live.FIXED, *live.OTHER]
    assert sorted(named) == sorted(NodeConfig._fields)
    assert {*live.LIVE.values(), *live.FIXED.values()} <= {key.name for key in KEYS}


def test_what_can_change_changes_and_the_rest_waits():
    after = NODE._replace(events=HOOKS, log_level="debug", log_file=None, secrets=(b"b" * 16, b"a" * 16),
                          heartbeat_ns=7, http=Address("h1", 9))
    assert live.compare(NODE, after) == (["events", "logFile", "logLevel", "secretFile"],
                                         ["heartbeat", "http"])
    assert live.update(NODE, after) == NODE._replace(events=HOOKS, log_level="debug", log_file=None,
                                                     secrets=after.secrets)


@pytest.mark.parametrize("before, after", [((), (b"b" * 16,)), ((b"b" * 16,), ())])
def test_p8_the_first_secret_and_the_end_of_the_last_wait_for_the_next_start(before, after):
    before, after = NODE._replace(secrets=before), NODE._replace(secrets=after)
    assert live.compare(before, after) == ([], ["secretFile"])
    assert live.update(before, after) == before


def test_nodes_are_matched_by_their_address_and_one_that_is_gone_is_named():
    other = NODE._replace(address=Address("h1", 2))
    loaded = Loaded("/c.json", True, (other, NODE), None, "info", "raftctl", "", None)
    assert live.match((NODE, other), loaded) == (NODE, other)
    with pytest.raises(UsageError, match="/c.json: no node has the address tcp://h1:3 any more"):
        live.match((NODE._replace(address=Address("h1", 3)),), loaded)
