"""The table of mutants: what is changed, by anchor text, and which scenario or profile must notice.

A mutant whose anchor is not found exactly once fails the suite: then the code has moved, and the mutant with
it.
"""

from __future__ import annotations

from typing import NamedTuple, Tuple


class Mutant(NamedTuple):
    """`before` stands exactly once in `file` (under raftctl/). `killers` are tried in order, until one fails:
    "scenario NAME", "simulation PROFILE" or "unit MODULE"."""

    name: str
    file: str
    before: str
    after: str
    killers: Tuple[str, ...]


MUTANTS = (
    # --- P3: the disk first
    Mutant("vote_reply_before_sync", "raft/election.py",
           "    state.send(peer, VoteReply(state.term, granted))",
           "    state.send_now(peer, VoteReply(state.term, granted))", ("simulation crashes",)),
    Mutant("vote_request_before_sync", "raft/election.py",
           "            state.send(peer, Vote(state.term, state.log.last))",
           "            state.send_now(peer, Vote(state.term, state.log.last))", ("simulation crashes",)),
    Mutant("append_ack_before_sync", "raft/following.py",
           "    match = min(owed.proved, state.durable_index)\n    state.send(",
           "    match = owed.proved\n    state.send(", ("simulation crashes",)),
    Mutant("leader_counts_its_unsynced_write", "raft/replication.py",
           "    held[state.own] = state.durable_index", "    held[state.own] = state.log.last_index",
           ("simulation disks",)),
    Mutant("no_sync", "disk/journal.py",
           "        with guarded(self.path, \"syncing\"):\n            self._files.sync(self._descriptor)\n",
           "", ("simulation disks",)),
    # --- P3: segments and snapshots
    Mutant("segment_begun_without_a_sync", "disk/journal.py",
           "        self._write([header])\n",
           "        write_all(self._files, self.path, self._descriptor, [header], 0)\n", ("unit disk_story",)),
    Mutant("directory_not_synced_after_making_a_segment", "disk/journal.py",
           "                files.sync(descriptor)\n                files.sync_directory(self._log_path)\n",
           "                files.sync(descriptor)\n", ("unit disk_story",)),
    Mutant("directory_not_synced_between_removals", "disk/journal.py",
           "                self._files.unlink(path)\n", "                self._files.unlink(path)\n"
           "                self._tops.pop(0)\n                continue\n", ("unit disk_story",)),
    Mutant("chain_not_over_the_segment", "disk/records.py",
           "    return Segment(instance, number, Position(term, index), previous), crc",
           "    return Segment(instance, number, Position(term, index), previous), 0", ("unit records",)),
    Mutant("segment_of_another_time_follows", "disk/recovery.py",
           "        elif (segment.before, segment.previous) != (self.last, self.chain):",
           "        elif segment.before.index != self.last.index:", ("unit segments",)),
    Mutant("first_record_repeats_nothing", "disk/journal.py",
           "batch._replace(hard_state=batch.hard_state or self._hard,",
           "batch._replace(hard_state=batch.hard_state or HardState(),", ("unit segments",)),
    Mutant("dropped_before_a_later_segment_has_a_record", "disk/journal.py",
           " and self._tops[0] <= self._drop_upto and self._end > records.SECTOR:",
           " and self._tops[0] <= self._drop_upto:", ("unit segments",)),
    Mutant("dropped_by_the_first_index", "disk/journal.py",
           "            self._tops[-1] = self._last.index\n",
           "            self._tops[-1] = self._tops[-1] or batch.entries[0].index\n", ("unit segments",)),
    Mutant("torn_rule_in_any_segment", "disk/recovery.py", "        if not is_last:\n            raise _damaged",
           "        if False:\n            raise _damaged", ("unit segments",)),
    Mutant("torn_rule_for_any_wrong_checksum", "disk/recovery.py",
           "                if len(record) == head.size and not records.is_torn(record, head, offset):",
           "                if False:", ("unit journal",)),
    Mutant("base_record_ignored", "disk/recovery.py", "        if batch.base is not None:",
           "        if False:", ("unit disk_story",)),
    Mutant("base_record_keeps_the_entries", "disk/recovery.py",
           "            self.base, self._lacks_some = batch.base, False\n            self.entries.clear()\n",
           "            self.base, self._lacks_some = batch.base, False\n", ("unit segments",)),
    Mutant("base_before_its_snapshot", "disk/journal.py",
           "            self._snapshots.write_chunk(write.chunk)   # type: ignore[union-attr]\n",
           "            if write.base:\n                self._put(Batch(None, (), None, write.base))\n"
           "            self._snapshots.write_chunk(write.chunk)\n", ("unit disk_story",)),
    Mutant("snapshot_named_before_its_sync", "disk/snapshot_file.py",
           "        self._put(_WORD.pack(self._crc))\n        self._sync()\n",
           "        self._put(_WORD.pack(self._crc))\n", ("unit disk_story",)),
    Mutant("snapshot_name_not_synced", "disk/snapshots.py",
           "                files.rename(draft.path, path)\n                files.sync_directory(self.path)\n",
           "                files.rename(draft.path, path)\n", ("unit disk_story",)),
    Mutant("older_snapshot_removed_before_the_third_is_durable", "disk/snapshots.py",
           "            with guarded(path, \"naming the snapshot\"):\n",
           "            if len(self.marks) == KEPT:\n"
           "                files.unlink(os.path.join(self.path, name_of(self.marks[-1])))\n"
           "            with guarded(path, \"naming the snapshot\"):\n", ("unit snapshots",)),
    Mutant("one_snapshot_kept", "disk/snapshots.py", "KEPT = 2", "KEPT = 1", ("unit snapshots",)),
    Mutant("snapshot_checksum_not_checked", "disk/snapshot_file.py",
           "        if read_range(files, descriptor, offset, _WORD.size) != _WORD.pack(crc):",
           "        if False:", ("unit snapshots",)),
    Mutant("cache_believed_at_the_start", "disk/journal.py",
           "                files.forget_cached(descriptor)\n", "", ("unit disk_story",)),
    Mutant("full_disk_met_when_a_segment_is_needed", "disk/journal.py",
           "        if self._next is None and may_grow:", "        if False:",
           ("unit segments",)),
    # --- P1
    Mutant("commit_by_count_of_earlier_terms", "raft/replication.py",
           "    if index <= state.commit_index or state.log.term_at(index) != state.term:",
           "    if index <= state.commit_index:", ("scenario", "simulation leaders")),
    Mutant("no_up_to_date_check_in_votes", "raft/election.py",
           "older than {state.log.last}\", False\n    return f\"no vote",
           "older than {state.log.last}\", True\n    return f\"no vote", ("scenario", "simulation cuts")),
    Mutant("two_votes_in_a_term", "raft/election.py",
           "    if state.hard.vote not in (None, peer):", "    if False:", ("simulation leaders",)),
    Mutant("truncation_on_an_old_matching_append", "raft/following.py",
           "        if entry.index > state.log.last_index or state.log.term_at(entry.index) != entry.term:",
           "        if True:", ("scenario", "simulation links")),
    Mutant("commit_beyond_the_last_matched_entry", "raft/following.py",
           "    state.commit_index = max(state.commit_index, min(message.commit, proved))",
           "    state.commit_index = max(state.commit_index, min(message.commit, state.log.last_index))",
           ("scenario", "simulation cuts")),
    # --- P2: vows and leases
    Mutant("no_voter_vow", "raft/following.py",
           "now.plus(message.election_min))\n", "now)\n", ("simulation cuts",)),
    Mutant("no_start_vow", "raft/state.py", "now.plus(self.hard.promise))", "now)", ("simulation crashes",)),
    Mutant("promise_not_on_disk", "raft/following.py",
           "    state.set_hard(promise=message.election_min)\n", "", ("simulation crashes",)),
    Mutant("lease_from_receipt_of_the_ack", "raft/lease.py",
           "    end = sent.plus(state.timing.election_min * 9 // 10)",
           "    end = now.plus(state.timing.election_min * 9 // 10)", ("simulation links",)),
    Mutant("lease_of_a_whole_election_min", "raft/lease.py",
           "state.timing.election_min * 9 // 10", "state.timing.election_min", ("simulation opposed",)),
    Mutant("lease_of_1_2_election_min", "raft/lease.py",
           "state.timing.election_min * 9 // 10", "state.timing.election_min * 12 // 10",
           ("simulation cuts",)),
    Mutant("lease_by_the_slower_clock", "base/instants.py",
           "        return self.boot < end.boot and self.raw < end.raw",
           "        return self.boot < end.boot or self.raw < end.raw", ("simulation slewed",)),
    Mutant("vow_by_the_faster_clock", "base/instants.py",
           "        return self.boot >= end.boot and self.raw >= end.raw",
           "        return self.boot >= end.boot or self.raw >= end.raw", ("simulation slewed",)),
    Mutant("vote_under_a_vow", "raft/election.py",
           "    if state.is_vowed(now):\n        state.decide(", "    if False:\n        state.decide(",
           ("scenario", "simulation cuts")),
    Mutant("ack_of_an_older_generation_counts", "raft/replication.py",
           "    if message.generation != state.links.get(peer):", "    if False:",
           ("scenario", "simulation links")),
    # --- P4
    Mutant("release_of_any_incarnation", "raft/release.py",
           "    if (vow.to, vow.incarnation) != proven or vow.term > message.term:",
           "    if vow.to != message.instance or vow.term > message.term:", ("scenario",)),
    Mutant("release_ends_vows_of_later_terms", "raft/release.py",
           "    if (vow.to, vow.incarnation) != proven or vow.term > message.term:",
           "    if (vow.to, vow.incarnation) != proven:", ("scenario",)),
    Mutant("words_of_a_released_leader_renew_vows", "raft/release.py",
           "    if term <= state.released.get((peer, incarnation), 0):", "    if False:", ("scenario",)),
    Mutant("words_of_an_older_incarnation_renew_vows", "raft/release.py",
           "    if incarnation < newest:", "    if False:", ("scenario",)),
    # --- membership
    Mutant("change_before_the_own_term_entry", "raft/membership.py",
           "    if state.commit_index < state.term_start or state.configuration_index > state.commit_index:",
           "    if state.configuration_index > state.commit_index:", ("scenario",)),
    Mutant("two_changes_at_a_time", "raft/membership.py",
           "    if state.commit_index < state.term_start or state.configuration_index > state.commit_index:",
           "    if state.commit_index < state.term_start:", ("scenario",)),
    Mutant("founding_without_unanimity", "cluster/founding.py",
           "        elif self._list[0] == self._address and not self._missing() and not self._twins():",
           "        elif not self._missing() and not self._twins():", ("simulation founding",)),
    Mutant("founding_by_a_majority", "cluster/founding.py",
           "not self._missing() and not self._twins():\n            self._found",
           "len(self._missing()) * 2 < len(self._list) and not self._twins():\n            self._found",
           ("simulation founding",)),
    # --- reads
    Mutant("read_confirmed_by_an_earlier_round", "raft/replication.py",
           "        state.reads.join_round(number, state.commit_index)",
           "        state.reads.join_round(number - 1, state.commit_index)", ("scenario", "simulation cuts")),
    Mutant("read_without_a_round", "raft/replication.py",
           "    if state.reads.wait_for_round and state.commit_index >= state.term_start:",
           "    for token in state.reads.drop():\n"
           "        state.confirmed_reads.append((token, state.commit_index))\n    if False:",
           ("simulation cuts",)),
    Mutant("heartbeats_for_ever_without_a_lease", "raft/leadership.py",
           "    if now.reached(state.lease_end.plus(state.timing.election_max)):", "    if False:",
           ("scenario", "simulation cuts")),
)
