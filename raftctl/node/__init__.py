"""The running node: one thread turns the core, others post to its inbox. Read `loop.py`, then `daemon.py`."""
