"""A staircase of rates, of an open workload: what a deployment answered at each rate, and up to which it kept up.

A rate is *answered* in a round if at least 99% of the requests due at it were answered, and the queue did not grow: the
number of unanswered requests did not rise within the step. Else the deployment was *overloaded*, or the load generator
did not keep the rate. That says nothing of the deployment, so such a step is looked over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.measure.offered import due_between
from analysis.measure.others import Others, others_of
from analysis.measure.quantity import NAN, QUANTITIES, Estimate, Estimates, missing
from analysis.measure.rounds import Measurement, over_rounds
from analysis.measure.trend import PARTS, drift, is_steady
from analysis.read.runs import Run
from runfiles.events import LATE_MS, MEASURED, RUN_TIME
from runfiles.rates import GENERATOR_LIMIT, LOST_LIMIT, is_too_high

ANSWERED, OVERLOADED, NOT_KEPT = "answered", "overloaded", "not kept by the load generator"
"""What became of a rate: it was answered; the deployment was overloaded; the load generator did not keep it."""

GROWTH_LIMIT = 0.01
"""The queue grew if it is longer at the end than at the beginning by more than this share of the requests due, and if
it rose steadily: the mean queues of the step's tenths, by Kendall's tau (``trend.is_steady``)."""
FEW = 2
"""So few requests decide nothing, whatever share of a short step they are."""
MOST_SIGMAS = 5.0
"""So many standard deviations of a Poisson count may be lacking of the requests that a rate makes due."""
LEAST_ABOVE = 10
"""A percentile of a step is shown if so many requests of all rounds together were slower."""
QUANTILES = {key: quantity.quantile for key, quantity in QUANTITIES.items() if quantity.quantile is not None}
TOLD = ("rate_per_s", "dropped", "over_bound", "unanswered")
"""The columns of a block that only an open workload has."""
WHICH = "due in the measured part of the step"


@dataclass(frozen=True, eq=False)
class RoundStep:
    """What became of the requests that were due at one rate in one round, in the measured part of its block.

    ``times_ms``: the response times of those that were answered. ``failed``: answered with an error, the first of which
    is ``first_error``. ``late``: sent, but more than 10 ms after they were due. ``dropped``: the load generator did not
    send them. ``over_bound`` and ``unanswered``: as in ``runfiles.events.UNSENT``. ``in_time``: the answers that came
    within the measured part. ``growth``: by how many the unanswered requests were more at its end than at its
    beginning; ``is_growing``: they rose steadily. ``drift``: the share by which response times rose or fell within it
    (None: they did not, or too few to tell). ``others_percent``: the CPU that other programs took (NaN: not known).
    """

    rate_per_s: float
    length_s: float
    times_ms: np.ndarray
    failed: int
    late: int
    dropped: int
    over_bound: int
    unanswered: int
    in_time: int
    growth: int
    is_growing: bool
    drift: float | None
    others_percent: float
    first_error: str

    @property
    def answered(self) -> int:
        return len(self.times_ms)

    @property
    def due(self) -> int:
        return self.answered + self.failed + self.dropped + self.over_bound + self.unanswered

    @property
    def lost(self) -> int:
        """Requests that failed or that the deployment did not answer."""
        return self.failed + self.over_bound + self.unanswered

    @property
    def share_lost(self) -> float:
        """``lost`` as a share of the requests that were answered or lost; 0 if there were none."""
        return self.lost / (self.answered + self.lost) if self.answered + self.lost else 0.0

    @property
    def lost_text(self) -> str:
        """What became of those: ``failed``, ``not answered``, or both."""
        is_failed, is_left = self.failed > 0, self.lost > self.failed
        return "failed or not answered" if is_failed and is_left else "failed" if is_failed else "not answered"

    @property
    def behind(self) -> int:
        """Requests that the load generator sent late, or not at all."""
        return self.late + self.dropped

    @property
    def is_kept(self) -> bool:
        """Whether the load generator kept the rate."""
        return self.behind <= max(FEW, GENERATOR_LIMIT * self.due)

    @property
    def state(self) -> str:
        """One of ``ANSWERED``, ``OVERLOADED`` and ``NOT_KEPT``."""
        if self.lost > max(FEW, LOST_LIMIT * self.due) or self.is_growing:
            return OVERLOADED
        return ANSWERED if self.is_kept else NOT_KEPT


@dataclass(frozen=True, eq=False)
class Step:
    """One rate of one deployment over the rounds in which it was measured, by their numbers; at least one.

    ``estimates``: percentiles, of all requests due but the dropped ones (one that was not answered counts as slower
    than all others), and throughput: means over the rounds, with their intervals.
    """

    rate_per_s: float
    rounds: Mapping[int, RoundStep]
    estimates: Estimates

    def total(self, name: str) -> int:
        """The sum over the rounds of one of the counts of ``RoundStep``."""
        return sum(getattr(step, name) for step in self.rounds.values())

    def share(self, name: str) -> float:
        """A count as a share of the requests due; NaN if none was due."""
        due = self.total("due")
        return self.total(name) / due if due else NAN

    def rounds_in(self, state: str) -> int:
        """In how many rounds it had this state."""
        return sum(step.state == state for step in self.rounds.values())

    @property
    def state(self) -> str:
        """The state of most rounds; of two that are as frequent, the worse one."""
        return max((OVERLOADED, NOT_KEPT, ANSWERED), key=self.rounds_in)

    @property
    def drifts(self) -> list[float]:
        """The drift of each round that has one."""
        return [step.drift for step in self.rounds.values() if step.drift is not None]

    @property
    def others(self) -> Others:
        """What other programs took in its rounds."""
        return others_of(step.others_percent for step in self.rounds.values())

    @property
    def first_error(self) -> str:
        """Why the first request that failed did so; empty if none did."""
        return next((step.first_error for step in self.rounds.values() if step.first_error), "")


@dataclass(frozen=True, eq=False)
class Staircase:
    """The steps of one deployment, from the lowest rate on. ``highest_planned_per_s``: the highest rate of the plan."""

    measurement: Measurement
    steps: Sequence[Step]
    highest_planned_per_s: float

    @property
    def name(self) -> str:
        return self.measurement.name

    @property
    def title(self) -> str:
        return self.measurement.title

    @cached_property
    def knees_per_s(self) -> dict[int, float]:
        """Of each round, by its number: the highest rate that was answered, below the first at which the deployment was
        overloaded; 0: none was. A rate that the load generator did not keep is looked over."""
        found: dict[int, float] = {}
        over: set[int] = set()
        for step in self.steps:
            for number, own in step.rounds.items():
                found.setdefault(number, 0.0)
                if own.state == OVERLOADED:
                    over.add(number)
                elif own.state == ANSWERED and number not in over:
                    found[number] = step.rate_per_s
        return found

    @property
    def knee_per_s(self) -> float:
        """The highest rate that was answered in most rounds; 0: not even the lowest was. It is the median of those of
        the rounds, the lower one if there are two."""
        in_order = sorted(self.knees_per_s.values())
        return in_order[(len(in_order) - 1) // 2]

    @property
    def knee(self) -> Step | None:
        """The step at ``knee_per_s``; None if not even the lowest rate was answered."""
        return next((step for step in self.steps if step.rate_per_s == self.knee_per_s), None)

    @property
    def next(self) -> Step | None:
        """The first step above the knee; None if none was measured."""
        return next((step for step in self.steps if step.rate_per_s > self.knee_per_s), None)

    @property
    def reaching(self) -> int:
        """In how many rounds the knee was at this rate or at a higher one."""
        return sum(knee >= self.knee_per_s for knee in self.knees_per_s.values())

    @property
    def agreeing(self) -> int:
        """In how many rounds the knee was at the same rate."""
        return sum(knee == self.knee_per_s for knee in self.knees_per_s.values())

    @property
    def is_reached(self) -> bool:
        """Whether the limit was reached: a higher rate was not answered, or, as the deployment was overloaded, not even
        measured."""
        return self.knee_per_s < self.highest_planned_per_s


def staircase(load: Measurement, planned_per_s: Sequence[float]) -> Staircase | None:
    """The steps of a deployment's loads, which came in blocks at the rates of the plan; None if these are not several,
    or no block was measured."""
    if len(planned_per_s) < 2:
        return None
    by_rate: dict[float, dict[int, RoundStep]] = {}
    for number, run in load.deployment.loads.items():
        for step in round_steps(run):
            by_rate.setdefault(step.rate_per_s, {})[number] = step
    steps = [Step(rate, by_rate[rate], _estimates(by_rate[rate])) for rate in sorted(by_rate)]
    return Staircase(load, steps, max(planned_per_s)) if steps else None


def round_steps(run: Run) -> list[RoundStep]:
    """A step for each measured block of a load in blocks, each of which had a rate of its own, from the lowest on."""
    return sorted((step for _, step in measured_blocks(run)), key=lambda step: step.rate_per_s)


def measured_blocks(run: Run) -> list[tuple[pd.Series, RoundStep]]:
    """Each measured block of a load in blocks at a rate, as it is in the file, and what became of the requests that
    were due in it; in the order of time. A block that does not say its rate, or what was not sent at it, is none."""
    recorded = run.as_recorded
    measured = recorded.blocks[(recorded.blocks["phase"] == MEASURED).to_numpy()].dropna(subset=[*TOLD])
    measured = measured[(measured["measured_to_unix_s"] > measured["measured_from_unix_s"]).to_numpy()]
    requests = dict(iter(recorded.requests.groupby("block")))
    nothing = recorded.requests.iloc[:0]
    blocks = [block for _, block in measured.iterrows()]
    return [(block, _round_step(block, requests.get(block["block"], nothing))) for block in blocks]


def is_overloaded(block: pd.Series) -> bool:
    """Whether a block shows, as the load generator judges it, that the deployment can't answer its rate."""
    return is_too_high(
        measured_s=float(block["measured_to_unix_s"] - block["measured_from_unix_s"]),
        waited_s=float(block["ended_at_unix_s"] - block["measured_to_unix_s"]),
        left=float(block[["over_bound", "unanswered"]].sum()),
    )


