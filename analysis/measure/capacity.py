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
from analysis.measure.ratios import logs_of_values
from analysis.measure.rounds import CONFIDENCE, t_interval
from runfiles.objective import Condition, Objective, Step

NEAR = 2.0
"""A step is near the limit if the fitted logit of its share is no further from that of the limit. Only these steps
count: the line is straight only for so long."""
FEWEST_STEPS = 6
"""Steps near the limit that a fit needs."""

SLOPES = np.geomspace(1, 150, 28)
LIKELY_SLOPE, SLOPE_SPREAD = 6.0, 1.2
"""What is assumed of the slope before anything is measured: a normal distribution of its logarithm, with the exponent
of the mean, and the standard deviation. A queue with long services and little waiting has 2, one with three replicas
26."""

WHICH = "near the limit"
FIRST_DISPERSION = 10.0
REFINEMENTS = 5
GRID = 81
FAR_TAIL = 12.0
"""Limits whose log posterior is so much below the highest are left out of the grid."""


@dataclass(frozen=True)
class Fit:
    """The logarithm of a limit with its 95% interval, and how many steps were near it."""

    log_rate: float
    low: float
    high: float
    steps: int


def capacity(objective: Objective, rounds: Sequence[Sequence[Step]]) -> Estimate:
    """The capacity in arrivals per second, from the steps of each round in which the deployment was searched.

    From ``FEWEST_ROUNDS`` rounds on the interval is that of the rounds (Student's t of the logarithms). With fewer, all
    steps are fitted together, and the interval comes from how they differ (``is_of_steps``).
    """
    fits = [fit(objective, steps) for steps in rounds]
    told = [fitted for fitted in fits if isinstance(fitted, Fit)]
    if len(told) < FEWEST_ROUNDS:
        fitted = fit(objective, [step for steps in rounds for step in steps])
        if isinstance(fitted, str):
            return missing(fitted)
        value, low, high = (math.exp(log) for log in (fitted.log_rate, fitted.low, fitted.high))
        return Estimate(value, fitted.steps, "steps", low, high, max(len(told), 1), which=WHICH, is_of_steps=True)
    logs = np.array([fitted.log_rate for fitted in told])
    low, high = map(math.exp, t_interval(logs))
    steps = sum(fitted.steps for fitted in told)
    return Estimate(math.exp(logs.mean()), steps, "steps", low, high, len(told), which=WHICH)


def capacity_ratio(
    objective: Objective, baseline: Mapping[int, Sequence[Step]], subject: Mapping[int, Sequence[Step]]
) -> Estimate:
    """The capacity of the subject over that of the baseline. Both are given by the steps of each round, by its number.

    From ``FEWEST_ROUNDS`` common rounds on the ratios are paired by round (Student's t of their logarithms). With
    fewer, the two intervals from the steps are put together, as of independent values.
    """
    alone = [
        {number: capacity(objective, [steps]) for number, steps in rounds.items()} for rounds in (baseline, subject)
    ]
    values = [
        {number: estimate.value for number, estimate in rounds.items() if estimate.is_measured} for rounds in alone
    ]
    logs = np.array([*logs_of_values(*values).values()])
    if len(logs) >= FEWEST_ROUNDS:
        low, high = map(math.exp, t_interval(logs))
        return Estimate(math.exp(logs.mean()), len(logs), "rounds", low, high, len(logs))
    both = [sorted(set(baseline) & set(subject))] * 2
    before, after = (
        capacity(objective, [rounds[number] for number in numbers])
        for rounds, numbers in zip((baseline, subject), both, strict=True)
    )
    for estimate in (before, after):
        if not estimate.is_measured:
            return estimate
    log = math.log(after.value / before.value)
    arm = math.hypot(*(math.log(estimate.high / estimate.low) / 2 for estimate in (before, after)))
    low, high = math.exp(log - arm), math.exp(log + arm)
    return Estimate(math.exp(log), before.n + after.n, "steps", low, high, len(both[0]), which=WHICH, is_of_steps=True)


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


def _fit(condition: Condition, steps: Sequence[Step], place: int) -> Fit | float:
    """The limit of one condition; 0 if it is below all steps, infinite if it is above them."""
    logs, offered, missed = (
        np.array(values, dtype=float)
        for values in zip(
            *((math.log(step.rate_per_s), step.offered, step.missed[place]) for step in steps), strict=True
        )
    )
    if not missed.any():
        return math.inf
    start = float(special.logit(condition.most_share))
    low, high = logs.min(), logs.max()
    near, dispersion = np.full(len(logs), True), FIRST_DISPERSION
    for _ in range(REFINEMENTS):
        limits = np.linspace(low, high, GRID)
        heights = _log_posterior(limits, start, logs[near], offered[near], missed[near], dispersion)
        place_of_limit, place_of_slope = np.unravel_index(heights.argmax(), heights.shape)
        limit, slope = limits[place_of_limit], SLOPES[place_of_slope]
        near = np.abs(slope * (logs - limit)) <= NEAR
        likely = special.expit(slope * (logs[near] - limit) + start)
        spread = (missed[near] - offered[near] * likely) ** 2 / (offered[near] * likely * (1 - likely))
        freedom = max(int(near.sum()) - 2, 1)
        dispersion = max(1.0, float(spread.sum()) / freedom)
        kept = limits[heights.max(axis=1) > heights.max() - FAR_TAIL]
        width = max(limits[1] - limits[0], 1e-4)
        low, high = max(kept.min() - width, logs.min()), min(kept.max() + width, logs.max())
    if limit <= logs.min():
        return 0.0
    if limit >= logs.max():
        return math.inf
    limits = np.linspace(low, high, GRID)
    heights = _log_posterior(limits, start, logs[near], offered[near], missed[near], dispersion)
    # Student's t in place of the normal distribution: 1 + t^2 / freedom for exp(t^2 / freedom)
    odds = (1 + 2 * (heights.max() - heights) / freedom) ** (-(freedom + 2) / 2)
    weights = odds.sum(axis=1) / odds.sum()
    tail = (1 - CONFIDENCE) / 2
    bounds = np.interp([tail, 1 - tail], weights.cumsum(), limits)
    return Fit(float((weights * limits).sum()), float(bounds[0]), float(bounds[1]), int(near.sum()))


def _log_posterior(
    limits: np.ndarray, start: float, logs: np.ndarray, offered: np.ndarray, missed: np.ndarray, dispersion: float
) -> np.ndarray:
    """Of each limit (rows) and each slope (columns), but for a constant.

    Args:
        limits: logarithms of rates, shape (limits,).
        start: the logit of the share that may miss.
        logs: the logarithm of each step's rate, shape (steps,), as ``offered`` and ``missed``.
    """
    logits = SLOPES[:, None] * (logs - limits[:, None, None]) + start
    likelihood = -missed * np.logaddexp(0, -logits) - (offered - missed) * np.logaddexp(0, logits)
    assumed = (np.log(SLOPES / LIKELY_SLOPE) / SLOPE_SPREAD) ** 2 / 2
    posterior: np.ndarray = likelihood.sum(axis=-1) / dispersion - assumed
    return posterior
