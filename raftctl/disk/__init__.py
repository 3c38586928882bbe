"""What a node keeps: the data directory with its lock and identity, the journal with its writing thread,
and snapshots.

`directory` owns the lock and `instance`, whose bytes are `identity`'s; `records` the bytes of a segment;
`recovery` what a start makes of them, and `segments` of the files; `journal` the open log; `writer` the disk
thread; `snapshots` the directory of snapshots, and `snapshot_file` one of them. Who only looks uses `survey`,
with `reading` for the log and `holder` for the lock. All of them reach the disk through `files.Files`, so
that a test can put a disk there that fails, tears and forgets. What is written and why belongs to `raft/`
and the node.
"""
