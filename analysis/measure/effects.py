"""What each planned change did to each deployment, over the rounds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.measure.quantity import NAN, Estimate, missing
from analysis.measure.recovery import Recovery, recoveries
from analysis.measure.rounds import Measurement, mean_over_rounds
from runfiles.lines import is_alike
from runfiles.records import ChangeRecord

WHICH = "in which it came to pass"


@dataclass(frozen=True)
class Figure:
    """A time over the rounds. ``estimate``: of the rounds in which it came to pass, n is their number. ``never``: in
    how many rounds it did not before the span ended; ``asked``: these and those in which it did."""

    estimate: Estimate
    never: int
    asked: int


@dataclass(frozen=True, eq=False)
class Effect:
    """One change of one deployment. ``number``: its place in the plan, from 1; ``rounds``: what it did in each round in
    which it was made, by the number of the round; at least one. ``of``: how many changes the plan has."""

    measurement: Measurement
    number: int
    planned: ChangeRecord
    rounds: Mapping[int, Recovery]
    of: int

    @property
    def name(self) -> str:
        return self.measurement.name

    @property
    def title(self) -> str:
        return self.measurement.title

    def total(self, key: str) -> int:
        """The sum over the rounds of one of the counts of ``Recovery``."""
        return sum(getattr(recovery, key) for recovery in self.rounds.values())

    def unsent(self, key: str) -> int:
        """The sum over the rounds of one of the counts of ``Recovery.unsent``."""
        return sum(recovery.unsent[key] for recovery in self.rounds.values())

    @property
    def errors(self) -> list[tuple[str, int]]:
        """How many requests failed with each error, the most frequent first. Those that differ only in an address or a
        time are one."""
        counts: Counter[str] = Counter()
        for recovery in self.rounds.values():
            for error, count in recovery.errors.items():
                counts[next((known for known in counts if is_alike(known, error)), error)] += count
        return counts.most_common()

    @property
    def latency_limit_ms(self) -> float:
        """Up to which median a second is as before, in the mean over the rounds in which that is known; else NaN."""
        told = [own.latency_limit_ms for own in self.rounds.values() if not math.isnan(own.latency_limit_ms)]
        return sum(told) / len(told) if told else NAN

    @property
    def down(self) -> int:
        """In how many rounds nothing was answered at the end of the span."""
        return sum(recovery.is_down for recovery in self.rounds.values())

    def figure(self, key: str) -> Figure:
        """One of ``recovery.TIMES``."""
        outcomes = [recovery.times[key] for recovery in self.rounds.values()]
        told = [Estimate(each.value, 1, "rounds", which=WHICH) for each in outcomes if each.is_told]
        never = sum(each.is_never for each in outcomes)
        if told:
            return Figure(mean_over_rounds(told), never, len(told) + never)
        why = next((each.missing for each in outcomes if each.missing), "")
        return Figure(missing("" if never else why), never, never)


@dataclass(frozen=True, eq=False)
class Drawn:
    """The round of a deployment that the page draws."""

    measurement: Measurement
    number: int
    recoveries: Sequence[Recovery]


def effects_of(loads: Sequence[Measurement], planned: Sequence[ChangeRecord]) -> tuple[Effect, ...]:
    """The changes of all deployments, those of one after another; a change that was made in no round is left out."""
    found = []
    for load in loads:
        by_number: dict[int, dict[int, Recovery]] = {}
        for number, run in load.deployment.loads.items():
            for recovery in recoveries(run):
                by_number.setdefault(recovery.change.number, {})[number] = recovery
        for place, change in enumerate(planned, 1):
            if place in by_number:
                found.append(Effect(load, place, change, by_number[place], len(planned)))
    return tuple(found)


def drawn_of(effects: Sequence[Effect]) -> tuple[Drawn, ...]:
    """Of each deployment the median round: by when requests were served without errors again, then by those lost."""
    found = []
    for load in {effect.name: effect.measurement for effect in effects}.values():
        own = [effect for effect in effects if effect.name == load.name]
        numbers = sorted({number for effect in own for number in effect.rounds})
        by_round = {number: [each.rounds[number] for each in own if number in each.rounds] for number in numbers}
        in_order = sorted(numbers, key=lambda number: _badness(by_round[number]))
        median = in_order[(len(in_order) - 1) // 2]
        found.append(Drawn(load, median, by_round[median]))
    return tuple(found)


def _badness(own: Sequence[Recovery]) -> tuple[float, int]:
    ends = [recovery.times["served_again_s"] for recovery in own]
    return sum(math.inf if end.is_never else end.value for end in ends), sum(recovery.lost for recovery in own)
