"""What is wrong in a cluster as one node sees it, and what to try: the words of `status` (design §8).

Pure, over the rows of `Turn.members`, the links' own words and times; whoever asks brings those.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from raftctl.base.addresses import Address, parse
from raftctl.cluster.handshake import WENT_BACK
from raftctl.net.links import LinkStatus
from raftctl.raft.configuration import quorum_size

Row = Dict[str, Any]

OTHER_INSTANCE = "another data directory is there than the member's"

# What a link says of its last try → what to do about it; the first that fits. `%(host)s`, `%(port)d`: whose.
_ADVICE: Tuple[Tuple[str, str], ...] = (
    ("silent for", "look whether the node at %(host)s:%(port)d hangs, and whether it reaches this node"),
    ("connection refused", "start raftctl on %(host)s: nothing listens at its port %(port)d"),
    ("timed out", "look whether %(host)s is up, does not hang, and lets port %(port)d through its firewall"),
    ("no route to host", "look at the network between here and %(host)s"),
    ("unknown name", "enter %(host)s in the DNS, or in /etc/hosts of this host"),
    ("name look-up failed", "look at the DNS of this host, or enter %(host)s in its /etc/hosts"),
    ("secret", "copy one secret file to all hosts, then restart the nodes one by one"),
    ("protocol version", "bring all hosts to one release of raftctl"),
    ("calls itself", 'write the same "address" in the file of %(host)s as the others have for it'),
    ("belongs to cluster", "where two clusters were founded, stop the nodes of one, move their data "
                           "directories away and start them"),
    ("clusterNodes differ", 'write the same "clusterNodes" on all hosts'),
    (WENT_BACK, "stop that node, move its data directory away and start it: it joins again, empty"),
    ("one data directory is a copy", "move the copy away and start that node: it joins again, empty"),
    (OTHER_INSTANCE, "wait: the leader admits it in place of the member when that was silent for "
                     "10 × election max, if the other voters are a majority"),
)  # fmt: skip
# Of what `Founding.waiting_for` says of a node that asks a cluster to admit it.
_ADMISSION = " admit"
_ADMISSION_HINT = ("wait: it asks twice a second, and comes in place of a member at its address once that "
                   "was silent for 10 × election max; if it lasts, run raftctl status on a member")
_NOT_NAMED = "the configuration that this node has does not name its data directory"
_NOT_NAMED_HINT = ("wait if it joins just now; else it was replaced: stop it, move its data directory away "
                   "and start it, it joins again, empty")
_ANY_ADVICE = "look into the log of %(host)s and of this node"


class Outlook(NamedTuple):
    """`problem` and `hint` are None where nothing is wrong; `reachable` and `needed` count voters."""

    problem: Optional[str]
    hint: Optional[str]
    reachable: int
    needed: int


def member_problem(row: Row, link: Optional[LinkStatus], silent_after_ms: Optional[int]) -> Optional[str]:
    """Return what is wrong with one member, None for nothing; the row of the node itself has no link.

    `silent_after_ms`: how long a member that is connected may say nothing; None: this node just started.
    """
    if row["connected"]:
        heard_ms = row["lastContactMs"]
        if link is None or silent_after_ms is None or heard_ms is None or heard_ms <= silent_after_ms:
            return None
        return f"silent for {heard_ms / 1000:.1f} s"
    if link is None:
        return "not dialled yet"
    if link.connected_since_s is not None:
        return OTHER_INSTANCE
    return link.problem or "not reached yet"


def judge(rows: List[Row], leader: Optional[str], *, lasting: bool = False) -> Outlook:
    """Return how a cluster of `rows`, with their "problem", stands; `leader` is an address or None.

    `lasting`: there has been no leader for longer than an election takes.
    """
    voters = [row for row in rows if row["role"] == "voter"]
    reachable, needed = sum(1 for row in voters if not row["problem"]), quorum_size(voters)
    ailing = [(row["address"], row["problem"]) for row in rows if row["problem"]]
    named = "; ".join(f"{address}: {problem}" for address, problem in ailing)
    if leader is not None:
        return Outlook(named or None, advice(ailing), reachable, needed)
    counted = f"no leader: {reachable} of {len(voters)} voters are reachable, {needed} are needed"
    if reachable < needed:
        return Outlook(f"{counted}; {named}", advice(ailing), reachable, needed)
    hints = ["wait a moment", None]
    if lasting:
        counted += (", but they give this node no votes: they hear a leader that it does not, "
                    "or have a newer log")
        hints = ["run raftctl status on one of them", advice(ailing)]
    else:
        counted += ", so an election is under way"
    problem = f"{counted}; {named}" if named else counted
    return Outlook(problem, "; ".join(filter(None, hints)), reachable, needed)


def judge_moved(known: str, written: str) -> Outlook:
    """Return how a node stands whose cluster knows it by another address than its file says."""
    return Outlook(f"the cluster knows this node as {known}, its file says {written}",
                   f'write "address": "{known}" again; or if it is to be a node of another cluster, stop it, '
                   "move its data directory away and start it", 0, 0)


def judge_removed(waiting_for: str) -> Outlook:
    """Return how a node stands that its cluster removed."""
    return Outlook(waiting_for, "its data stays; to make it a member again: raftctl join ADDRESS "
                   "--discard-data, with the address of a member; else stop it", 0, 0)


def judge_outside(waiting_for: str, waiting: List[Tuple[str, str]], is_configured: bool) -> Outlook:
    """Return what a node that is no member waits for; `waiting`: whom it does not reach, and why.

    `is_configured`: it has a configuration, but without its instance.
    """
    if is_configured:
        return Outlook(_NOT_NAMED, _NOT_NAMED_HINT, 0, 0)
    unsaid = "; ".join(f"{address}: {problem}" for address, problem in waiting if problem not in waiting_for)
    problem = f"{waiting_for}; {unsaid}" if unsaid else waiting_for
    hints = [advice(waiting)]
    if _ADMISSION in waiting_for:
        hints.append(_ADMISSION_HINT)
    elif waiting:
        hints.append("where one will not come: raftctl bootstrap, on one of the others")
    return Outlook(problem or None, "; ".join(hint for hint in hints if hint) or None, 0, 0)


def advice(ailing: List[Tuple[str, str]]) -> Optional[str]:
    """Return what to try against each (address, problem), each thing once; None where there is none."""
    found = [_advise(parse(address), problem) for address, problem in ailing]
    return "; ".join(dict.fromkeys(found)) or None


def _advise(address: Address, problem: str) -> str:
    words = next((words for sign, words in _ADVICE if sign in problem), _ANY_ADVICE)
    return words % {"host": address.host, "port": address.port}


def unreached(links: Mapping[Address, LinkStatus]) -> List[Tuple[str, str]]:
    """Return (address, problem) of each link that has failed and is not up."""
    return [(str(address), link.problem) for address, link in sorted(links.items())
            if link.problem and link.connected_since_s is None]
