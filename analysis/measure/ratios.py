"""The ratio of two deployments in one round.

If the load came in blocks, blocks of one cycle were measured within seconds of each other, so each cycle gives a ratio
of its own, from which the machine's drift has gone. The round's ratio is their trimmed mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from analysis.measure.quantity import QUANTITIES
from analysis.measure.rounds import Measurement
from analysis.measure.series import RUNS_AT_HAND
from analysis.read.results import Round
from analysis.read.runs import Run
from runfiles.events import MEASURED

RESOLUTION = 1e-6
"""Smaller differences between logarithms of ratios are rounding. Without this limit two equal rounds would claim
certainty."""

TRIMMED = 0.2
LEAST_ABOVE = 10
"""A block gives a quantile if it has this many requests above it: 20 for the median, 200 for p95. The ratio of two p95
from 200 requests is too small by 0.1%, of 50 by 1.2% (log-gamma response times with unlike tails)."""
LEAST_CYCLES = 0.8
"""If fewer of the cycles give the quantile in both deployments, the ratio is that of the whole round: those that give
it would be the fast ones."""


def log_ratios(
    baseline: Measurement, subject: Measurement, key: str, loads: Sequence[Measurement] = ()
) -> dict[int, float]:
    """The logarithm of the ratio of one quantity in each round in which both were measured and neither is 0.

    ``loads``: all deployments. If the two were not measured side by side, they are compared through one of these that
    was measured beside both: (subject / reference) / (baseline / reference). If there is none, or a load came in one
    piece, it is the ratio of their values in the round.
    """
    found = logs_of_values(baseline.values(key), subject.values(key))
    quantile = QUANTITIES[key].quantile
    if quantile is None:
        return found
    for number in found:
        paired = _paired(number, baseline, subject, quantile, loads)
        found[number] = found[number] if paired is None else paired
    return found


def logs_of_values(baseline: Mapping[int, float], subject: Mapping[int, float]) -> dict[int, float]:
    """The logarithm of the ratio of two values in each round in which both were measured and neither is 0."""
    both = [number for number in subject if number in baseline and subject[number] > 0 and baseline[number] > 0]
    return {number: math.log(subject[number] / baseline[number]) for number in both}


def trimmed_mean(values: np.ndarray) -> float:
    """The mean without the highest and the lowest fifth of the values.

    Of ten blocks with a standard deviation of 0.1 it spreads by 0.034, their mean by 0.032 and their median by 0.037.
    If a tenth of the blocks is disturbed (by an exponential shift of 0.5 on average), these are 0.039, 0.077 and 0.041.
    Only if every fifth is, the median is better: 0.048 against 0.046. But most of those are repeated.
    """
    cut = round(TRIMMED * len(values))
    return float(np.sort(values)[cut : len(values) - cut].mean())


def log_ratio_of_blocks(baseline: Run, subject: Run, quantile: float) -> float | None:
    """The logarithm of the ratio of a quantile of response times, of two loads that shared one load in blocks; None if
    one of them answered nothing."""
    return log_ratio_of_cycles(times_by_cycle(baseline), times_by_cycle(subject), quantile)


def log_ratio_of_cycles(
    baseline: Mapping[int, np.ndarray], subject: Mapping[int, np.ndarray], quantile: float
) -> float | None:
    """As ``log_ratio_of_blocks``, from the response times of each cycle, by its number."""
    both = sorted(set(baseline) & set(subject))
    least = math.ceil(LEAST_ABOVE / (1 - quantile) - 1e-6)
    told = [cycle for cycle in both if min(len(baseline[cycle]), len(subject[cycle])) >= least]
    if told and len(told) >= LEAST_CYCLES * len(both):
        ratios = [np.quantile(subject[cycle], quantile) / np.quantile(baseline[cycle], quantile) for cycle in told]
        return trimmed_mean(np.log(ratios))
    if not baseline or not subject:
        return None
    before, after = (np.quantile(np.concatenate([*load.values()]), quantile) for load in (baseline, subject))
    return math.log(after / before)


@lru_cache(RUNS_AT_HAND)
def times_by_cycle(run: Run) -> dict[int, np.ndarray]:
    """The response times of each measured block that has any, by its cycle."""
    measured = run.blocks[(run.blocks["phase"] == MEASURED).to_numpy()]
    cycles = run.answered["block"].map(measured.set_index("block")["cycle"])
    times = run.answered["response_time_ms"].groupby(cycles)
    return {int(cycle): own.to_numpy() for cycle, own in times}


def references(baseline: Measurement, subject: Measurement, loads: Sequence[Measurement]) -> list[Measurement]:
    """The deployments through which two are compared, in the rounds in which they were not measured side by side."""
    numbers = [round_.number for round_ in subject.deployment.measured_rounds]
    found = [_reference(number, baseline, subject, loads) for number in numbers]
    names = {load.name for load in found if load is not None}
    return [load for load in loads if load.name in names]


def _reference(
    number: int, baseline: Measurement, subject: Measurement, loads: Sequence[Measurement]
) -> Measurement | None:
    """The deployment that was measured beside both in a round; None if they were side by side, or there is none."""
    before, after = _round(baseline, number), _round(subject, number)
    if _side_by_side(before, after) is not None:
        return None
    for load in loads:
        reference = _round(load, number)
        if None not in (_side_by_side(reference, before), _side_by_side(reference, after)):
            return load
    return None


def _paired(
    number: int, baseline: Measurement, subject: Measurement, quantile: float, loads: Sequence[Measurement]
) -> float | None:
    """The logarithm of the ratio in one round, from blocks; None if not both were measured in blocks, or nothing was
    measured beside both."""
    reference = _reference(number, baseline, subject, loads)
    if reference is None:
        return _log_ratio_beside(number, baseline, subject, quantile)
    after, before = (_log_ratio_beside(number, reference, load, quantile) for load in (subject, baseline))
    return None if after is None or before is None else after - before


def _log_ratio_beside(number: int, baseline: Measurement, subject: Measurement, quantile: float) -> float | None:
    """As ``log_ratio_of_blocks``, of two that were measured side by side in a round; None if they were not."""
    pair = _side_by_side(_round(baseline, number), _round(subject, number))
    return None if pair is None else log_ratio_of_blocks(*pair, quantile)


def _side_by_side(first: Round | None, second: Round | None) -> tuple[Run, Run] | None:
    """The loads of both in a group in which both were measured in blocks; None if there is none."""
    if first is None or second is None:
        return None
    others = second.loads_by_group
    for group, run in first.loads_by_group.items():
        if group is not None and group in others and run.axis is not None and others[group].axis is not None:
            return run, others[group]
    return None


def _round(load: Measurement, number: int) -> Round | None:
    return next((round_ for round_ in load.deployment.measured_rounds if round_.number == number), None)
