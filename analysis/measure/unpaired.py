"""The ratio of one quantity of two experiments. Their rounds are not paired, so it is Welch's t on logarithms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from analysis.measure.quantity import FEWEST_ROUNDS, NAN, Estimate
from analysis.measure.ratios import RESOLUTION
from analysis.measure.rounds import CONFIDENCE, Measurement, t_interval


@dataclass(frozen=True)
class Unpaired:
    """A quantity of the second experiment over that of the first, from the geometric means of their rounds.

    ``low`` and ``high`` bound its 95% interval. ``rounds`` are those of the experiment that has fewer. ``error`` is the
    standard error of the ratio's logarithm, ``freedom`` its degrees of freedom (Welch and Satterthwaite). With fewer
    than two rounds in one of them all but ``ratio`` and ``rounds`` are NaN; with none, ``ratio`` is NaN too.
    """

    ratio: float
    low: float
    high: float
    rounds: int
    error: float
    freedom: float

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval, from rounds enough to show it."""
        return self.rounds >= FEWEST_ROUNDS and not math.isnan(self.low)

    @property
    def p_value(self) -> float:
        """That of the two-sided test for no difference."""
        return 2 * float(special.stdtr(self.freedom, -abs(math.log(self.ratio)) / self.error))

    def p_beyond(self, limit: float, is_rise: bool) -> float:
        """That of the one-sided test for a change that is no larger than ``limit``, a part: 0.1 is 10%. ``is_rise``: it
        is about a rise, otherwise about a fall."""
        beyond = (math.log(self.ratio) - math.log1p(limit)) / self.error
        return float(special.stdtr(self.freedom, -beyond if is_rise else beyond))


def unpaired(first: Mapping[int, float], second: Mapping[int, float]) -> Unpaired:
    """The ratio of two quantities, each given by its value in each round; values of 0 have no logarithm and are left
    out."""
    both = [_logs(rounds) for rounds in (first, second)]
    fewest = min(map(len, both))
    if fewest < 2:
        ratio = math.exp(both[1].mean() - both[0].mean()) if fewest else NAN
        return Unpaired(ratio, NAN, NAN, fewest, NAN, NAN)
    parts = [max(float(logs.var(ddof=1)), RESOLUTION**2) / len(logs) for logs in both]
    freedom = sum(parts) ** 2 / sum(part**2 / (len(logs) - 1) for part, logs in zip(parts, both, strict=True))
    error = math.sqrt(sum(parts))
    difference = float(both[1].mean() - both[0].mean())
    arm = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    low, ratio, high = (math.exp(difference + way * arm) for way in (-1, 0, 1))
    return Unpaired(ratio, low, high, fewest, error, freedom)


def geometric_mean(load: Measurement, key: str) -> Estimate:
    """A quantity over its rounds as the ratio takes it: the geometric mean of their values, and the t interval of their
    logarithms. So the ratio of two experiments is the quotient of two of these. It is the estimate of ``load`` where
    that is missing, or where no round has a value above 0.
    """
    estimate = load.summary[key]
    logs = _logs(load.values(key))
    if not estimate.is_measured or not len(logs):
        return estimate
    value, low, high = (math.exp(log) for log in (logs.mean(), *t_interval(logs)))
    return replace(estimate, value=value, low=low, high=high, rounds=len(logs), is_of_steps=False)


def _logs(rounds: Mapping[int, float]) -> np.ndarray:
    """The logarithms of the values above 0."""
    return np.log([value for value in rounds.values() if value > 0])
