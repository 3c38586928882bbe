"""Random numbers of one run: only `Random.random()`, whose sequence Python keeps from version to version."""

from __future__ import annotations

import random
from typing import Sequence, TypeVar

T = TypeVar("T")


class Draws:
    """A stream of draws. `child` begins another one that later draws here do not change."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.fraction = random.Random(seed).random

    def child(self, name: object) -> Draws:
        return Draws(f"{self.seed}/{name}")

    def chance(self, probability: float) -> bool:
        return self.fraction() < probability

    def between(self, least: int, most: int) -> int:
        """Return a whole number from `least` up to, not with, `most`."""
        return least + int(self.fraction() * (most - least))

    def one_of(self, things: Sequence[T]) -> T:
        return things[int(self.fraction() * len(things))]

    def some_of(self, things: Sequence[T], count: int) -> list:
        """Return `count` of the things in random order, fewer where there are fewer."""
        left = list(things)
        return [left.pop(int(self.fraction() * len(left))) for _ in range(min(count, len(left)))]

    def ordered(self, things: Sequence[T]) -> list:
        return self.some_of(things, len(things))
