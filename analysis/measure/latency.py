"""How long answers took, and how many came: percentiles, the parts of the time, throughput."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from analysis.measure.quantity import QUANTITIES, Estimate, missing
from analysis.measure.series import throughput_per_second
from analysis.read.runs import Run

ABOVE_PERCENTILE = 100
"""A percentile with fewer requests above it depends on chance."""


def quantiles(values: np.ndarray, asked: Sequence[float], *, is_own: bool = False) -> list[Estimate]:
    """Quantiles of the raw values: exact, not binned, interpolated as NumPy does by default. ``is_own``: the values are
    needed by nobody else, and may be sorted where they are."""
    if len(values) == 0:
        return [missing("no request was answered") for _ in asked]
    which = "sent in the measured phase and answered"
    ordered = values if is_own else values.copy()
    ordered.sort()
    found = np.quantile(ordered, asked, overwrite_input=True)
    return [Estimate(float(value), len(values), "requests", which=which) for value in found]


def median_told(values: np.ndarray, *, is_own: bool = False) -> Estimate:
    """The median of those values that are not missing. ``is_own``: as in ``quantiles``."""
    is_missing = np.isnan(values)
    if is_missing.any():
        values, is_own = values[~is_missing], True
    if not len(values):
        return missing("the service did not say (Server-Timing)")
    return quantiles(values, [0.5], is_own=is_own)[0]


def throughput(run: Run) -> Estimate:
    counts = throughput_per_second(run)
    if counts.empty:
        return missing("the measured phase is shorter than a second")
    which = "that came in the whole seconds of the measured phase"
    return Estimate(float(counts.mean()), int(counts.sum()), "answers", which=which)


def without_thin_percentiles(estimates: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """The estimates without the percentiles that have fewer than 100 requests above them in all rounds together."""
    kept = dict(estimates)
    for key, quantity in QUANTITIES.items():
        estimate = kept.get(key)
        if quantity.quantile is None or estimate is None or not estimate.is_measured:
            continue
        if estimate.n * (1 - quantity.quantile) < ABOVE_PERCENTILE - 1e-6:
            needs = math.ceil(ABOVE_PERCENTILE / (1 - quantity.quantile) - 1e-6)
            reason = f"fewer than {ABOVE_PERCENTILE} of the {estimate.n:,} requests were slower"
            kept[key] = replace(missing(f"{reason}; {needs:,} requests are needed"), n=estimate.n)
    return kept
