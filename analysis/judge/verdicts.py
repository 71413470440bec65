"""Which differences are real: ratios of paired rounds with their intervals, and a verdict on each pair of deployments.

The deployments of a round ran one after another, or the load visited them by turns in short blocks, so what slowed the
machine in that round slowed both. Each ratio is therefore taken within a round, and of blocks within a cycle of visits
(``analysis.measure.ratios``). The interval comes only from how these ratios differ from round to round: requests of
the same round are not independent. docs/statistics.md gives the reasons and the measurements behind them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from analysis.judge.comparability import Unlike, why_unlike
from analysis.judge.doubts import Validity
from analysis.measure.quantity import CAPACITY, FEWEST_ROUNDS, NAN, QUANTITIES
from analysis.measure.ratios import RESOLUTION, log_ratios, references
from analysis.measure.rounds import CONFIDENCE, Measurement, t_interval
from runfiles.machines import EngineElsewhere

ALPHA = 1 - CONFIDENCE
JUDGED = ("median_ms", "p95_ms")
"""The quantities on which there are verdicts. Throughput has none: in a closed workload it mirrors response time, in an
open one it is the rate."""
NAMES = {"median_ms": "median", "p95_ms": "p95", CAPACITY: "capacity"}
MAIN = ("median_ms", CAPACITY)
"""The quantity that a pair is mainly judged by: the median or, in a search for the capacity, that."""

POWER = 0.8
WORTH_SHOWING = (0.05, 0.1, 0.2, 0.5)
MOST_ROUNDS = 50
"""No more rounds are suggested, unless so many would not even be enough to detect a difference of 50%."""

SLOWER, FASTER, UNPROVEN, NONE = "slower", "faster", "no difference proven", "no verdict"
CARRIES_LESS, CARRIES_MORE = "carries less", "carries more"
PROVEN = (SLOWER, FASTER, CARRIES_LESS, CARRIES_MORE)
ONE_ROUND = "one round is not enough"


@dataclass(frozen=True)
class Comparison:
    """One quantity of a deployment, the subject, over the same of another, the baseline.

    ``ratio`` is the geometric mean of the paired rounds' ratios. ``low`` and ``high`` bound its 95% interval (NaN with
    fewer than two rounds). ``spread`` is the standard deviation of the logarithms of the ratios. ``p_value`` is the t
    test's for no difference. ``is_of_steps``: the interval comes from how the steps of a capacity search differ, and
    there is neither spread nor p-value.
    """

    ratio: float
    low: float
    high: float
    rounds: int
    spread: float
    p_value: float
    is_of_steps: bool = False

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval, from steps, or from rounds enough to show it."""
        return (self.is_of_steps or self.rounds >= FEWEST_ROUNDS) and not math.isnan(self.low)

    @property
    def half_width_percent(self) -> float:
        """By how many % the ratio may be off, by its interval; NaN without one."""
        return math.expm1((math.log(self.high) - math.log(self.low)) / 2) * 100 if self.has_interval else NAN


@dataclass(frozen=True)
class Verdict:
    """What can be said of ``subject`` against ``baseline``.

    ``p_value`` is the comparison's, after Holm's correction for all that are judged together. ``detail`` says why there
    is no verdict, or how many rounds would be enough. ``unlike`` says why the two may not be compared; if they ran on
    two machines, there is no ratio either. ``shows_ratio``: the ratio may be read, although there may be no verdict. It
    may not if one of the two is not valid, or has too few requests for the quantity.
    """

    baseline: Measurement
    subject: Measurement
    key: str
    comparison: Comparison
    kind: str
    p_value: float
    detail: str
    unlike: Unlike | None = None
    shows_ratio: bool = True

    @property
    def is_elsewhere(self) -> bool:
        """Whether the two ran on two machines."""
        return self.unlike is not None and self.unlike.elsewhere is not None

    @property
    def id(self) -> str:
        return f"{self.key}-{self.subject.name}-{self.baseline.name}"


def compare(baseline: Measurement, subject: Measurement, key: str, loads: Sequence[Measurement] = ()) -> Comparison:
    """The ratio of one quantity of two deployments, from the rounds in which both were measured and neither is 0.
    ``loads``: all deployments, of which one may be the reference of both."""
    return from_logs(np.array([*log_ratios(baseline, subject, key, loads).values()]))


def from_logs(logs: np.ndarray) -> Comparison:
    """A comparison from the logarithm of each round's ratio."""
    if len(logs) == 0:
        return Comparison(NAN, NAN, NAN, 0, NAN, NAN)
    ratio = float(np.exp(logs.mean()))
    if len(logs) == 1:
        return Comparison(ratio, NAN, NAN, 1, NAN, NAN)
    low, high = t_interval(logs)
    spread = max(float(logs.std(ddof=1)), RESOLUTION)
    p_value = 2 * special.stdtr(len(logs) - 1, -abs(logs.mean()) / spread * math.sqrt(len(logs)))
    return Comparison(ratio, math.exp(low), math.exp(high), len(logs), spread, float(p_value))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values after Holm's correction (S. Holm, 1979): it bounds the chance of any false difference among all."""
    adjusted = [NAN] * len(p_values)
    told = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    largest = 0.0
    for rank, (p, place) in enumerate(told):
        largest = max(largest, min(1.0, p * (len(told) - rank)))
        adjusted[place] = largest
    return adjusted


