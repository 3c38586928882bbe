"""What a run is made of: sizes, timing, clock rates and faults; each profile is aimed at one mechanism."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, NamedTuple, Tuple

from raftctl.raft.inputs import Timing

if TYPE_CHECKING:
    from simulation.draws import Draws

MS = 1_000_000
TIMING = Timing(60 * MS, 250 * MS, 500 * MS)


class Profile(NamedTuple):
    """`faults`: kind → weight. `every_ms`: from one fault to the next, least and most. `founding`: one of
    "list" (all hosts have the same list), "some" (some start later), "join" (one founds, the others join),
    "subset" (some start in the end only), "lists" (one list differs until the end), "late" (join, but whom
    they are told to join comes late)."""

    name: str
    faults: Dict[str, int]
    about: str
    sizes: Tuple[int, ...] = (3, 3, 3, 5)
    every_ms: Tuple[int, int] = (80, 500)
    span_ms: int = 2500
    founding: Tuple[str, ...] = ("list",)
    clocks: str = "equal"
    latency_ms: Tuple[float, float] = (0.1, 2.0)
    slow: float = 0.02
    disk_ms: Tuple[float, float] = (0.2, 3.0)
    clients: int = 2
    priorities: Tuple[int, ...] = (100,)
    preempting: float = 0.0
    failing_checks: float = 0.0    # the share of those that go on failing when all else has healed
    timing: Timing = TIMING
    log_bytes: int = 1500          # of log between two snapshots
    chunk_bytes: int = 40
    hooks: bool = False            # hosts have `leader` and `follower`, with an application (applications.py)
    delays_ms: Tuple[int, ...] = (3000,)     # `takeover delay`
    ending_ms: Tuple[int, int] = (5, 300)    # how long `follower` takes
    failing_hooks: float = 0.0               # how often it fails, having ended the application all the same

    def rates(self, draws: Draws, number: int) -> Tuple[float, float]:
        """Return the rates of BOOTTIME and MONOTONIC_RAW of host `number`."""
        sign = 1 if number % 2 else -1
        if self.clocks == "opposed":            # both clocks, at the limit of what P2 promises to bear
            return (1 + sign * 0.05 / 1.0025, 1 + sign * 0.05 / 1.0025)
        if self.clocks == "slewed":             # chrony's default limit, on the slewed clock alone
            return (1 + sign * 0.083, 1.0)
        if self.clocks == "skewed":
            return (1 + sign * 0.083, 1 + sign * 0.05 / 1.0025)
        if self.clocks == "drawn":
            return (0.953 + 0.094 * draws.fraction(), 0.953 + 0.094 * draws.fraction())
        return (1.0, 1.0)


_CRASHES = {"kill": 3, "kill_leader": 3, "crash": 6, "power": 3}
_CUTS = {"partition": 3, "isolate_leader": 3, "one_way": 4, "bridge": 2}
_PAUSES = {"pause": 3, "pause_leader": 5, "suspend": 2}

PROFILES = {profile.name: profile for profile in (
    Profile("founding", {"kill": 2, "crash": 4, "power": 1, "one_way": 1, "reset": 1},
            "who founds, in all orders", sizes=(1, 2, 3, 4, 5), founding=("list", "some"), every_ms=(5, 120),
            span_ms=1500, clients=1),
    Profile("crashes", _CRASHES, "processes and power, at every effect"),
    Profile("leaders",
            {"kill_leader": 6, "stop_leader": 4, "pause_leader": 4, "isolate_leader": 3, "crash": 2},
            "one leader after another", every_ms=(150, 500)),
    Profile("cuts", _CUTS, "partitions of all shapes"),
    Profile("pauses", dict(_PAUSES, partition=1, kill=1), "processes and hosts that stand still",
            clocks="drawn"),
    Profile("opposed", dict(_CUTS, **_PAUSES, kill_leader=2, kill=1), "both clocks at the promised limit",
            clocks="opposed"),
    Profile("slewed", dict(_CUTS, **_PAUSES, kill_leader=2, kill=1), "BOOTTIME alone, slewed by 8.3 %",
            clocks="slewed"),
    # A suspended leader's lease runs on BOOTTIME alone, and two hosts 8.3 % off each are beyond P2's 10 %.
    Profile("skewed", dict(_CUTS, pause=3, pause_leader=5, kill_leader=2, kill=1),
            "BOOTTIME slewed by 8.3 %, RAW at the promised limit, nobody suspended", clocks="skewed"),
    Profile("disks",
            {"power": 5, "power_all": 2, "slow_disk": 4, "crash": 3, "kill_all": 2, "failed_disk": 1},
            "torn tails, slow and failing disks", disk_ms=(1.0, 20.0)),
    Profile("links", {"reset": 6, "slow_way": 4, "one_way": 2, "kill": 1, "pause": 1},
            "connections that break, lag and overtake", latency_ms=(0.1, 20.0), slow=0.1, every_ms=(30, 250)),
    Profile("members", {"wipe": 2, "add": 3, "kill": 2, "partition": 1, "crash": 2},
            "hosts that join, and come back empty", sizes=(2, 3, 4), founding=("list", "join"),
            every_ms=(200, 1200), span_ms=9000, clients=1),
    Profile("release",
            {"kill_leader": 5, "kill_guardian": 4, "stop_leader": 3, "restart": 3, "isolate_leader": 2,
                        "slow_way": 2}, "proof of death, late and lost", every_ms=(60, 400)),
    Profile("timing", {"retime": 5, "kill_leader": 2, "kill": 2, "isolate_leader": 2, "pause_leader": 2},
            "an election min that changes from start to start", clocks="drawn"),
    Profile("founders", {"crash_author": 5, "bootstrap": 1, "crash": 2, "kill": 1, "partition": 1},
            "subsets, differing lists, one node told to found, and an author that dies at each step",
            sizes=(2, 3, 3, 4, 5), founding=("list", "some", "subset", "lists", "late"), every_ms=(5, 150),
            span_ms=1500, clients=1),
    Profile("groups", {"power_all": 3, "kill_all": 3, "stop_all": 2, "crash": 2, "partition": 1},
            "all end at once, and start again", every_ms=(100, 700)),
    Profile("flaps", {"remove": 5, "add": 2, "kill_leader": 2, "crash": 2, "isolate_leader": 1, "wipe": 1},
            "voters removed and added under faults", sizes=(3, 4), every_ms=(120, 450), span_ms=2800),
    Profile("rollbacks", {"back_up": 4, "go_back": 5, "copy": 1, "kill": 2, "isolate_leader": 1, "restart": 1,
                          "one_way": 1, "kill_leader": 1},
            "directories that go back, and copies beside the original (P7)", every_ms=(40, 300),
            span_ms=3500),
    Profile("stopped", {"freeze_leader": 6, "freeze": 2, "isolate_leader": 1, "kill_leader": 1, "pause": 1},
            "hypervisor pauses, where the clocks stop as well", every_ms=(100, 500), clients=3),
    Profile("snapshots",
            {"away": 8, "at_chunk": 8, "rot": 2, "kill_leader": 1, "crash": 1, "power": 1, "power_all": 1,
             "slow_disk": 1, "reset": 1},
            "hosts that are away for long, and what strikes while they are caught up", sizes=(3, 5, 5),
            every_ms=(100, 500), span_ms=4500, clients=4, log_bytes=700, chunk_bytes=16),
    Profile("full", {"full_disk": 5, "full_disks": 3, "kill_leader": 3, "power": 1, "away": 2, "crash": 1},
            "disks without room for a segment, a snapshot or another's", every_ms=(60, 400), span_ms=2500,
            clients=4),
    Profile("transfers",
            {"transfer": 9, "transfer_anywhere": 1, "pause_leader": 1, "slow_way": 2, "reset": 2,
             "one_way": 1, "stop_leader": 1, "kill_leader": 1, "slow_disk": 1, "crash": 1},
            "leadership that is handed over, to sleepers too", every_ms=(40, 300), clients=3),
    Profile("priorities",
            {"health_flap": 6, "all_unhealthy": 2, "kill_leader": 3, "isolate_leader": 2, "transfer": 2,
             "crash": 2, "one_way": 1, "slow_disk": 1, "stop_leader": 1, "reset": 1},
            "witnesses, checks that fail, caretakers, preemption", every_ms=(60, 400), span_ms=4500,
            priorities=(0, 0, 50, 100, 100, 200), preempting=0.5, failing_checks=0.6),
    Profile("takeover",
            {"kill_leader": 5, "stop_leader": 4, "transfer": 5, "pause_leader": 3, "isolate_leader": 3,
             "partition": 2, "kill_guardian": 1, "crash": 2, "one_way": 1, "kill": 1, "power": 1},
            "one application at a time: hooks that end within the delay", every_ms=(60, 700), span_ms=5000,
            clients=1, hooks=True, delays_ms=(1000, 1200, 2000), failing_hooks=0.1),
    Profile("handovers",
            {"kill_leader": 4, "stop_leader": 4, "transfer": 5, "pause_leader": 3, "crash": 2, "kill": 1},
            "hooks that outlast the delay, while their guardians can be heard", every_ms=(200, 1500),
            span_ms=8000, clients=1, hooks=True, delays_ms=(900, 1500), ending_ms=(5, 2600)),
    Profile("checks",
            {"health_flap": 8, "all_unhealthy": 2, "kill_leader": 2, "transfer": 2, "stop_leader": 1,
             "isolate_leader": 2, "pause_leader": 1, "crash": 1},
            "checks that fail while hooks run: outgoing work first, then another leads", every_ms=(100, 900),
            span_ms=5000, clients=1, hooks=True, delays_ms=(1000, 1200, 2000), failing_hooks=0.1),
    Profile("mix", dict(_CRASHES, **_CUTS, **_PAUSES, stop_leader=2, reset=3, slow_way=2, slow_disk=2,
                        kill_guardian=2, restart=2, retime=1, kill_all=1, transfer=2, away=2, at_chunk=2,
                        rot=1), "all of it",
            sizes=(1, 2, 3, 4, 5), clocks="drawn", founding=("list", "some", "join")),
)}
