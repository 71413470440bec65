"""When the requests of an open workload are due."""

from __future__ import annotations

import random
from collections.abc import Sequence

from runfiles.events import CONSTANT
from runfiles.spikes import Spike


class Arrivals:
    """Arrivals at a rate, one after the other: at a constant distance, or as a Poisson process.

    The distances of a Poisson process are exponential, so its arrivals depend on nothing that came before. The same
    ``seed`` gives the same distances. In a spike each distance, or the part of it that lies there, is so many times
    shorter: constant arrivals stay at a constant distance, and a Poisson process stays one.
    """

    def __init__(self, kind: str, seed: str) -> None:
        self._is_constant = kind == CONSTANT
        self._chance = random.Random(seed)  # noqa: S311  no secret

    def next_after(self, due_s: float, rate_per_s: float, spikes: Sequence[Spike] = ()) -> float:
        """When the arrival after that of ``due_s`` is due, in seconds of the same clock.

        ``spikes``: in the order of time, by the same clock; they do not overlap.
        """
        left_s = 1 / rate_per_s if self._is_constant else self._chance.expovariate(rate_per_s)
        at_s = due_s
        for spike in spikes:
            before_s = max(0.0, spike.at_s - at_s)
            if left_s <= before_s:
                break
            if spike.end_s <= at_s:
                continue
            at_s, left_s = at_s + before_s, left_s - before_s
            in_spike_s = spike.end_s - at_s
            if left_s <= in_spike_s * spike.times:
                return at_s + left_s / spike.times
            at_s, left_s = spike.end_s, left_s - in_spike_s * spike.times
        return at_s + left_s
