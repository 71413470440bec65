"""When the requests of an open workload are due."""

from __future__ import annotations

import random

from runfiles.events import CONSTANT


class Arrivals:
    """Arrivals at a rate, one after the other: at a constant distance, or as a Poisson process.

    The distances of a Poisson process are exponential, so its arrivals depend on nothing that came before. The same
    ``seed`` gives the same distances.
    """

    def __init__(self, kind: str, seed: str) -> None:
        self._is_constant = kind == CONSTANT
        self._chance = random.Random(seed)  # noqa: S311  no secret

    def next_after(self, due_s: float, rate_per_s: float) -> float:
        """When the arrival after that of ``due_s`` is due, in seconds of the same clock."""
        return due_s + (1 / rate_per_s if self._is_constant else self._chance.expovariate(rate_per_s))
