"""What runs beside a node on its host: the guardian with its children, hooks and RELEASE; systemd.

Read `guardian.py`, then `keeper.py` (one node's keeper), `lane.py` (one hook at a time) and `release.py`.
"""
