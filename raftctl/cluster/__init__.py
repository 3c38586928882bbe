"""The state machines around the core, each pure: founding, handshake, joining, serving, hook plan, the turn.

`turn.py` puts them together over `ports.py`; the daemon and the simulations run that same turn.
"""
