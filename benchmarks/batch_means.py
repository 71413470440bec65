"""How precisely a long run of dependent values is known: the interval by batch means.

One wait in a queue depends on the waits before it, so the usual interval would be far too narrow. The run is cut into
``BATCHES`` parts of the same length. They are so long that they hardly depend on each other, and the interval is
Student's, of so many values. Schmeiser (Batch size effects in the analysis of simulation output, Operations Research
30, 1982) shows that between 10 and 30 batches are enough: with more, each batch is too short to be independent, and the
interval gets little narrower.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

BATCHES = 30
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number, and the interval that holds the truth in 95% of all runs."""

    value: float
    low: float
    high: float

    @property
    def half_width_share(self) -> float:
        """Half the width of the interval, as a share of the number; of 0 it is infinite."""
        return (self.high - self.low) / 2 / abs(self.value) if self.value else math.inf


def estimate_mean(values: np.ndarray) -> Estimate:
    """The mean of a run."""
    value = float(np.mean(values))
    arm = _arm(values)
    return Estimate(value, value - arm, value + arm)


def estimate_quantile(values: np.ndarray, share: float) -> Estimate:
    """The value that this share of a run is at most.

    The interval is that of the share itself, read off the run (Woodruff, Confidence intervals for medians and other
    position measures, Journal of the American Statistical Association 47, 1952). So it is right also where the
    distribution has a step or a kink, as that of waits has. A percentile of each batch would not be.
    """
    value = float(np.quantile(values, share))
    arm = _arm(values <= value)
    low, high = np.quantile(values, [max(0.0, share - arm), min(1.0, share + arm)])
    return Estimate(value, float(low), float(high))


def _arm(values: np.ndarray) -> float:
    """Half the width of the interval of the mean. The last values that fill no batch are left out.

    Raises:
        ValueError: there are fewer values than batches.
    """
    size = len(values) // BATCHES
    if not size:
        raise ValueError(f"{len(values)} values are too few for {BATCHES} batches")
    means = values[: size * BATCHES].reshape(BATCHES, size).mean(axis=1)
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, BATCHES - 1) * stats.sem(means))
