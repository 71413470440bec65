"""The capacity of a deployment: the highest rate of arrivals that meets an objective, from the steps of a search.

Of each condition of the objective the share of arrivals that missed it is fitted against the rate: its logit is a
straight line over the logarithm of the rate. The capacity is where that line has the share that may miss; of several
conditions the lowest counts.

Arrivals of one step wait for one another, so the shares spread more than independent ones would. The likelihood is
therefore divided by a dispersion, which the steps tell (quasi-likelihood; McCullagh and Nelder 1989, section 4.5). The
interval is that of the posterior over limit and slope, computed on a grid as in adaptive psychophysics (Kontsevich and
Tyler 1999), with the tails of Student's t, since the dispersion is estimated too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from analysis.measure.quantity import FEWEST_ROUNDS, Estimate, missing
from analysis.measure.rounds import CONFIDENCE, t_interval
from runfiles.objective import Condition, Objective, Step

NEAR, NEAR_LOG_RATE = 2.0, 0.3
"""A step is near the limit if the fitted logit of its share is no further from that of the limit, nor the logarithm of
its rate. Only these steps count: the line is straight only for so long. Failures for instance grow fast where a service
becomes overloaded, and slowly beyond."""
FEWEST_STEPS = 6
"""Steps near the limit that a fit needs."""
FEWEST_IN_ROUND = 3
"""Steps near the limit that a round needs to have a limit of its own."""

SLOPES = np.geomspace(1, 150, 28)
LIKELY_SLOPE, SLOPE_SPREAD = 6.0, 1.2
"""What is assumed of the slope before anything is measured: a normal distribution of its logarithm, with the exponent
of the mean, and the standard deviation. A queue with long services and little waiting has 2, one with three replicas
26."""

WHICH = "near the limit"
FIRST_DISPERSION = 10.0
GRID = 81
SEARCHES, SEARCHED_LOG_RATE = 4, 0.6
"""So often the steps near the limit are chosen anew, from a fit on a grid that goes so far to both sides of the limit
before."""
REFINEMENTS, FAR_TAIL = 2, 12.0
"""So often the grid is then made finer. Limits whose log posterior is so much below the highest are left out."""


@dataclass(frozen=True, eq=False)
class Fit:
    """The logarithm of a limit with its 95% interval, how many steps were near it, and of which condition of the
    objective it is, from 0. ``heights``: how likely each slope is, as a logarithm, but for a constant."""

    log_rate: float
    low: float
    high: float
    steps: int
    place: int
    heights: np.ndarray


def capacity(objective: Objective, rounds: Sequence[Sequence[Step]]) -> Estimate:
    """The capacity in arrivals per second, from the steps of each round in which the deployment was searched.

    From ``FEWEST_ROUNDS`` rounds on the interval is that of the rounds (Student's t of the logarithms). With fewer, all
    steps are fitted together, and the interval comes from how they differ (``is_of_steps``).
    """
    together, by_round = _fits(objective, dict(enumerate(rounds)))
    if isinstance(together, str):
        return missing(together)
    if len(by_round) < FEWEST_ROUNDS:
        value, low, high = (math.exp(log) for log in (together.log_rate, together.low, together.high))
        return Estimate(value, together.steps, "steps", low, high, len(rounds), which=WHICH, is_of_steps=True)
    logs = np.array([*by_round.values()])
    low, high = map(math.exp, t_interval(logs))
    return Estimate(math.exp(logs.mean()), together.steps, "steps", low, high, len(logs), which=WHICH)


def capacity_ratio(
    objective: Objective, baseline: Mapping[int, Sequence[Step]], subject: Mapping[int, Sequence[Step]]
) -> Estimate:
    """The capacity of the subject over that of the baseline. Both are given by the steps of each round, by its number.

    From ``FEWEST_ROUNDS`` common rounds on the ratios are paired by round (Student's t of their logarithms). With
    fewer, the two intervals from the steps are put together, as of independent values.
    """
    common = sorted(set(baseline) & set(subject))
    before, after = ({number: rounds[number] for number in common} for rounds in (baseline, subject))
    (first, first_by_round), (second, second_by_round) = _fits(objective, before), _fits(objective, after)
    if isinstance(first, str) or isinstance(second, str):
        return missing(first if isinstance(first, str) else str(second))
    logs = np.array(
        [second_by_round[number] - first_by_round[number] for number in first_by_round.keys() & second_by_round]
    )
    if len(logs) >= FEWEST_ROUNDS:
        low, high = map(math.exp, t_interval(logs))
        return Estimate(math.exp(logs.mean()), len(logs), "rounds", low, high, len(logs))
    log = second.log_rate - first.log_rate
    arm = math.hypot(first.high - first.low, second.high - second.low) / 2
    low, value, high = (math.exp(log + way * arm) for way in (-1, 0, 1))
    steps = first.steps + second.steps
    return Estimate(value, steps, "steps", low, high, len(common), which=WHICH, is_of_steps=True)


def capacities_by_round(objective: Objective, rounds: Mapping[int, Sequence[Step]]) -> dict[int, float]:
    """The capacity in arrivals per second in each round that has one of its own, by the round's number. ``capacity`` is
    their geometric mean, from ``FEWEST_ROUNDS`` rounds on."""
    return {number: math.exp(log) for number, log in _fits(objective, rounds)[1].items()}


def _fits(objective: Objective, rounds: Mapping[int, Sequence[Step]]) -> tuple[Fit | str, dict[int, float]]:
    """The fit to the steps of all rounds, or why there is none; and the logarithm of the limit in each round.

    A round alone has too few steps to tell the slope. So all rounds have the same one, which is the likeliest of all.
    With a slope of its own for each round, the capacity of a simulated service with three replicas was 5% too low, from
    five searches of 120 s.
    """
    together = fit(objective, [step for steps in rounds.values() for step in steps])
    if isinstance(together, str):
        return together, {}
    place = together.place
    told = {number: [step for step in steps if step.offered] for number, steps in rounds.items()}
    alone = {number: _fit(objective.conditions[place], steps, place) for number, steps in told.items() if steps}
    heights = [limit.heights for limit in alone.values() if isinstance(limit, Fit)]
    if not heights:
        return together, {}
    slope = SLOPES[(np.sum(heights, axis=0) + (len(heights) - 1) * _assumed(SLOPES)).argmax()]
    limits = {
        number: _fit(objective.conditions[place], told[number], place, np.array([slope]))
        for number, limit in alone.items()
        if isinstance(limit, Fit)
    }
    found = {number: limit for number, limit in limits.items() if isinstance(limit, Fit)}
    return together, {number: limit.log_rate for number, limit in found.items() if limit.steps >= FEWEST_IN_ROUND}


def fit(objective: Objective, steps: Sequence[Step]) -> Fit | str:
    """The lowest limit of all conditions, or why there is none."""
    told = [step for step in steps if step.offered]
    if not told:
        return "no step was measured"
    rates = [step.rate_per_s for step in told]
    found = [_fit(condition, told, place) for place, condition in enumerate(objective.conditions)]
    missed = next((condition for condition, limit in zip(objective.conditions, found, strict=True) if limit == 0), None)
    if missed is not None:
        return f"already at the lowest rate, {min(rates):g}/s, {missed.text} was missed; search from a lower rate"
    limits = [limit for limit in found if isinstance(limit, Fit)]
    if not limits:
        return f"at the highest rate, {max(rates):g}/s, the objective was still met; search up to a higher rate"
    limit = min(limits, key=lambda limit: limit.log_rate)
    if limit.steps < FEWEST_STEPS:
        return f"only {limit.steps} steps were near the limit, and {FEWEST_STEPS} are needed; allow a larger budget"
    return limit


def _fit(condition: Condition, steps: Sequence[Step], place: int, slopes: np.ndarray = SLOPES) -> Fit | float:
    """The limit of one condition; 0 if it is below all steps, infinite if it is above them.

    Args:
        condition: the one at ``place`` in the objective.
        steps: with arrivals each.
        slopes: which the line may have.
    """
    logs = np.log([step.rate_per_s for step in steps])
    offered = np.array([step.offered for step in steps], dtype=float)
    missed = np.array([step.missed[place] for step in steps], dtype=float)
    if not missed.any():
        return math.inf
    start = float(special.logit(condition.most_share))
    low, high = logs.min(), logs.max()
    near, dispersion = np.full(len(logs), True), FIRST_DISPERSION
    for turn in range(SEARCHES + REFINEMENTS):
        limits = np.linspace(low, high, GRID)
        heights = _log_posterior(limits, slopes, start, logs[near], offered[near], missed[near], dispersion)
        place_of_limit, place_of_slope = np.unravel_index(heights.argmax(), heights.shape)
        limit, slope = limits[place_of_limit], slopes[place_of_slope]
        away = np.abs(logs - limit)
        near = (slope * away <= NEAR) & (away <= NEAR_LOG_RATE)
        likely = special.expit(slope * (logs[near] - limit) + start)
        spread = (missed[near] - offered[near] * likely) ** 2 / (offered[near] * likely * (1 - likely))
        freedom = max(int(near.sum()) - 2, 1)
        dispersion = max(1.0, float(spread.sum()) / freedom)
        low, high = limit - SEARCHED_LOG_RATE, limit + SEARCHED_LOG_RATE
        if turn >= SEARCHES:
            kept = limits[heights.max(axis=1) > heights.max() - FAR_TAIL]
            width = max(limits[1] - limits[0], 1e-4)
            low, high = kept.min() - width, kept.max() + width
        low, high = max(low, logs.min()), min(high, logs.max())
    if limit <= logs.min():
        return 0.0
    if limit >= logs.max():
        return math.inf
    limits = np.linspace(low, high, GRID)
    heights = _log_posterior(limits, slopes, start, logs[near], offered[near], missed[near], dispersion)
    # Student's t in place of the normal distribution: 1 + t^2 / freedom for exp(t^2 / freedom)
    odds = (1 + 2 * (heights.max() - heights) / freedom) ** (-(freedom + 2) / 2)
    weights = odds.sum(axis=1) / odds.sum()
    tail = (1 - CONFIDENCE) / 2
    bounds = np.interp([0.5, tail, 1 - tail], weights.cumsum(), limits)
    log_rate, low, high = map(float, bounds)
    return Fit(log_rate, low, high, int(near.sum()), place, heights.max(axis=0))


def _log_posterior(
    limits: np.ndarray,
    slopes: np.ndarray,
    start: float,
    logs: np.ndarray,
    offered: np.ndarray,
    missed: np.ndarray,
    dispersion: float,
) -> np.ndarray:
    """Of each limit (rows) and each slope (columns), but for a constant.

    Args:
        limits: logarithms of rates, shape (limits,).
        slopes: shape (slopes,).
        start: the logit of the share that may miss.
        logs: the logarithm of each step's rate, shape (steps,), as ``offered`` and ``missed``.
    """
    logits = slopes[:, None] * (logs - limits[:, None, None]) + start
    likelihood = -missed * np.logaddexp(0, -logits) - (offered - missed) * np.logaddexp(0, logits)
    posterior: np.ndarray = likelihood.sum(axis=-1) / dispersion - _assumed(slopes)
    return posterior


def _assumed(slopes: np.ndarray) -> np.ndarray:
    """How unlikely each slope is before anything is measured, as a logarithm."""
    unlikely: np.ndarray = (np.log(slopes / LIKELY_SLOPE) / SLOPE_SPREAD) ** 2 / 2
    return unlikely
