"""The replicated state machine: what committed commands mean. Pure: no clock, no host, no configuration.

`commands.py` owns the bytes of a command in a log entry, `machine.py` what applying one does, `image.py` the
bytes of a snapshot. Who may send a command, and when it is committed, is not decided here.
"""
