"""The command line. `main.py` reads it by the table in `commands.py`; each command's module is imported when
chosen.

What the frequent commands import decides how fast `raftctl state` answers a cron job: no logging, threading,
subprocess, dataclasses or ssl in `main`, `commands`, `output`, `endpoint`, `state` and `kv` (a test holds
that).
"""