def judge(
    loads: Sequence[Measurement],
    validity: Validity,
    elsewhere: EngineElsewhere | None = None,
    keys: Sequence[str] = JUDGED,
    compared: Callable[[Measurement, Measurement], Comparison] | None = None,
) -> list[Verdict]:
    """A verdict on each pair of deployments and each quantity in ``keys``, those against the first deployment first.

    A pair that ran under unlike circumstances, or of which one or the reference of both is invalid, gets none and takes
    no part in the correction.
    ``elsewhere``: the engine, where it ran on another machine than the host process. ``compared``: how a pair is
    compared, if not by ``compare``.
    """
    found = []
    for key in keys:
        for baseline, subject in itertools.combinations(loads, 2):
            unlike = why_unlike(baseline.deployment, subject.deployment, elsewhere)
            is_apart = unlike is not None and unlike.elsewhere is not None
            comparison = (
                from_logs(np.array([]))
                if is_apart
                else (compare(baseline, subject, key, loads) if compared is None else compared(baseline, subject))
            )
            why_hidden = str(unlike) if unlike else _why_hidden(baseline, subject, key, validity, loads)
            refused = why_hidden or _why_too_few(comparison)
            found.append((baseline, subject, key, comparison, unlike, why_hidden is None, refused))
    adjusted = holm([NAN if refused else comparison.p_value for *_, comparison, _, _, refused in found])
    judged = sum(not math.isnan(p) for p in adjusted)
    return [
        _verdict(baseline, subject, key, comparison, p, judged)
        if refused is None
        else Verdict(baseline, subject, key, comparison, NONE, NAN, refused, unlike, shows_ratio)
        for (baseline, subject, key, comparison, unlike, shows_ratio, refused), p in zip(found, adjusted, strict=True)
    ]


def _why_too_few(comparison: Comparison) -> str | None:
    """Why there are not rounds enough for a verdict; None if there are."""
    if comparison.rounds < 2:
        return ONE_ROUND
    return f"{comparison.rounds} rounds are not enough for the capacity" if comparison.is_of_steps else None


def against_first(verdicts: Sequence[Verdict]) -> dict[str, Verdict]:
    """The verdict on each deployment's median, or capacity, by its name: against the first deployment or, if that ran
    on another machine, against the first that did not."""
    found: dict[str, Verdict] = {}
    for verdict in verdicts:
        known = found.get(verdict.subject.name)
        if verdict.key in MAIN and (known is None or (known.is_elsewhere and not verdict.is_elsewhere)):
            found[verdict.subject.name] = verdict
    return found


def _why_hidden(
    baseline: Measurement, subject: Measurement, key: str, validity: Validity, loads: Sequence[Measurement]
) -> str | None:
    """Why not even the ratio of two deployments may be read; None if it may."""
    titles = [validity.of(measurement.name)[:1] for measurement in (subject, baseline)]
    if all(titles):
        why = dict.fromkeys(doubt.title for (doubt,) in titles)
        return f"neither measurement is valid: {'; '.join(why)}"
    for measurement, doubts in zip((subject, baseline), titles, strict=True):
        for doubt in doubts:
            return f"the measurement of {measurement.title} is not valid: {doubt.title}"
    for measurement in (subject, baseline):
        if not measurement.summary[key].is_measured:
            return measurement.summary[key].missing
    for reference in references(baseline, subject, loads):
        for doubt in validity.of(reference.name)[:1]:
            return f"the measurement of {reference.title}, through which they are compared, is not valid: {doubt.title}"
    return None


def _verdict(
    baseline: Measurement, subject: Measurement, key: str, found: Comparison, p_value: float, judged: int
) -> Verdict:
    if p_value < ALPHA:
        is_worse = (found.ratio > 1) == (QUANTITIES[key].worse > 0)
        worse, better = (CARRIES_LESS, CARRIES_MORE) if key == CAPACITY else (SLOWER, FASTER)
        kind = worse if is_worse else better
        return Verdict(baseline, subject, key, found, kind, p_value, "")
    return Verdict(
        baseline, subject, key, found, UNPROVEN, p_value, what_would_show(found.spread, found.rounds, judged)
    )


def what_would_show(spread: float, rounds: int, judged: int) -> str:
    """How many more rounds would be enough to detect a difference, and which: the smallest of 5, 10, 20 and 50% that 50
    rounds detect with a power of 80%."""
    shown, needed = WORTH_SHOWING[-1], 0
    for shown in WORTH_SHOWING:
        needed = rounds_needed(spread, math.log1p(shown), ALPHA / max(1, judged))
        if needed <= max(MOST_ROUNDS, rounds):
            break
    if needed <= rounds:
        return f"a difference of {shown:.0%} would very likely have been detected"
    more = needed - rounds
    rounds_more = f"{more:,} more round{'s' if more > 1 else ''} ({needed:,} in total)"
    return f"{rounds_more} would be enough to detect a difference of {shown:.0%}"


def rounds_needed(spread: float, difference: float, alpha: float) -> int:
    """How many paired rounds detect a ``difference`` of logarithms with a power of 80%, at this ``alpha``.

    The usual approximation by two quantiles of Student's t; at most 10,000.
    """
    rounds = np.unique(np.geomspace(2, 10_000, 2000).astype(int))
    reach = special.stdtrit(rounds - 1, 1 - alpha / 2) + special.stdtrit(rounds - 1, POWER)
    enough = difference * np.sqrt(rounds) >= spread * reach
    return int(rounds[enough.argmax()]) if enough.any() else int(rounds[-1])