def lacking(expected: float, due: int) -> int:
    """How many requests are lacking of those that a rate makes due in a while; 0 if chance explains it. The load
    generator was so far behind that it had not even counted them when the while ended."""
    return round(expected - due) if expected - due > MOST_SIGMAS * math.sqrt(max(1.0, expected)) else 0


def expected_due(run: Run) -> float:
    """How many requests of one rate should have been due in the measured phase; 0 if the run does not say how long it
    was."""
    if run.axis is not None:
        return next(iter(run.rates_per_s), 0.0) * float(run.axis.lengths_s.sum())
    if run.record.ended_by == RUN_TIME and run.record.run_time_s is not None:
        return due_between(run, 0.0, max(0.0, run.record.run_time_s - run.record.warm_up_s))
    return 0.0


def _round_step(block: pd.Series, requests: pd.DataFrame) -> RoundStep:
    """``requests``: all of the block, also those that were due before or after its measured part."""
    start, end, rate = (float(block[key]) for key in ("measured_from_unix_s", "measured_to_unix_s", "rate_per_s"))
    dropped, over_bound, unanswered = (int(block[key]) for key in ("dropped", "over_bound", "unanswered"))
    own = requests[(requests["phase"] == MEASURED).to_numpy()]
    is_answered = (own["error"] == "").to_numpy()
    due = len(own) + dropped + over_bound + unanswered
    dropped += lacking(rate * (end - start), due)
    began = requests["started_at_unix_s"].to_numpy()
    ended = began + requests["response_time_ms"].to_numpy() / 1000
    edges = np.linspace(start, end, PARTS + 1)
    queues = [_mean_queue(began, ended, *edges[place : place + 2]) for place in range(PARTS)]
    growth = _queue_at(end, began, ended) - _queue_at(start, began, ended) + unanswered
    is_in_time = (ended >= start) & (ended < end) & (requests["error"] == "").to_numpy()
    times = own["response_time_ms"].to_numpy()[is_answered]
    return RoundStep(
        rate_per_s=rate,
        length_s=end - start,
        times_ms=times,
        failed=int((~is_answered).sum()),
        late=int((own["send_delay_ms"] > LATE_MS).sum()),
        dropped=dropped,
        over_bound=over_bound,
        unanswered=unanswered,
        in_time=int(is_in_time.sum()),
        growth=growth,
        is_growing=growth > max(FEW, GROWTH_LIMIT * due) and _is_rising(np.array(queues)),
        drift=drift(own["started_at_unix_s"].to_numpy()[is_answered], times, (start, end)),
        others_percent=float(block["others_cpu_percent"]),
        first_error=str(own["error"].to_numpy()[~is_answered][0]) if not is_answered.all() else "",
    )


