"""The search for the capacity of a deployment: its steps in each round, and the highest rate that meets the objective.

A step in which the load generator did not keep the rate says nothing of the deployment, so it does not count. Nor do
the few requests that the load generator dropped in the other steps: some that are due just as a step ends may be among
them, and the objective may allow one failure in a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from analysis.measure.capacity import NEAR_LOG_RATE, capacities_by_round, capacity, fit
from analysis.measure.others import CLOSE_OTHERS, Others, others_of
from analysis.measure.quantity import CAPACITY, NAN, Estimate, missing
from analysis.measure.rounds import Measurement
from analysis.measure.steps import RoundStep, is_overloaded, measured_blocks
from analysis.read.results import Deployment
from analysis.read.runs import Run
from runfiles.objective import Condition, Objective, Step, read_objective

MOST_BEHIND = 0.25
"""If the load generator did not keep the rate in more than this share of the steps near the limit, the limit may be its
own."""
MORE_GENERATOR = "give the load generator more processes (--set processes=2) or more cores"


@dataclass(frozen=True, eq=False)
class SearchStep:
    """One step of a search. ``block``: its number. ``counts``: what became of its requests. ``told``: the same as the
    estimate of the capacity takes it."""

    block: int
    counts: RoundStep
    told: Step

    @property
    def rate_per_s(self) -> float:
        return self.told.rate_per_s

    def share_missed(self, place: int) -> float:
        """The share of the requests that missed the condition at this place of the objective; NaN if none was due."""
        return self.told.missed[place] / self.told.offered if self.told.offered else NAN


@dataclass(frozen=True, eq=False)
class Search:
    """The steps of one deployment in each round in which it was searched, by the round's number."""

    deployment: Deployment
    objective: Objective
    rounds: Mapping[int, Sequence[SearchStep]]

    @property
    def name(self) -> str:
        return self.deployment.name

    @property
    def title(self) -> str:
        return self.deployment.title

    @cached_property
    def steps(self) -> list[SearchStep]:
        """Those of all rounds."""
        return [step for steps in self.rounds.values() for step in steps]

    @cached_property
    def counted(self) -> dict[int, list[Step]]:
        """The steps that count, in each round."""
        return {number: [step.told for step in steps if step.counts.is_kept] for number, steps in self.rounds.items()}

    @property
    def behind(self) -> list[SearchStep]:
        """The steps that do not count, because the load generator did not keep the rate."""
        return [step for step in self.steps if not step.counts.is_kept]

    @cached_property
    def capacity(self) -> Estimate:
        """In requests per second. If it was not found, ``missing`` says why."""
        found = capacity(self.objective, [*self.counted.values()])
        if found.is_measured:
            return found
        evidence = (found.missing or "").partition(";")[0]
        uncounted = ""
        if self.behind:
            uncounted = (
                f"in {len(self.behind)} of {len(self.steps)} steps the load generator did not keep the rate, so they "
                "do not count. "
            )
            evidence = f"{uncounted}In the others, {evidence}" if any(self.counted.values()) else uncounted.rstrip(". ")
        others = self._others(self.steps)
        if others.took_most and self._may_be_theirs:
            return missing(f"{evidence}; {others.said('steps')}; {CLOSE_OTHERS}")
        if not self.behind:
            return found
        if self._is_reached:
            return missing(f"{uncounted}In the others, {found.missing}, and {MORE_GENERATOR}")
        return missing(f"{evidence}. So the limit may be that of the load generator; {MORE_GENERATOR}")

    @property
    def _may_be_theirs(self) -> bool:
        """Whether other programs may be why no limit was found: not if all steps met the objective."""
        return bool(self.behind) or self._is_reached

    @property
    def _is_reached(self) -> bool:
        """Whether the objective was missed in the highest of the steps that count."""
        counted = (step for steps in self.counted.values() for step in steps)
        highest = max(counted, key=lambda step: step.rate_per_s, default=None)
        return highest is not None and any(
            missed > condition.most_share * highest.offered
            for missed, condition in zip(highest.missed, self.objective.conditions, strict=True)
        )

    @cached_property
    def by_round(self) -> dict[int, float]:
        """The capacity in each round that has one of its own, per second; none if that of all rounds was not found."""
        return capacities_by_round(self.objective, self.counted) if self.capacity.is_measured else {}

    @cached_property
    def limiting(self) -> Condition | None:
        """The condition of the objective that is missed first as the rate rises; None if no limit was found."""
        found = fit(self.objective, [step for steps in self.counted.values() for step in steps])
        return None if isinstance(found, str) else self.objective.conditions[found.place]

    @property
    def near(self) -> list[SearchStep]:
        """The steps at rates close to the capacity, also those that do not count; none if it was not found."""
        value = self.capacity.value
        return [step for step in self.steps if abs(math.log(step.rate_per_s / value)) <= NEAR_LOG_RATE]

    @property
    def behind_near(self) -> list[SearchStep]:
        """Those of ``near`` that do not count."""
        return [step for step in self.near if not step.counts.is_kept]

    @property
    def disturbance(self) -> str:
        """That the limit may be the doing of other programs, as they took the CPU in most of the steps near it or, if
        no limit was found, in most of all; empty if they did not."""
        if not self.capacity.is_measured:
            is_theirs = self._others(self.steps).took_most and self._may_be_theirs
            return f"the capacity was not found, because {self.capacity.missing}" if is_theirs else ""
        others = self._others(self.near)
        if not others.took_most:
            return ""
        return (
            f"{others.said('steps at rates near the limit')}. So this is how much it carries beside them, and not "
            f"its capacity; {CLOSE_OTHERS}"
        )

    def _others(self, steps: Sequence[SearchStep]) -> Others:
        return others_of(step.counts.others_percent for step in steps)

    @property
    def may_be_generators(self) -> bool:
        """Whether the limit may be that of the load generator, although it was found."""
        return len(self.behind_near) > MOST_BEHIND * len(self.near)


def search_of(deployment: Deployment, slo: str) -> Search:
    """The search of a deployment that was measured, for this objective."""
    objective = read_objective(slo)
    return Search(deployment, objective, {number: steps_of(run, objective) for number, run in deployment.loads.items()})


def with_capacity(load: Measurement, search: Search) -> Measurement:
    """The deployment under load, with the capacity that the search found."""
    of = Estimate(NAN, search.capacity.n, search.capacity.of, which=search.capacity.which)
    none = missing("this round has too few steps near the limit")
    rounds = {
        number: {
            **estimates,
            CAPACITY: replace(of, n=len(search.counted[number]), which="that count", value=search.by_round[number])
            if number in search.by_round
            else none,
        }
        for number, estimates in load.rounds.items()
    }
    return Measurement(load.deployment, rounds, {**load.summary, CAPACITY: search.capacity})


def steps_of(run: Run, objective: Objective) -> list[SearchStep]:
    """The steps of one search, in their order."""
    return [
        SearchStep(
            block=int(block["block"]),
            counts=counts,
            told=Step(
                rate_per_s=counts.rate_per_s,
                seconds=counts.length_s,
                offered=counts.due - counts.dropped,
                missed=objective.missed(counts.times_ms.tolist(), counts.lost),
                is_overloaded=is_overloaded(block),
            ),
        )
        for block, counts in measured_blocks(run)
    ]
