"""The table of mutants: what is changed, by anchor text, and which scenario or profile must notice.

A mutant whose anchor is not found exactly once fails the suite: then the code has moved, and the mutant with
it.
"""

from __future__ import annotations

from typing import NamedTuple, Tuple


class Mutant(NamedTuple):
    """`before` stands exactly once in `file` (under raftctl/). `killers` are tried in order, until one fails:
    "scenario NAME" or "simulation PROFILE"."""

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
           "            state.send(peer, Vote(state.term, state.log.last, token))",
           "            state.send_now(peer, Vote(state.term, state.log.last, token))",
           ("simulation crashes",)),
    Mutant("append_ack_before_sync", "raft/following.py",
           "    match = min(owed.proved, state.durable_index)\n    state.send(",
           "    match = owed.proved\n    state.send(", ("simulation crashes",)),
    Mutant("leader_counts_its_unsynced_write", "raft/replication.py",
           "    held[state.own] = state.durable_index", "    held[state.own] = state.log.last_index",
           ("simulation disks",)),
    Mutant("no_sync", "disk/journal.py", "            self._files.sync(self._descriptor)\n        self._end",
           "            pass\n        self._end", ("simulation disks",)),
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
           "(vow.to, vow.incarnation) == (proof.instance, proof.incarnation) and vow.term <= proof.term",
           "vow.to == proof.instance and vow.term <= proof.term", ("scenario",)),
    Mutant("release_ends_vows_of_later_terms", "raft/release.py",
           "(vow.to, vow.incarnation) == (proof.instance, proof.incarnation) and vow.term <= proof.term",
           "(vow.to, vow.incarnation) == (proof.instance, proof.incarnation)", ("scenario",)),
    Mutant("words_of_a_released_leader_renew_vows", "raft/release.py",
           "    if term <= state.released.get((peer, incarnation), 0):", "    if False:", ("scenario",)),
    Mutant("words_of_an_older_incarnation_renew_vows", "raft/release.py",
           "    if incarnation < newest:", "    if False:", ("scenario",)),
    # --- leadership transfer (P4, pitfalls 1.1 and 1.9)
    Mutant("lease_resumes_after_timeout_now", "raft/transfer.py",
           "    state.resigned_term = state.term\n    state.become_follower(now, state.term, None)\n",
           "    state.handover = None\n", ("scenario transfer", "simulation transfers")),
    Mutant("token_kept_for_a_second_campaign", "raft/election.py",
           "    state.role, state.ballots, state.token = CANDIDATE, {}, token",
           "    token = state.token = token or state.token\n    state.role, state.ballots = CANDIDATE, {}",
           ("scenario transfer",)),
    Mutant("token_not_bound_to_its_term", "raft/election.py",
           "    if message.token and message.token.term + 1 == message.term:", "    if message.token:",
           ("scenario token",)),
    Mutant("timeout_now_accepted_while_stopping", "raft/transfer.py",
           "    if state.stopping:\n        return \"is stopping\"", "    if False:\n        return \"\"",
           ("scenario timeout_now",)),
    Mutant("timeout_now_of_another_term", "raft/transfer.py",
           "    if token.term != state.term:", "    if False:", ("scenario timeout_now",)),
    Mutant("transfer_to_a_lagging_target", "raft/transfer.py",
           "    elif state.progress[handover.successor].match_index == state.log.last_index:",
           "    elif True:",
           ("scenario transfer",)),
    Mutant("release_of_a_transfer_not_remembered", "raft/release.py",
           "    _remember(state, proof)\n",
           "    if not proof.successor:\n        _remember(state, proof)\n",
           ("scenario transfer",)),
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
