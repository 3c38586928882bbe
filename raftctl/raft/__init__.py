"""Raft as a value machine: `Core.step(now, input)`, then `Core.ready(now)` says what to do. No I/O, no clock.

The loop around it (`cluster/turn.py` on ports, `node/loop.py` on threads):

    for item in inbox.take():
        core.step(clock.now(), item)       # a message, a proposal, the alarm, Persisted(number) …
    ready = core.ready(clock.now())        # taken: asking twice gives it once
    disk.submit(ready.write)               # its Persisted releases what waited for it
    links.send(ready.messages)             # these may go now, a leader's appends beside its own write
    store.become(ready.installed)          # a snapshot instead of entries, before …
    store.apply(ready.committed)

Words: a member is an *instance*; `Position(term, index)` is a place in a log; *lease*, *vow* and *round* are
P2's. Modules: `election` (pre-vote, vote), `following` and `replication` (AppendEntries, both sides),
`leadership`, `lease`, `proposals`, `reads` and `rounds` (ReadIndex), `membership`, `removal`, `release`,
`transfer`, `preference`, `snapshots` (compaction, the sending side of InstallSnapshot) and `installing` (the
other), `fullness` (of disks); `log`, `progress`, `partial`, `standing`, `state` hold what they share,
`repeats` keeps a lasting state of things from filling the log.

Where we differ from the paper, and why it is safe:

- Vow. Raft's voter may vote whenever asked. Ours, having acknowledged a leader, votes for nobody for one
  election min of that leader (dissertation §4.2.3 has it for disruptions; here it is a promise that the lease
  counts on). It only withholds votes, so Election Safety stands; scenario `vow_refuses_votes`.
- Start vow. A restarted voter has forgotten its vow, so it begins with one as long as the largest that its
  disk says may be open (`HardState.promise`); scenario `start_vow`.
- Lease. A leader shows LEADER only while a quorum's vows, counted from its own *send* times and 10 % shorter,
  must still run. Reads of data never rest on it: they use ReadIndex; scenario `lease_over_is_candidate`.
- RELEASE. Proof of death ends vows to one (instance, incarnation) of terms up to one: it gives back exactly
  what the vow withheld; scenarios `release_*`.
- Snapshots. The paper's server keeps one and drops the log up to it (§7). Ours keeps two and the log from the
  older one on, so that a damaged newest loses nothing, and a peer that is a bit behind gets entries; scenario
  `log_is_kept_up_to_the_older_snapshot`. A chunk is acknowledged like an append: it renews the vow; scenarios
  `install_*`. While a whole snapshot is on its way to the disk its receiver votes and vows, but neither takes
  entries nor campaigns; scenario `installing_follower_does_not_campaign`.
- Transfer. The dissertation's leader (§3.10) may lead on when the transferee is slow, and its vote requests
  override every vow. Ours releases its term with TimeoutNow and never leases in it again; its RELEASE is the
  token, which ends only vows to that leader and only in the vote requests of the next term, so neither a late
  nor a second candidacy overrides anything; scenarios `transfer_*`, `token_*`, `timeout_now_*`.
- Caretaker. Raft knows no preference among candidates. Here priority and health delay a candidacy and choose
  whom a leader hands over to; they refuse no vote, so whoever alone has the newest log still leads: as
  caretaker, who shows no LEADER; scenarios `priority_*`, `preempt_*`, `witness_*`, `unhealthy_*`.
- Takeover records. Entries of the kind TAKEOVER say whose application may still run (P6). They commit as any
  other and change nothing of Raft: a leader is elected, serves and reads without waiting for one. Only who is
  LEADER to users, and runs hooks, waits; `cluster/takeover.py`, profiles takeover and handovers.
- Founding. Entry 1 is the same configuration on each founder before anybody may win, and counts as committed.
- Replacement by instance. A member that lost its disk is another instance: its vote and acks of before count
  for nobody, and one entry swaps the two, which changes one voter as the dissertation's §4.1 demands.
"""
