"""raftctl: a Raft consensus daemon and command-line tool in one file, standard library only.

Folder = layer; `tests/unit/test_house.py` holds the table of which layer may import which. Start reading at
`raftctl/raft/__init__.py` (the contract of the core), then `raftctl/cluster/turn.py`, then
`raftctl/node/loop.py`.
"""
