"""The randomness of a node: ids, and the numbers by which the core spreads its elections."""

from __future__ import annotations

import os


def draw_id(size: int = 16) -> str:
    """Return a new id of `size` random bytes, in hexadecimal."""
    return os.urandom(size).hex()


def draw() -> float:
    """Return a number from 0 to less than 1, as `random.SystemRandom().random()`: the module costs memory."""
    return (int.from_bytes(os.urandom(7), "big") >> 3) * 2.0**-53
