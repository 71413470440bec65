"""What a grid shows, in plain words: the cheapest cell that meets the objective, and how well replicas scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.judge import words
from analysis.judge.findings import Finding, Number, Part
from analysis.judge.grid_words import (
    Namer,
    cpus,
    figure,
    load,
    no_interval,
    replicas,
    way,
    ways,
    with_interval,
)
from analysis.judge.grids import MISSES, NOT_PROVEN, CellOfFamily, Cheapest, Efficiency, cost_of, load_of
from analysis.measure.grid import ANSWERS
from analysis.measure.quantity import FEWEST_ROUNDS
from analysis.read.grid import family_in
from runfiles.deployments import HOST, family_title
from runfiles.grid import GridCell
from runfiles.objective import Objective

MOST_LINES = 4
"""So many sentences on the scaling of one family are findings; the table has all."""

Unmeasured = tuple[GridCell, str]
"""A cell and the name of a deployment in it that was not measured."""


def anchor(own: CellOfFamily, table: str) -> str:
    """The anchor of a cell's row in one of the page's tables."""
    return f"{table}-{own.cell.folder}-{own.figures.name}"


def grid_headline(
    cells: Sequence[CellOfFamily],
    unmeasured: Sequence[Unmeasured],
    found: Sequence[Cheapest],
    efficiencies: Sequence[Efficiency],
    objective: Objective | None,
    namer: Namer,
) -> tuple[str, ...]:
    """What was found: first one plain sentence, then the numbers."""
    if not cells:
        return ("Nothing was measured: no load of the grid can be read.",)
    scaling = [_text(_scaling(each, namer, with_family=True)) for each in _main(efficiencies)]
    if not any(each.is_valid for each in cells):
        return (not_valid(cells, namer), *scaling)
    said = [] if objective is None else [_text(cheapest_parts(each, unmeasured, objective, namer)) for each in found]
    said += scaling
    if not said:
        said = list(_most_answers(cells, namer))
    return (*said, *([not_valid(cells, namer)] if any(not each.is_valid for each in cells) else []))


def _text(parts: Sequence[Part]) -> str:
    return "".join(part if isinstance(part, str) else part.text for part in parts)


def not_valid(cells: Sequence[CellOfFamily], namer: Namer) -> str:
    """Which reasons make cells invalid, each once; empty where there is none."""
    whom: dict[str, dict[str, None]] = {}
    for each in cells:
        for doubt in each.invalid:
            whom.setdefault(doubt.title, {})[f"{namer.name(each.cell)} with {way(each)}"] = None
    reasons = [
        f"{title} ({next(iter(names))}{f' and {len(names) - 1} more' if len(names) > 1 else ''})"
        for title, names in whom.items()
    ]
    return f"Not valid: {'; '.join(reasons)}." if reasons else ""


def cheapest_parts(found: Cheapest, unmeasured: Sequence[Unmeasured], objective: Objective, namer: Namer) -> list[Part]:
    """``2 replicas of 0.5 CPU with Docker Compose are the cheapest that answer 8 users with p95 < 200 ms.``"""
    under = f"{load(found.load)} with {objective}"
    parts: list[Part] = []
    if found.found:
        first = found.found[0]
        is_one = first.cell.replicas == 1
        size = Number(namer.size(first.cell), anchor(first, "objective"))
        verb = "is the cheapest that answers" if is_one else "are the cheapest that answer"
        parts += [size, f" with {ways(found.found)} {verb} {under}."]
    elif not found.others:
        return [f"Nothing with limits was measured with {load(found.load)}."]
    else:
        missed = sum(each.state == MISSES for each in found.others)
        unproven = sum(each.state == NOT_PROVEN for each in found.others)
        count = f"{missed} of {len(found.others)} miss it" if missed != 1 else f"1 of {len(found.others)} misses it"
        rest = f", {unproven} {'is' if unproven == 1 else 'are'} not proven" if unproven else ""
        parts.append(f"Nothing that was measured is proven to answer {under}: {count}{rest}.")
    parts += [f" {text}" for text in _may_be(found, namer)]
    least = cost_of(found.found[0].cell) if found.found else None
    lacking = [
        (cell, name)
        for cell, name in unmeasured
        if name != HOST and load_of(cell) == found.load and least is not None and cost_of(cell) < least
    ]
    for own, name in lacking:
        verb = "was" if own.replicas == 1 else "were"
        parts.append(f" {namer.size(own)} with {unmeasured_family(name)} would be cheaper, and {verb} not measured.")
    return parts


def _may_be(found: Cheapest, namer: Namer) -> Iterator[str]:
    """The cheaper cells of which it is not known whether they meet the objective, and what would tell."""
    groups: dict[tuple[str, str], list[CellOfFamily]] = {}
    for each in found.may_be:
        groups.setdefault((namer.size(each.cell), _what_would_tell(each)), []).append(each)
    told: dict[str, list[str]] = {}
    for (size, remedy), own in groups.items():
        told.setdefault(remedy, []).append(f"{size} with {ways(own)}")
    for remedy, names in told.items():
        more = f" and {len(names) - MOST_LINES} more" if len(names) > MOST_LINES else ""
        as_well = " as well" if found.found else ""
        yield f"{'; '.join(names[:MOST_LINES])}{more} may do{as_well}: {remedy}."


def _what_would_tell(own: CellOfFamily) -> str:
    if own.invalid:
        return "the measurement is not valid, so measure again"
    if not all(share.has_interval for share in own.missed):
        return f"at least {FEWEST_ROUNDS} rounds would tell"
    return "more rounds would tell"


def _main(efficiencies: Sequence[Efficiency]) -> Iterator[Efficiency]:
    """Of each family the efficiency that is told first: that of the most replicas, under the heaviest load."""
    best: dict[str, Efficiency] = {}
    for each in efficiencies:
        if not each.efficiency.is_measured:
            continue
        known = best.get(each.subject.family)
        if known is None or _weight(each) > _weight(known):
            best[each.subject.family] = each
    yield from best.values()


def _weight(found: Efficiency) -> tuple[int, float]:
    users, rate = load_of(found.subject.cell)
    return found.replicas, users or rate or 0.0


def _scaling(found: Efficiency, namer: Namer, *, with_family: bool) -> list[Part]:
    """``3 replicas of Swarm (0.5 CPU each, 8 users) gave 2.85 times the answers of one: 0.95 (0.92 to 0.98) of 3 times
    as many.``"""
    own = found.subject
    place = anchor(own, "efficiency")
    of = f" of {way(own)}" if with_family else ""
    caveat = f" ({found.caveat})" if found.caveat else ""
    return [
        f"{words.first_letter(replicas(found.replicas))}{of} ({namer.each(own.cell)}, {load(load_of(own.cell))}) gave ",
        Number(f"{found.times.value:.2f} times", place),
        " the answers per second of one: ",
        Number(with_interval(found.efficiency), place),
        f" of {found.replicas} times as many{caveat}.",
    ]


def _most_answers(cells: Sequence[CellOfFamily], namer: Namer) -> Iterator[str]:
    """Without objective and scaling: which cell answered the most under each load."""
    for under in dict.fromkeys(load_of(each.cell) for each in cells):
        own = [
            each
            for each in cells
            if load_of(each.cell) == under and each.is_valid and each.figures.load.summary[ANSWERS].is_measured
        ]
        if own:
            best = max(own, key=lambda each: each.figures.load.summary[ANSWERS].value)
            estimate = best.figures.load.summary[ANSWERS]
            interval = words.low_to_high(estimate, 1) if estimate.has_interval else no_interval(estimate)
            yield (
                f"With {load(under)}, {namer.size(best.cell)} with {way(best)} gave the most answers: "
                f"{figure(best, ANSWERS)} per second ({interval})."
            )


def grid_findings(
    unmeasured: Sequence[Unmeasured],
    found: Sequence[Cheapest],
    efficiencies: Sequence[Efficiency],
    objective: Objective | None,
    namer: Namer,
) -> tuple[Finding, ...]:
    """The cheapest under each load, and how each family scales."""
    told = []
    if objective is not None:
        for number, each in enumerate(found):
            parts = cheapest_parts(each, unmeasured, objective, namer)
            told.append(Finding(f"cheapest-{number}", "The cheapest that meets the objective", tuple(parts)))
    for family in dict.fromkeys(scaled.subject.family for scaled in efficiencies):
        lines: dict[tuple[object, ...], Efficiency] = {}
        for scaled in efficiencies:
            if scaled.subject.family == family and scaled.efficiency.is_measured:
                line = scaled.subject.figures.place[1:]
                if line not in lines or scaled.replicas > lines[line].replicas:
                    lines[line] = scaled
        parts = []
        for scaled in sorted(lines.values(), key=_weight, reverse=True)[:MOST_LINES]:
            parts += [*([" "] if parts else []), *_scaling(scaled, namer, with_family=False)]
        if len(lines) > MOST_LINES:
            parts.append(f" The table below has {len(lines) - MOST_LINES} more.")
        if parts:
            told.append(Finding(f"scaling-{family}", f"Scaling of {family_title(family)}", tuple(parts)))
    return tuple(told)


def unmeasured_family(name: str) -> str:
    """The family of a deployment that was not measured, for people."""
    return family_title(family_in(name))


def cores(cell: GridCell) -> str:
    """What a cell costs: its cores and memory."""
    memory = f"{cell.replicas * cell.memory_mb:,} MiB"
    if cell.cpus is None:
        return f"no CPU limit, {memory}"
    return f"{cpus(round(cell.replicas * cell.cpus, 9))}, {memory}"
