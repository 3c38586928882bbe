"""A whole cluster in one process, deterministic from one seed: the shipped turns, cores, journals and stores
on simulated clocks, disks, links and guardians. `python3 tests/simulation --help` runs it.

world.py the events and the time · clocks.py, network.py, hosts.py, node.py what they happen to · faults.py,
profiles.py what goes wrong · clients.py who writes and reads · checkers.py, history.py what must hold.
"""
