"""The cells of a grid: the figures of each deployment in a cell, the shares that missed the objective, and how the
answers per second grow with the replicas.

The interval of a share is that of E. L. Korn and B. I. Graubard (Survey Methodology 24, 1998): Clopper and Pearson's
exact interval, of as many independent requests as tell as much. They are fewer than there are, because the requests of
one round are alike (the design effect, from how the rounds differ), and because few rounds tell little of that effect
(Student's t). If no request missed in any round, there is no such effect to see, and all requests count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from analysis.measure.quantity import FEWEST_ROUNDS, NAN, Estimate, missing
from analysis.measure.ratios import logs_of_values
from analysis.measure.rounds import CONFIDENCE, Measurement, t_interval
from analysis.measure.steps import expected_due, lacking
from analysis.read.grid import Place, family_in, place_of
from analysis.read.runs import Run
from runfiles.grid import GridCell
from runfiles.objective import Objective

ANSWERS = "throughput_per_s"
CARRIED = 0.99
"""A rate is carried if this share of the requests due was answered."""
TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True)
class RoundCounts:
    """What became of the requests of one round.

    ``due``: those of the measured phase; at a rate also those that were not sent or not answered. ``answered``: those
    that were answered rightly. ``missed``: how many missed each condition of the objective; without one it is empty.
    """

    due: int
    answered: int
    missed: tuple[int, ...] = ()


@dataclass(frozen=True)
class CellFigures:
    """One deployment in one cell: its figures under load, and what became of the requests of each round, by its
    number."""

    cell: GridCell
    load: Measurement
    counts: Mapping[int, RoundCounts]

    @property
    def name(self) -> str:
        return self.load.name

    @property
    def family(self) -> str:
        return family_in(self.load.name)

    @property
    def place(self) -> Place:
        return place_of(self.cell)

    @property
    def failures(self) -> Estimate:
        """The share of the requests that failed or, at a rate, were not answered or not sent; a part of 1."""
        return share_missed([(counts.due - counts.answered, counts.due) for counts in self.counts.values()])

    def missed(self, condition: int) -> Estimate:
        """The share of the requests that missed the condition at this place of the objective; a part of 1."""
        return share_missed([(counts.missed[condition], counts.due) for counts in self.counts.values()])

    @property
    def answered_share(self) -> float:
        """The share of the requests due that were answered; NaN if none was due."""
        due = sum(counts.due for counts in self.counts.values())
        return sum(counts.answered for counts in self.counts.values()) / due if due else NAN


def counts_of(run: Run, objective: Objective | None) -> RoundCounts:
    """What became of the requests of one load."""
    answered = run.answered["response_time_ms"].to_numpy()
    due = len(run.measured_requests)
    if run.record.open is not None:
        due += run.record.open.dropped + run.record.open.over_bound + run.record.open.unanswered
        due += lacking(expected_due(run), due)
    missed = () if objective is None else objective.missed(answered.tolist(), due - len(answered))
    return RoundCounts(due, len(answered), missed)


def share_missed(rounds: Sequence[tuple[int, int]]) -> Estimate:
    """The share of requests that missed something, with its 95% interval. ``rounds``: how many did, of how many."""
    told = [(missed, due) for missed, due in rounds if due]
    if not told:
        return missing("no request was measured")
    missed, due = (np.array(counts, dtype=float) for counts in zip(*told, strict=True))
    total, share = float(due.sum()), float(missed.sum() / due.sum())
    estimate = Estimate(share, int(total), "requests", rounds=len(told), which="of the measured phase")
    if len(told) < FEWEST_ROUNDS:
        return estimate
    count = total
    if 0 < share < 1:
        spread = float(((missed - due * share) ** 2 / (due * share * (1 - share))).sum()) / (len(told) - 1)
        few_rounds = special.ndtri(1 - TAIL) / special.stdtrit(len(told) - 1, 1 - TAIL)
        count = total / max(1.0, spread) * float(few_rounds) ** 2
    low, high = exact_interval(share * count, count)
    return replace(estimate, low=low, high=high)


def exact_interval(missed: float, count: float) -> tuple[float, float]:
    """Clopper and Pearson's 95% interval of a share; the counts need not be whole numbers."""
    low = float(special.betaincinv(missed, count - missed + 1, TAIL)) if missed > 0 else 0.0
    high = float(special.betaincinv(missed + 1, count - missed, 1 - TAIL)) if missed < count else 1.0
    return low, high


def why_no_efficiency(figures: CellFigures, one: CellFigures | None) -> str | None:
    """Why the answers of several replicas are not set against those of ``one``, the same with one replica; None if they
    are."""
    cell = figures.cell
    if one is None:
        return "there is no measured cell with 1 replica to compare with"
    if cell.rate is None and cell.users < cell.replicas:
        users = "1 user is" if cell.users == 1 else f"{cell.users:g} users are"
        return f"{users} fewer than {cell.replicas} replicas, so some replica would always be idle"
    if cell.rate is not None and figures.answered_share >= CARRIED:
        return (
            f"at {cell.rate:g} requests/s at least {CARRIED:.0%} of the requests were answered, so the replicas were "
            "not asked for all that they can give; measure a higher rate, or with users"
        )
    return None


def efficiency_caveat(cell: GridCell) -> str:
    """What to know of an efficiency; nothing if there is nothing."""
    if cell.rate is None and cell.users < 2 * cell.replicas:
        return f"only {cell.users:g} users for {cell.replicas} replicas, so a replica may often wait for a request"
    return ""


def times_the_answers(one: CellFigures, several: CellFigures) -> Estimate:
    """How many times the answers per second of ``one`` the other gave: the geometric mean of the rounds' ratios. The
    rounds are paired by their numbers, because those of the cells were interleaved."""
    logs = np.array([*logs_of_values(one.load.values(ANSWERS), several.load.values(ANSWERS)).values()])
    if not len(logs):
        return missing("no round has answers of both")
    low, high = (math.exp(bound) for bound in t_interval(logs))
    return Estimate(math.exp(float(logs.mean())), len(logs), "rounds", low, high, len(logs))


def efficiency(times: Estimate, replicas: int) -> Estimate:
    """The answers per second of so many replicas over as many times those of one; 1: none is lost."""
    if not times.is_measured:
        return times
    return replace(times, value=times.value / replicas, low=times.low / replicas, high=times.high / replicas)
