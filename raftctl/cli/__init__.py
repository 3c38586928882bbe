"""The command line: `main.py` runs what the table in `commands.py` names.

What the frequent commands import decides how fast `raftctl state` answers a cron job: `main`, `commands`,
`output`, `endpoint`, `state` and `kv` import no logging, threading, subprocess or ssl (a test holds that).
"""
