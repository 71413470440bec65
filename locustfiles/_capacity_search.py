"""The search for the highest rate of one deployment that meets an objective: from the steps so far comes the next one.

First the rate is doubled, in short steps, until one clearly misses the objective. Then stochastic approximation
(Robbins and Monro 1951) goes on from there: after each step the rate falls if more arrivals missed the objective than
may, and else it rises. The moves become smaller as 1 / n^0.5, as slowly as averaging allows (Polyak and Juditsky
1992), where n is the step at which the direction changed last: while it stays the same, the moves do so too (after
Kesten 1958), and a limit that is far away is reached soon. This needs no model of the service, and its steps lie close
to the limit on both sides. The analysis fits a curve to them.

In simulated searches (benchmarks/capacity.py) that fit was closer to the truth than the mean of the steps. It was also
closer than a fit to steps that were each placed where the fit so far had the limit. Those lie too close together to
tell the slope, so the intervals became too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist, fmean, linear_regression, pstdev

from runfiles.events import BUDGET, PRECISE
from runfiles.objective import FEWEST_STEPS, Objective, Step

TOO_SLOW, TOO_FAST = "lowest rate misses", "highest rate meets"
"""Why a search ends without a limit: already the lowest rate misses the objective, or the highest still meets it."""

FACTOR = 2.0
"""From one step to the next while the limit is still far."""
CLEARLY = 3.0
"""A step clearly misses a condition if so many times the share missed it that may, and at least ``FEWEST_MISSED``."""
FEWEST_MISSED = 5

GAIN, DECAY = 0.25, 0.5
LARGEST_MOVE = 0.35
"""Of the logarithm of the rate."""

AT_AN_END = 3
"""Steps in succession at the lowest or the highest rate that end the search, if all of them together say so."""
FEWEST_TO_STOP = 40
"""With fewer steps near the limit the precision may seem good by chance."""
CONFIDENCE = 0.99
"""That of the interval that ends the search. It is looked at after each step and may be narrow by chance once, and the
straight line is steeper than the curve. So it is a 99% interval that ends the search, and the 95% interval of the
analysis is then about as narrow as was asked for."""


@dataclass(frozen=True)
class Search:
    """What is searched for, and within which limits.

    Rates are arrivals per second. ``budget_s``: seconds of load in all steps together. ``tolerance``: the search ends
    when half the width of the limit's interval is about so small, a part of the limit: 0.03 is 3%. ``first_per_s``: the
    rate of the first step, where an earlier search has told about where the limit is; None: the lowest.

    Raises:
        ValueError: the values can't be true together. The message says which ones would be right.
    """

    objective: Objective
    lowest_per_s: float
    highest_per_s: float
    budget_s: float
    tolerance: float
    first_per_s: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.lowest_per_s < self.highest_per_s:
            raise ValueError(
                f"the lowest rate, {self.lowest_per_s:g}/s, is not between 0 and the highest one, "
                f"{self.highest_per_s:g}/s; name a lower one"
            )
        if self.budget_s < self.objective.least_search_s:
            raise ValueError(
                f"a budget of {self.budget_s:g} s is too small for {self.objective}: a step takes {self.step_s:g} s, "
                f"and {FEWEST_STEPS} are needed; allow {self.objective.least_search_s:g} s, or name a shorter limit"
            )

    @property
    def step_s(self) -> float:
        """How long a step near the limit lasts, in seconds."""
        return self.objective.step_s


@dataclass(frozen=True)
class Next:
    """The step that comes next."""

    rate_per_s: float
    seconds: float


@dataclass(frozen=True)
class End:
    """There is no further step. ``why`` is ``PRECISE``, ``BUDGET``, ``TOO_SLOW`` or ``TOO_FAST``."""

    why: str


def next_step(search: Search, steps: Sequence[Step]) -> Next | End:
    """What follows after the steps made so far."""
    far = _far(search, steps)
    near = steps[far:]
    seconds = search.step_s if far < len(steps) or _is_near(search, steps) else search.step_s / 2
    if len(near) >= AT_AN_END and (why := _why_at_an_end(search, near[-AT_AN_END:])):
        return End(why)
    if len(near) >= FEWEST_TO_STOP and half_width(search.objective, near) <= math.log1p(search.tolerance):
        return End(PRECISE)
    if sum(step.seconds for step in steps) + seconds > search.budget_s:
        return End(BUDGET)
    return Next(float(f"{_rate(search, steps, far):.4g}"), seconds)


def _far(search: Search, steps: Sequence[Step]) -> int:
    """How many of the steps came before the limit was near."""
    return next((place for place, _ in enumerate(steps, 1) if _is_near(search, steps[:place])), len(steps))


def _is_near(search: Search, steps: Sequence[Step]) -> bool:
    """Whether the last of these steps ends the doubling."""
    return bool(steps) and (clearly_missed(search.objective, steps[-1]) or steps[-1].rate_per_s >= search.highest_per_s)


def _rate(search: Search, steps: Sequence[Step], far: int) -> float:
    if not steps:
        first = search.lowest_per_s if search.first_per_s is None else search.first_per_s
        return min(max(first, search.lowest_per_s), search.highest_per_s)
    last = steps[-1]
    if far < len(steps):
        misses = [excess(search.objective, step) > 0 for step in steps[far:]]
        turns = [place for place, (before, after) in enumerate(pairwise(misses), 2) if before != after]
        move = GAIN / (turns[-1] if turns else 1) ** DECAY * excess(search.objective, last)
        rate = last.rate_per_s * math.exp(-min(max(move, -LARGEST_MOVE), LARGEST_MOVE))
    elif not _is_near(search, steps):
        rate = last.rate_per_s * FACTOR
    else:
        rate = last.rate_per_s / math.sqrt(FACTOR) if clearly_missed(search.objective, last) else last.rate_per_s
    return min(max(rate, search.lowest_per_s), search.highest_per_s)


def _why_at_an_end(search: Search, steps: Sequence[Step]) -> str | None:
    rates = {step.rate_per_s for step in steps}
    misses = sum(excess(search.objective, step) for step in steps) > 0
    if rates == {search.lowest_per_s} and misses:
        return TOO_SLOW
    return TOO_FAST if rates == {search.highest_per_s} and not misses else None


def clearly_missed(objective: Objective, step: Step) -> bool:
    """Whether a step alone shows that its rate is too high."""
    return step.is_overloaded or any(
        missed >= FEWEST_MISSED and missed > CLEARLY * condition.most_share * step.offered
        for condition, missed in zip(objective.conditions, step.missed, strict=True)
    )


def excess(objective: Objective, step: Step) -> float:
    """By how much the share of arrivals that missed a condition is above what may, in parts of the latter, of the
    condition that was missed most; infinite for an overloaded step, 0 for one without arrivals."""
    if step.is_overloaded:
        return math.inf
    if not step.offered:
        return 0.0
    parts = zip(objective.conditions, step.missed, strict=True)
    return max(missed / (condition.most_share * step.offered) for condition, missed in parts) - 1


def half_width(objective: Objective, steps: Sequence[Step]) -> float:
    """Half the width of the interval of the limit's logarithm. The limit is where a straight line through the steps has
    no excess (Fieller 1954). Infinite if it is not sure that the line rises."""
    told = [step for step in steps if not step.is_overloaded]
    if len({step.rate_per_s for step in told}) < 3:
        return math.inf
    logs = [math.log(step.rate_per_s) for step in told]
    values = [excess(objective, step) for step in told]
    slope, start = linear_regression(logs, values)
    squares = sum((value - start - slope * log) ** 2 for log, value in zip(logs, values, strict=True))
    arm = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt(squares / (len(told) - 2))
    spread = math.sqrt(len(told)) * pstdev(logs)
    sure = 1 - (arm / (slope * spread)) ** 2 if slope > 0 else 0.0
    if sure <= 0:
        return math.inf
    away = (-start / slope - fmean(logs)) / spread
    return arm / slope / sure * math.sqrt(sure / len(told) + away**2)
