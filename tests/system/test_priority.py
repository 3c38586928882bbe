"""Priority, preempt and witness on real processes (design §4.2)."""

from __future__ import annotations

from cluster import Cluster, raftctl, wait_for

# Preemption waits for 5 × election max.
SETTINGS = {"election min": "300 ms", "election max": "500 ms", "heartbeat": "60 ms"}


def test_leadership_goes_to_the_highest_priority_and_never_to_the_witness(tmp_path):
    with Cluster(tmp_path, 3, **SETTINGS) as cluster:
        witness, ordinary, preferred = cluster.hosts          # the witness is the author of the founding
        witness.settings["priority"] = 0
        preferred.settings.update({"priority": 200, "preempt": True})
        for host in cluster.hosts:
            host.write_config()
        cluster.start()
        wait_for(lambda: preferred.state() == "LEADER", "the highest priority leads")
        assert preferred.stop() == 0
        wait_for(lambda: ordinary.state() == "LEADER", "the ordinary node leads")
        assert "shows LEADER" not in witness.log_text()
        assert raftctl("-c", witness.config, "put", "k", "v").returncode == 0
        preferred.start()
        wait_for(lambda: preferred.state() == "LEADER", "leadership moves back")
        assert f"tells 127.0.0.1:{preferred.port} to lead" in ordinary.log_text()
        assert "shows LEADER" not in witness.log_text()
