"""Spikes of an open workload: for some seconds its rate is several times as high. An option of Locust, and in records.

A spike is written as ``AT_S:TIMES:SECONDS``, such as ``10:3:5``: from second 10 of the measured load on the rate is
three times as high for 5 s.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LEAST_TIMES, MOST_TIMES = 1.1, 100
LEAST_S, MOST_S = 0.1, 3600
EXPECTED = (
    f"AT_S:TIMES:SECONDS, such as 10:3:5 (TIMES from {LEAST_TIMES:g} to {MOST_TIMES:g}, SECONDS from {LEAST_S:g} to "
    f"{MOST_S:g})"
)


@dataclass(frozen=True)
class Spike:
    """The rate is ``times`` as high for ``seconds``, from ``at_s`` after the measured load began."""

    at_s: float
    times: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.at_s:.15g}:{self.times:.15g}:{self.seconds:.15g}"

    @property
    def end_s(self) -> float:
        return self.at_s + self.seconds


def read_spike(said: Any) -> Spike:
    """What an option or a record says.

    Raises:
        ValueError: it says something else. The message is what would be right.
    """
    try:
        at_s, times, seconds = (float(part) for part in str(said).split(":"))
    except ValueError:
        raise ValueError(EXPECTED) from None
    if not (0 <= at_s < math.inf and LEAST_TIMES <= times <= MOST_TIMES and LEAST_S <= seconds <= MOST_S):
        raise ValueError(EXPECTED)
    return Spike(at_s, times, seconds)


def why_not_spike(value: str) -> str | None:
    """The rule for a field of a record: what is wrong with its value; None: nothing."""
    try:
        read_spike(value)
    except ValueError:
        return "no spike"
    return None


def why_overlap(spikes: Sequence[Spike]) -> str | None:
    """Which two spikes overlap, so that nobody knows what the rate is; None if none do."""
    in_order = sorted(spikes, key=lambda spike: spike.at_s)
    for before, after in itertools.pairwise(in_order):
        if after.at_s < before.end_s:
            return f"the spike at {after.at_s:g} s begins before that at {before.at_s:g} s has ended"
    return None


def weighted_s(spikes: Sequence[Spike], from_s: float, to_s: float) -> float:
    """How many seconds at the usual rate would make as many requests due as these, with their spikes."""
    extra = sum((spike.times - 1) * max(0.0, min(to_s, spike.end_s) - max(from_s, spike.at_s)) for spike in spikes)
    return to_s - from_s + extra
