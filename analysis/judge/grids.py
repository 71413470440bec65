"""The verdicts on the cells of a grid: which meet the objective, which of those are cheapest, how well they scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.judge.across import why_other_circumstances
from analysis.judge.check_open import OVERLOAD
from analysis.judge.doubts import Doubt
from analysis.measure.grid import (
    CellFigures,
    efficiency,
    efficiency_caveat,
    times_the_answers,
    why_no_efficiency,
)
from analysis.measure.quantity import FEWEST_ROUNDS, Estimate, missing
from analysis.read.results import Results
from runfiles.deployments import HOST
from runfiles.grid import GridCell
from runfiles.objective import Objective

MEETS, MISSES, NOT_PROVEN = "meets it", "misses it", "not proven"
BY_OVERLOAD = (OVERLOAD, "trend", "errors")
"""The kinds of doubts that a service causes which gets more requests than it can answer. If it is overloaded, and there
is no other doubt, its cell misses the objective, although its percentiles must not be used."""
OF_FULL_LOAD = (OVERLOAD, "trend")
"""The kinds of doubts that say nothing against the answers per second of a service that is overloaded."""
OF_PERCENTILES = "few requests"
"""The kind of doubt that is about percentiles only: answers per second have an interval of their own."""
DIGITS = 9
"""Cores are rounded to so many digits: 3 times 0.1 is then 0.3."""

Load = tuple[float | None, float | None]
"""Users (None at a rate), rate."""


@dataclass(frozen=True)
class CellOfFamily:
    """One deployment in one cell with its figures, and what makes them invalid.

    ``results``: its experiment, of which only the records are left. ``state``: one of ``MEETS``, ``MISSES`` and
    ``NOT_PROVEN``; empty without an objective. ``missed``: the share that missed each condition. ``why``: the reason of
    the state in a few words.
    """

    figures: CellFigures
    results: Results
    invalid: tuple[Doubt, ...]
    state: str = ""
    missed: tuple[Estimate, ...] = ()
    why: str = ""

    @property
    def cell(self) -> GridCell:
        return self.figures.cell

    @property
    def family(self) -> str:
        return self.figures.family

    @property
    def is_valid(self) -> bool:
        return not self.invalid

    @property
    def tells_answers(self) -> bool:
        """Whether its answers per second may be used: nothing is wrong but that it is overloaded, or that there are too
        few requests for percentiles."""
        kinds = {doubt.kind for doubt in self.invalid} - {OF_PERCENTILES}
        return not kinds or (OVERLOAD in kinds and kinds <= set(OF_FULL_LOAD))

    @property
    def is_candidate(self) -> bool:
        """Whether it may be the cheapest: the host process has no limits, so it has no cost either."""
        return self.figures.name != HOST


@dataclass(frozen=True)
class Efficiency:
    """How several replicas compare with one: ``times`` the answers per second, and as a part of ``replicas`` times as
    many. ``caveat`` is empty if there is nothing to know."""

    subject: CellOfFamily
    times: Estimate
    efficiency: Estimate
    caveat: str = ""

    @property
    def replicas(self) -> int:
        return self.subject.cell.replicas


@dataclass(frozen=True)
class Cheapest:
    """The cheapest cells that meet the objective under one load; none if none is proven to. ``may_be``: those that are
    cheaper, and may meet it too."""

    load: Load
    found: tuple[CellOfFamily, ...]
    may_be: tuple[CellOfFamily, ...]
    others: tuple[CellOfFamily, ...]


def load_of(cell: GridCell) -> Load:
    """The load of a cell."""
    return (None, cell.rate) if cell.rate is not None else (cell.users, None)


def cost_of(cell: GridCell) -> tuple[float, float, int, int]:
    """What cells are ordered by, from the cheapest on: the cores of all replicas (without a limit as many as there are,
    so only the replicas count), their memory in MiB, and their number."""
    cores = math.inf if cell.cpus is None else round(cell.replicas * cell.cpus, DIGITS)
    return cores, cell.replicas if cell.cpus is None else 0, cell.replicas * cell.memory_mb, cell.replicas


def with_objective(own: CellOfFamily, objective: Objective | None) -> CellOfFamily:
    """The same with its verdict on the objective."""
    if objective is None:
        return own
    kinds = {doubt.kind for doubt in own.invalid}
    missed = tuple(own.figures.missed(place) for place in range(len(objective.conditions)))
    if OVERLOAD in kinds and kinds <= set(BY_OVERLOAD):
        return replace(own, state=MISSES, missed=missed, why="it is overloaded")
    if own.invalid:
        return replace(own, state=NOT_PROVEN, missed=missed, why=f"not valid: {own.invalid[0].title}")
    state, why = _state(objective, missed)
    return replace(own, state=state, missed=missed, why=why)


def _state(objective: Objective, missed: Sequence[Estimate]) -> tuple[str, str]:
    both = [*zip(objective.conditions, missed, strict=True)]
    if failed := [condition.text for condition, share in both if share.low > condition.most_share]:
        return MISSES, f"{' and '.join(failed)} {'is' if len(failed) == 1 else 'are'} missed"
    if all(share.high < condition.most_share for condition, share in both):
        return MEETS, ""
    if not all(share.has_interval for share in missed):
        rounds = max(share.rounds for share in missed)
        said = "1 round gives" if rounds == 1 else f"{rounds} rounds give"
        return NOT_PROVEN, f"{said} no interval; measure at least {FEWEST_ROUNDS}"
    open_ = [condition.text for condition, share in both if not share.high < condition.most_share]
    return NOT_PROVEN, f"{' and '.join(open_)}: the interval contains the allowed share; more rounds would tell"


def cheapest(cells: Sequence[CellOfFamily]) -> list[Cheapest]:
    """For each load the cheapest cells that meet the objective, those of all families together."""
    found = []
    for load in dict.fromkeys(load_of(each.cell) for each in cells):
        own = sorted(
            (each for each in cells if load_of(each.cell) == load and each.is_candidate),
            key=lambda each: cost_of(each.cell),
        )
        met = [each for each in own if each.state == MEETS]
        least = cost_of(met[0].cell) if met else None
        best = tuple(each for each in met if cost_of(each.cell) == least)
        may_be = tuple(
            each for each in own if each.state == NOT_PROVEN and (least is None or cost_of(each.cell) < least)
        )
        found.append(Cheapest(load, best, may_be, tuple(own)))
    return found


def efficiencies(cells: Sequence[CellOfFamily]) -> list[Efficiency]:
    """Of each cell with several replicas, against the same with one."""
    ones: dict[tuple[object, ...], CellOfFamily] = {}
    for each in cells:
        if each.cell.replicas == 1:
            ones.setdefault(_line(each), each)
    return [_efficiency(each, ones.get(_line(each))) for each in cells if each.cell.replicas > 1]


def _line(own: CellOfFamily) -> tuple[object, ...]:
    """What cells have in common that differ in their replicas only."""
    return own.family, *own.figures.place[1:]


def _efficiency(own: CellOfFamily, one: CellOfFamily | None) -> Efficiency:
    reason = why_no_efficiency(own.figures, None if one is None else one.figures)
    if reason is not None or one is None:
        return Efficiency(own, missing(str(reason)), missing(str(reason)))
    times = _times(one, own)
    caveat = efficiency_caveat(own.cell) if times.is_measured else ""
    return Efficiency(own, times, efficiency(times, own.cell.replicas), caveat)


def _times(one: CellOfFamily, own: CellOfFamily) -> Estimate:
    for each, which in ((own, "it"), (one, "the cell with 1 replica")):
        if not each.tells_answers:
            return missing(f"{which} is not valid: {each.invalid[0].title}")
    if refused := why_unlike_cells(one, own):
        return missing(refused)
    return times_the_answers(one.figures, own.figures)


def why_unlike_cells(one: CellOfFamily, other: CellOfFamily) -> str | None:
    """Why two cells that should differ in their replicas only are not compared; None if they are."""
    before, after = (each.figures.load.deployment for each in (one, other))
    found = why_other_circumstances(before, after, one.results, other.results)
    if found is None and len(images_of([one, other])) > 1:
        return "not compared: they ran different images"
    return found


def images_of(cells: Sequence[CellOfFamily]) -> Mapping[str, None]:
    """The IDs of the images that the containers of cells ran."""
    images = (each.figures.load.deployment.image for each in cells)
    return dict.fromkeys(image.id for image in images if image is not None and image.id)
