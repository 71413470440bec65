"""From frames to estimates: of one run, and of a deployment over its rounds with a 95% interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import special

from analysis.measure.hidden_cpu import hidden_cpu
from analysis.measure.idle_cpu import idle_cpu_percent
from analysis.measure.latency import median_told, quantiles, throughput, without_thin_percentiles
from analysis.measure.parts import Blank, parts
from analysis.measure.quantity import NAN, QUANTITIES, Estimate, Estimates, missing
from analysis.measure.resources import bodies, resources
from analysis.read.results import Deployment
from analysis.read.rows import Rows
from analysis.read.runs import Run

NO_BLANK = Blank(missing("no blank was measured"), missing("no blank was measured"))
CONFIDENCE = 0.95
OF_ANY_RATE = (
    "requests",
    "failures",
    "memory_mean_mb",
    "memory_max_mb",
    "memory_percent",
    "memory_limit_mb",
    "body_kb_per_1000",
    "interface_kb_per_1000",
    "body_in_mb",
    "body_out_mb",
    "interface_in_mb",
    "interface_out_mb",
    "idle_cpu_percent",
    "seconds_to_healthy",
)
"""The quantities that are shown of a staircase as a whole. All others depend on the rate."""
RATES_MIXED = "one figure for several rates says little"
OF_ANY_STATE = ("requests", "failures", "seconds_to_healthy")
"""The quantities that are shown of a load in which the deployment was changed. All others mix before and after."""
CHANGES_MIXED = "one figure from before and after a change says little"
MIXED = (RATES_MIXED, CHANGES_MIXED)
"""Why a figure of a whole load is left out."""
SUMMED = ("requests", "failures")
"""Counts are those of all rounds; other estimates are means over the rounds."""


def summarize(run: Run, blank: Blank = NO_BLANK) -> dict[str, Estimate]:
    """All estimates of one run; ``blank``: that of its experiment. Response times are of the requests sent in the
    measured phase and answered; those that failed are only counted."""
    measured = run.measured_requests
    answered = run.answered
    start, end = run.window_unix_s
    estimates = {
        "requests": Estimate(len(measured), len(measured), "requests", which="sent in the measured phase"),
        "failures": Estimate(
            len(measured) - len(answered), len(measured), "requests", which="sent in the measured phase"
        ),
        "throughput_per_s": throughput(run),
        "queue_ms": median_told(answered["queue_ms"].to_numpy()),
        "inference_ms": median_told(answered["inference_ms"].to_numpy()),
        "rest_ms": median_told(_rest_ms(answered), is_own=True),
    }
    asked = {key: quantity.quantile for key, quantity in QUANTITIES.items() if quantity.quantile is not None}
    estimates |= dict(zip(asked, quantiles(answered["response_time_ms"].to_numpy(), [*asked.values()]), strict=True))
    estimates |= parts(answered, blank)
    estimates |= resources(run) | bodies(answered, end - start) | hidden_cpu(run)
    return {key: estimates[key] for key in QUANTITIES if key in estimates}


def _rest_ms(answered: pd.DataFrame | Rows) -> np.ndarray:
    """The response times without the time in the service."""
    rest: np.ndarray = answered["response_time_ms"].to_numpy().astype(float)
    for name in ("queue_ms", "inference_ms"):
        rest -= answered[name].to_numpy()
    return rest


def over_rounds(rounds: Sequence[Estimates]) -> dict[str, Estimate]:
    """Each estimate over the rounds: their mean, with its t interval from how the rounds differ; counts are sums.

    One round has no interval: how its requests differ says nothing about the next round.
    """
    keys = [key for key in QUANTITIES if any(key in estimates for estimates in rounds)]
    return {key: _over_rounds(key, [estimates[key] for estimates in rounds if key in estimates]) for key in keys}


def _over_rounds(key: str, estimates: Sequence[Estimate]) -> Estimate:
    if key not in SUMMED:
        return mean_over_rounds(estimates)
    told = [estimate for estimate in estimates if estimate.is_measured]
    if not told:
        return estimates[0]
    total = float(sum(estimate.value for estimate in told))
    return replace(told[0], value=total, n=sum(estimate.n for estimate in told), rounds=len(told))


def mean_over_rounds(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of the rounds in which it was measured, at least one estimate, with its t interval; that is cut off at 0
    if no value is negative."""
    told = [estimate for estimate in estimates if estimate.is_measured]
    if not told:
        return estimates[0]
    values = np.array([estimate.value for estimate in told])
    n = sum(estimate.n for estimate in told)
    is_part = any(estimate.is_part for estimate in told)
    low, high = t_interval(values)
    if low < 0 <= values.min():  # never true of NaN: an interval that is missing stays missing
        low = 0.0
    mean = float(values.mean())
    return replace(told[0], value=mean, n=n, low=low, high=high, rounds=len(told), is_part=is_part)


def t_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean of independent values (Student's t); NaN for fewer than two."""
    if len(values) < 2:
        return NAN, NAN
    arm = special.stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - arm), float(values.mean() + arm)


@dataclass(frozen=True)
class Measurement:
    """One deployment in one kind of run (load or single pass): the estimates of each round, by its number, and over all
    rounds."""

    deployment: Deployment
    rounds: Mapping[int, Estimates]
    summary: Estimates

    @property
    def name(self) -> str:
        return self.deployment.name

    @property
    def title(self) -> str:
        return self.deployment.title

    def values(self, key: str) -> dict[int, float]:
        """One quantity in each round in which it was measured."""
        told = {number: estimates[key] for number, estimates in self.rounds.items() if key in estimates}
        return {number: estimate.value for number, estimate in told.items() if estimate.is_measured}


def measure_load(
    deployment: Deployment, blank: Blank = NO_BLANK, *, has_several_rates: bool = False, has_changes: bool = False
) -> Measurement:
    """A deployment under load, without the percentiles that have too few requests above them. Of a staircase of rates
    it has the quantities that do not depend on the rate; of a load with changes those that do not mix before and
    after."""
    starts = {round_.number: round_.seconds_to_healthy for round_ in deployment.rounds}
    rounds = {}
    for number, run in deployment.loads.items():
        start = starts[number]
        timed = missing("the start was not timed") if start is None else Estimate(float(start), 1, "starts")
        own = {"seconds_to_healthy": timed, "idle_cpu_percent": idle_cpu_percent(run)}
        rounds[number] = summarize(run, blank) | own
    if has_changes:
        rounds = {number: _only(OF_ANY_STATE, estimates, CHANGES_MIXED) for number, estimates in rounds.items()}
    elif has_several_rates:
        rounds = {number: _only(OF_ANY_RATE, estimates, RATES_MIXED) for number, estimates in rounds.items()}
    return Measurement(deployment, rounds, without_thin_percentiles(over_rounds([*rounds.values()])))


def _only(keys: Sequence[str], estimates: Estimates, why_not: str) -> dict[str, Estimate]:
    """The estimates with these keys; the others are missing."""
    return {
        key: estimate if key in keys else replace(missing(why_not), n=estimate.n) for key, estimate in estimates.items()
    }


def measure_pass(deployment: Deployment, blank: Blank = NO_BLANK) -> Measurement:
    """A deployment in the single pass.

    Its median is shown however few texts there are: they are all the texts, not a sample of them.
    """
    rounds = {number: summarize(run, blank) for number, run in deployment.single_passes.items()}
    estimates = over_rounds([*rounds.values()])
    return Measurement(deployment, rounds, without_thin_percentiles(estimates) | {"median_ms": estimates["median_ms"]})
