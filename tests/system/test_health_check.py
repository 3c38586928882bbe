"""The health check (`check`, design §5) of real nodes: it fails, or hangs, while a file is there (P6)."""

from __future__ import annotations

import os
import time

import pytest
from cluster import raftctl, wait_for
from test_one_application import Applications

SCRIPT = """#!/bin/sh
cd '{folder}'
[ -e {port}.hangs ] && sleep 600
[ -e {port}.sick ] && {{ echo no route; exit 7; }}
exit 0
"""


class Checked(Applications):
    """A cluster with the application, and a check on each host that fails, or hangs, as the test says."""

    def __init__(self, folder):
        super().__init__(folder, (0.5, 0.5, 0.5))
        for host in self.cluster.hosts:
            script = os.path.join(self.folder, f"web{host.port}.sh")
            with open(script, "w", encoding="ascii") as file:
                file.write(SCRIPT.format(folder=self.folder, port=host.port))
            os.chmod(script, 0o755)
            host.settings["check"] = {"run": script, "interval": "200 ms", "timeout": "5 s",
                                      "fall": 2, "rise": 2}
            host.write_config()

    def make(self, host, what):
        open(os.path.join(self.folder, f"{host.port}.{what}"), "w").close()

    def heal(self, host, what="sick"):
        os.unlink(os.path.join(self.folder, f"{host.port}.{what}"))

    def verdict(self, host, state):
        wait_for(lambda: (host.request("state").get("check") or {}).get("state") == state,
                 f"the check of {host.address} is {state}")


@pytest.fixture
def checked(tmp_path):
    return lambda: Checked(tmp_path)


def test_p6_a_leader_whose_check_fails_gives_way_after_its_application_and_does_not_come_back(checked):
    with checked() as world:
        first = world.runs_at_leader()
        world.make(first, "sick")
        second = world.runs(but=first)
        world.check(2)
        assert world.gap_s() < 10            # nobody waited for `takeover delay`: the record was done
        state = wait_for(lambda: first.state() == "FOLLOWER" and first.request("state"), "it follows")
        script = f"web{first.port}.sh"
        assert f"check failed 2 times: {script} status 7: no route" in state["reason"]
        assert state["check"]["state"] == "failing" and state["check"]["lastLine"] == "no route"
        assert b"\ncheck: failing since " in raftctl("-c", first.config, "status").stdout
        said = raftctl("-c", first.config, "history").stdout.decode()
        assert f"check failed 2 times: {script} status 7: no route" in said
        world.heal(first)
        world.verdict(first, "passing")
        time.sleep(1.5)                      # more than an election max: leadership is sticky
        assert world.running() == second.port and second.state() == "LEADER"
        world.check(2)


def test_1_8_where_every_check_fails_a_caretaker_takes_writes_and_nobody_is_leader(checked):
    with checked() as world:
        world.runs_at_leader()
        for host in world.cluster.hosts:
            world.make(host, "sick")
        wait_for(lambda: world.running() is None and all(
            (host.request("state").get("check") or {}).get("state") == "failing"
            for host in world.cluster.hosts), "all fail, and the application has ended")
        wait_for(lambda: world.cluster.hosts[0].request("put", key="k", value="v").get("ok"), "a write")
        assert "LEADER" not in [host.state() for host in world.cluster.hosts]
        assert world.running() is None
        healed = world.cluster.hosts[1]
        world.heal(healed)
        assert world.runs().port == healed.port
        world.led_by(healed)


def test_a_check_that_hangs_has_failed(checked):
    with checked() as world:
        first = world.runs_at_leader()
        world.make(first, "hangs")
        world.runs(but=first)
        world.verdict(first, "failing")
        assert "time limit of 5 s" in first.request("state")["check"]["cause"]
        world.check(2)