def _queue_at(at_unix_s: float, began: np.ndarray, ended: np.ndarray) -> int:
    """How many requests were due and not answered at a moment."""
    return int(((began <= at_unix_s) & (ended > at_unix_s)).sum())


def _mean_queue(began: np.ndarray, ended: np.ndarray, start_unix_s: float, end_unix_s: float) -> float:
    """How many requests were due and not answered, in the mean over a while."""
    waited_s = np.clip(np.minimum(ended, end_unix_s) - np.maximum(began, start_unix_s), 0, None)
    return float(waited_s.sum() / (end_unix_s - start_unix_s))


def _is_rising(queues: np.ndarray) -> bool:
    return bool(queues[-1] > queues[0]) and is_steady(queues)


def _estimates(rounds: Mapping[int, RoundStep]) -> dict[str, Estimate]:
    """Percentiles and throughput of a rate over its rounds, by their numbers. A percentile that one round lacks is
    missing, as the mean of the others would be that of other requests than those of the row."""
    each = {number: _percentiles(step) | {"throughput_per_s": _throughput(step)} for number, step in rounds.items()}
    found = over_rounds([*each.values()])
    for key, quantile in QUANTILES.items():
        lacking_in = [number for number, own in each.items() if not own[key].is_measured]
        n = sum(own[key].n for own in each.values())
        if lacking_in:
            worst = max(lacking_in, key=lambda number: rounds[number].share_lost)
            where = f" in round {worst}" if len(rounds) > 1 else ""
            found[key] = replace(missing(f"{each[worst][key].missing}{where}"), n=n)
        elif n * (1 - quantile) < LEAST_ABOVE - 1e-6:
            found[key] = replace(missing(f"fewer than {LEAST_ABOVE} were slower"), n=n)
    return found


def _percentiles(step: RoundStep) -> dict[str, Estimate]:
    """Of all requests that were sent, or would have been but for the bound. One that failed or was not answered is
    slower than all that were, so a percentile that falls on it is missing."""
    n = step.answered + step.lost
    if not step.answered:
        return dict.fromkeys(QUANTILES, replace(missing("no request was answered"), n=n))
    times = np.concatenate([step.times_ms, np.full(step.lost, np.inf)])
    values = np.quantile(np.sort(times), [*QUANTILES.values()], method="inverted_cdf" if step.lost else "linear")
    why = f"{step.share_lost:.1%} {step.lost_text}"
    return {
        key: Estimate(float(value), n, "requests", which=WHICH) if np.isfinite(value) else replace(missing(why), n=n)
        for key, value in zip(QUANTILES, values, strict=True)
    }


def _throughput(step: RoundStep) -> Estimate:
    which = "that came in the measured part of the step"
    return Estimate(step.in_time / step.length_s, step.in_time, "answers", which=which)
