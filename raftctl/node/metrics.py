"""`/metrics`: what a node knows of itself, in Prometheus' text format. ONE table of names, types and helps.

Times are in seconds, sizes in bytes, as that format's users expect. A value that is not known is left out.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

from raftctl.cluster.checking import PASSING
from raftctl.node.status import Status
from raftctl.version import __version__

Labels = Tuple[Tuple[str, str], ...]


class Metric(NamedTuple):
    """A name behind `raftctl_`, its type, and what it is."""

    name: str
    kind: str
    help: str


METRICS = (
    Metric("up", "gauge", "1: the node answers"),
    Metric("info", "gauge", "1, labelled with name, address and version"),
    Metric("is_leader", "gauge", "1: this node is LEADER, by its lease at this instant"),
    Metric("has_leader", "gauge", "1: this node knows a leader"),
    Metric("term", "gauge", "the Raft term"),
    Metric("leader_changes_total", "counter", "leaders and terms that this node saw begin since its start"),
    Metric("lease_remaining_seconds", "gauge",
           "how long the leadership lasts if no peer is heard any more; 0 on others"),
    Metric("commit_index", "gauge", "the last committed log entry that this node knows of"),
    Metric("applied_index", "gauge", "the last log entry in this node's store"),
    Metric("voters_reachable", "gauge", "voters that this node reaches, itself included"),
    Metric("voters_needed", "gauge", "voters that make a majority"),
    Metric("peer_connected", "gauge", "1: connected to this peer"),
    Metric("peer_last_contact_seconds", "gauge", "how long ago this peer was heard"),
    Metric("peer_match_index", "gauge", "the last log entry that is known to be on this peer's disk"),
    Metric("frames_dropped_total", "counter", "messages of peers that this node was too slow to read"),
    Metric("sync_seconds", "summary", "how long writes took until they were durable"),
    Metric("sync_longest_seconds", "gauge", "the longest of them since the start"),
    Metric("sync_in_flight_seconds", "gauge", "for how long the present write has been at the disk"),
    Metric("hook_failures_total", "counter", "hooks that failed since raftctl start, by event"),
    Metric("check_ok", "gauge", "1: the health check passes; left out where there is none"),
    Metric("log_lines_dropped_total", "counter", "log lines of this node that could not be written"),
    Metric("free_bytes", "gauge", "free space in the file system of the data directory"),
)

Values = Dict[str, List[Tuple[str, Labels, float]]]


def gather(status: Status, timeout_s: float, data_dir: str, log_lines_dropped: int) -> Values:
    """Return metric → (suffix, labels, value) of each sample; raise `NoLeader` where the node hangs."""
    state = status.state()
    cluster = status.cluster(state, timeout_s)
    tally, in_flight_ms = status.tally, cluster["diskWriteMs"]
    single: Dict[str, Optional[float]] = {
        "up": 1, "is_leader": state["state"] == "LEADER", "has_leader": state["leader"] is not None,
        "term": state["term"], "leader_changes_total": tally.leader_changes,
        "lease_remaining_seconds": state["leaseMs"] / 1000, "commit_index": state["commitIndex"],
        "applied_index": state["lastApplied"], "voters_reachable": cluster["votersReachable"],
        "voters_needed": cluster["votersNeeded"], "frames_dropped_total": cluster["framesDropped"],
        "sync_longest_seconds": tally.longest_sync_ns / 1e9,
        "sync_in_flight_seconds": (in_flight_ms or 0) / 1000,
        "check_ok": state["check"] and state["check"]["state"] == PASSING,
        "log_lines_dropped_total": log_lines_dropped, "free_bytes": _free_bytes(data_dir),
    }
    found: Values = {name: [("", (), value)] for name, value in single.items() if value is not None}
    found["info"] = [("", (("name", state["name"]), ("address", state["address"]),
                           ("version", __version__)), 1)]
    found["sync_seconds"] = [("_sum", (), tally.sync_ns / 1e9), ("_count", (), tally.syncs)]
    found["hook_failures_total"] = [("", (("event", hook),), count)
                                    for hook, count in sorted(tally.hook_failures.items())]
    found.update(_of_peers([row for row in cluster["members"] if row["address"] != state["address"]]))
    return found


def _of_peers(rows: Iterable[Dict[str, Any]]) -> Values:
    found: Values = {"peer_connected": [], "peer_last_contact_seconds": [], "peer_match_index": []}
    for row in rows:
        labels = (("peer", row["address"]),)
        found["peer_connected"].append(("", labels, row["connected"]))
        if row["lastContactMs"] is not None:
            found["peer_last_contact_seconds"].append(("", labels, row["lastContactMs"] / 1000))
        if row["matchIndex"] is not None:
            found["peer_match_index"].append(("", labels, row["matchIndex"]))
    return found


def _free_bytes(path: str) -> Optional[int]:
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def render(values: Values) -> str:
    """Return the text of the page: HELP and TYPE before the samples of each metric that has any."""
    lines: List[str] = []
    for metric in METRICS:
        samples = values.get(metric.name)
        if samples:
            lines += [f"# HELP raftctl_{metric.name} {metric.help}",
                      f"# TYPE raftctl_{metric.name} {metric.kind}"]
            lines += [f"raftctl_{metric.name}{suffix}{_labels(labels)} {_number(value)}"
                      for suffix, labels, value in samples]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(text)}"' for name, text in labels) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
