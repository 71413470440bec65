"""Two services against each other: each quantity of each deployment that both experiments measured, and the verdicts.

The rounds of two experiments are not paired, so the ratios come from ``analysis.measure.unpaired``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.judge.across import OF_THE_SERVICE, why_other_circumstances
from analysis.judge.doubts import Validity
from analysis.judge.verdicts import (
    ALPHA,
    CARRIES_LESS,
    CARRIES_MORE,
    FASTER,
    NONE,
    ONE_ROUND,
    SLOWER,
    UNPROVEN,
    Verdict,
    holm,
)
from analysis.measure.quantity import CAPACITY, NAN, QUANTITIES, Estimate
from analysis.measure.rounds import Measurement
from analysis.measure.unpaired import Unpaired, geometric_mean, unpaired
from analysis.read.results import Results

SHOWN = ("median_ms", "p95_ms", "throughput_per_s", "cpu_ms_per_answer", "memory_mean_mb")
"""The quantities that are set beside each other."""
SHOWN_OF_SEARCHES = (CAPACITY, "memory_mean_mb")
"""Those of two searches for the capacity. The others depend on the rate, and a search has many."""
JUDGED = (CAPACITY, "median_ms", "p95_ms", "cpu_ms_per_answer", "memory_mean_mb")
"""Those that get a verdict. Throughput has none: in a closed workload it mirrors response time, in an open one it is
the rate."""
MORE, LESS = "more", "less"
"""The verdicts on CPU and memory. Response times are slower or faster; a capacity carries more or less."""
NOT_JUDGED = "not judged: it follows from the load and the response time"


@dataclass(frozen=True)
class Side:
    """One of the two experiments, and what its service is called."""

    service: str
    results: Results
    loads: tuple[Measurement, ...]
    validity: Validity
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class TwoSides:
    """One quantity of a deployment in both experiments: the second over the first.

    ``values`` are the geometric means of the rounds, first and second, so ``found.ratio`` is their quotient.
    ``p_value`` is after Holm's correction for all that are judged. ``detail`` says why there is no verdict.
    ``shows_ratio``: the ratio may be read, although there may be no verdict.
    """

    key: str
    values: tuple[Estimate, Estimate]
    found: Unpaired
    kind: str
    p_value: float
    detail: str = ""
    shows_ratio: bool = True

    @property
    def is_proven(self) -> bool:
        """Whether a difference is proven."""
        return self.kind not in (UNPROVEN, NONE)


@dataclass(frozen=True)
class Pair:
    """A deployment that both experiments measured. ``why_not`` says why the two are not compared; None: they are."""

    first: Measurement
    second: Measurement
    why_not: str | None
    quantities: Mapping[str, TwoSides]

    @property
    def name(self) -> str:
        return self.first.name

    @property
    def title(self) -> str:
        return self.first.title


def judge_two(first: Side, second: Side) -> tuple[Pair, ...]:
    """Each deployment that both measured, in the order of the first."""
    of_second = {load.name: load for load in second.loads}
    are_searches = first.results.is_search and second.results.is_search
    shown = SHOWN_OF_SEARCHES if are_searches else SHOWN
    common = [(load, of_second[load.name]) for load in first.loads if load.name in of_second]
    reasons = [_why_not(pair, (first, second)) for pair in common]
    found = [
        (key, _both(pair, key), unpaired(*(load.values(key) for load in pair)), _why_hidden(pair, key, reason))
        for pair, reason in zip(common, reasons, strict=True)
        for key in shown
    ]
    adjusted = holm([NAN if hidden or key not in JUDGED else ratio.p_value for key, _, ratio, hidden in found])
    judged = iter([_judged(*row, p_value) for row, p_value in zip(found, adjusted, strict=True)])
    return tuple(
        Pair(*pair, reason, {key: next(judged) for key in shown}) for pair, reason in zip(common, reasons, strict=True)
    )


def _both(pair: tuple[Measurement, Measurement], key: str) -> tuple[Estimate, Estimate]:
    first, second = (geometric_mean(load, key) for load in pair)
    return first, second


def _why_not(pair: tuple[Measurement, Measurement], sides: tuple[Side, Side]) -> str | None:
    """Why nothing of a deployment is compared; None if it is."""
    for load, side in zip(pair, sides, strict=True):
        if doubts := side.validity.of(load.name):
            return f"not compared: the measurement of {side.service} is not valid: {doubts[0].title}"
    (before, after), (old, new) = pair, sides
    return why_other_circumstances(before.deployment, after.deployment, old.results, new.results, OF_THE_SERVICE)


def _why_hidden(pair: Sequence[Measurement], key: str, why_not: str | None) -> str | None:
    """Why a ratio may not be read; None if it may."""
    missing = (load.summary[key].missing or "not measured" for load in pair if not load.summary[key].is_measured)
    return why_not or next(missing, None)


def _judged(
    key: str, values: tuple[Estimate, Estimate], found: Unpaired, hidden: str | None, p_value: float
) -> TwoSides:
    if hidden is not None:
        return TwoSides(key, values, found, NONE, NAN, hidden, shows_ratio=False)
    if key not in JUDGED:
        return TwoSides(key, values, found, NONE, NAN, NOT_JUDGED)
    if math.isnan(p_value):
        return TwoSides(key, values, found, NONE, NAN, ONE_ROUND)
    if p_value >= ALPHA:
        return TwoSides(key, values, found, UNPROVEN, p_value)
    return TwoSides(key, values, found, _kind(key, is_up=found.ratio > 1), p_value)


def _kind(key: str, *, is_up: bool) -> str:
    """The verdict if a difference is proven."""
    if key == CAPACITY:
        return CARRIES_MORE if is_up else CARRIES_LESS
    up, down = (SLOWER, FASTER) if QUANTITIES[key].quantile is not None else (MORE, LESS)
    return up if is_up else down
