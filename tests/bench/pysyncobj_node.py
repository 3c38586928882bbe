"""A node of PySyncObj, run by the Python of its environment, with the clients that load it inside.

Usage: pysyncobj_node.py FOLDER OWN_ADDRESS OTHER_ADDRESS... Each line of JSON on standard input is a
question, answered by one on standard output: {"ask": "leader"}, or {"ask": "load", "kind": "write" or "read",
"clients": N, "warm_s": S, "seconds": S}. Ends with its standard input.

PySyncObj is a library, so its clients are closed loops of callbacks on its own thread, without a socket and a
parser in between: in its favour. A read is a replicated command too, there is no other linearizable one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Dict

from pysyncobj import SyncObj, SyncObjConf, replicated

VALUE = "v" * 100


class Facts(SyncObj):
    def __init__(self, folder, own, others):
        super().__init__(own, others, conf=SyncObjConf(
            journalFile=os.path.join(folder, "journal"), fullDumpFile=os.path.join(folder, "dump"),
            # At once, in place of each 100 ms; and a shorter sleep is all that can be tuned besides.
            appendEntriesUseBatch=False, autoTickPeriod=0.01))
        self._facts = {}

    @replicated
    def put(self, key, value):
        self._facts[key] = value

    @replicated
    def get(self, key):
        return self._facts.get(key)


def load(facts: Facts, kind: str, clients: int, warm_s: float, seconds: float) -> Dict[str, Any]:
    """Run `clients` loops; return the latencies in ns of the answers in the window, and count failures."""
    begin = time.monotonic_ns() + int(warm_s * 1e9)
    end = begin + int(seconds * 1e9)
    latencies, failures = [], []

    def ask(key):
        asked = time.monotonic_ns()

        def answered(result, reason):
            now = time.monotonic_ns()
            if reason or (kind == "read" and result != VALUE):
                failures.append(reason)
            elif begin <= now < end:
                latencies.append(now - asked)
            if now < end:
                ask(key)

        if kind == "write":
            facts.put(key, VALUE, callback=answered)
        else:
            facts.get(key, callback=answered)

    for client in range(clients):
        ask(f"bench-{client}")
    time.sleep(max(0.0, (end - time.monotonic_ns()) / 1e9))
    return {"latencies": latencies[:], "refused": len(failures)}


def main(folder: str, own: str, *others: str) -> None:
    facts = Facts(folder, own, list(others))
    for line in sys.stdin:
        question = json.loads(line)
        if question.pop("ask") == "load":
            answer: Any = load(facts, **question)
        else:
            leader = facts._getLeader() if facts.isReady() else None
            answer = str(leader) if leader else ""
        print(json.dumps(answer), flush=True)
    # Its threads are not meant to end.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
