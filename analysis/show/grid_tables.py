"""The tables of a grid: which cell meets the objective, all cells, and how the answers grow with the replicas."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence

from analysis.grid import GridAnalysis
from analysis.judge import words
from analysis.judge.grid_doubts import why_none
from analysis.judge.grid_findings import anchor, cores, unmeasured_family
from analysis.judge.grid_words import (
    load,
    no_interval,
    share,
    share_interval,
    way,
    with_interval,
)
from analysis.judge.grids import MEETS, MISSES, NOT_PROVEN, CellOfFamily, Efficiency, cost_of, load_of
from analysis.measure.grid import ANSWERS
from analysis.measure.quantity import QUANTITIES, Estimate
from analysis.show.elements import Cell, Column, Row, Table
from runfiles.deployments import family_title
from runfiles.grid import GridCell

SHOWN = (ANSWERS, "median_ms", "p95_ms")
"""The quantities of each cell."""
NOTHING = "\N{EN DASH}"
STYLES = {MEETS: "state", MISSES: "state", NOT_PROVEN: "state undecided", "": ""}
HOW_OBJECTIVE_IS_READ = (
    "The cheapest come first: those with the fewest cores, then with the least memory, then with the fewest replicas. "
    "The processor time of a proxy before the replicas is not part of the cost. Below each condition is the share of "
    "the requests that missed it; a failed request misses all. The objective is met only if the whole 95% interval of "
    "each share is below what is allowed, and missed if one is wholly above it. Else it is not proven."
)
HOW_CELLS_ARE_READ = (
    "Each value is the mean of the values of the rounds. Below it are its 95% interval, from how the rounds differ, "
    "and the number n that it was computed from. Below the share of failed requests are its interval and how many "
    "requests there were. The p95 is shown from 2,000 requests on; that less than 5% took too long is known with fewer."
)
HOW_EFFICIENCY_IS_READ = (
    "Answers: how many times the answers per second of one replica, with the same limits and the same load. "
    "Efficiency: that number divided by the number of replicas. 1 means that nothing is lost, and 0.5 that half of "
    "it is. It is computed in each round, as the rounds of all cells were measured by turns; "
    "the table shows the geometric mean and its 95% interval."
)

Link = Callable[[GridCell], str]
"""The address of a cell's own page; empty if there is none."""


def objective_table(grid: GridAnalysis) -> tuple[Table, ...]:
    """Each cell with limits: whether it meets the objective, and the share that missed each condition."""
    if grid.objective is None or not grid.cells:
        return ()
    conditions = [
        Column(condition.text, detail=f"allowed: less than {condition.most_share * 100:g}% miss it")
        for condition in grid.objective.conditions
    ]
    columns = (Column("Cell"), Column("Objective"), *conditions, Column("Cost"))
    rows = tuple(
        _objective_row(each, grid)
        for found in grid.cheapest
        for each in sorted(found.others, key=lambda each: cost_of(each.cell))
    )
    heading = f"Which cells meet {grid.objective}"
    return (Table(heading, heading, columns, rows, HOW_OBJECTIVE_IS_READ, "objective-table"),)


def _objective_row(own: CellOfFamily, grid: GridAnalysis) -> Row:
    shares = [Cell(share(missed), f"{share_interval(missed)}\nn = {missed.n:,}") for missed in own.missed]
    state = Cell(own.state, own.why, style=STYLES[own.state])
    cells = (state, *shares, Cell(cores(own.cell)))
    return _row(own, grid, cells, "objective")


def _row(own: CellOfFamily, grid: GridAnalysis, cells: tuple[Cell, ...], table: str) -> Row:
    detail = f"{way(own)}\n{load(load_of(own.cell))}"
    return Row(grid.namer.size(own.cell), cells, anchor(own, table), detail)


def cell_table(grid: GridAnalysis, link: Link) -> Table:
    """All cells, also those that were not measured."""
    columns = [Column("Cell"), Column("Answers per second")]
    columns += [Column("Median, ms"), Column("p95, ms"), Column("Failed requests")]
    columns += [Column("Objective")] if grid.objective else []
    columns += [Column("Validity")]
    addresses = {cell.folder: link(cell) for cell in grid.grid.record.cells}
    columns += [Column("Own page")] if any(addresses.values()) else []
    rows = [_cell_row(each, grid, addresses) for each in grid.cells]
    rows += [_unmeasured_row(cell, name, grid, addresses) for cell, name in grid.unmeasured]
    return Table("All cells", "All cells", tuple(columns), tuple(rows), HOW_CELLS_ARE_READ, "cells")


def _cell_row(own: CellOfFamily, grid: GridAnalysis, addresses: dict[str, str]) -> Row:
    figures = own.figures
    rounds = len(figures.load.rounds)
    values = [
        Cell(
            words.number(figures.load.summary[key], QUANTITIES[key].digits),
            words.interval(figures.load.summary[key], QUANTITIES[key].digits, rounds),
        )
        for key in SHOWN
    ]
    failures = figures.failures
    failed = Cell(share(failures), f"{share_interval(failures)}\nn = {failures.n:,}")
    cells = [*values, failed]
    cells += [Cell(own.state or "", own.why, style=STYLES[own.state])] if grid.objective else []
    reasons = "; ".join(dict.fromkeys(doubt.title for doubt in own.invalid))
    cells.append(Cell("valid") if own.is_valid else Cell("not valid", reasons, style="red"))
    return _row(own, grid, (*cells, *_own_page(own.cell, addresses)), "cell")


def _unmeasured_row(cell: GridCell, name: str, grid: GridAnalysis, addresses: dict[str, str]) -> Row:
    empty = [Cell(NOTHING)] * (len(SHOWN) + 1 + (grid.objective is not None))
    results = grid.experiments.get(cell.folder)
    own = next((each for each in results.deployments if each.name == name), None) if results else None
    doubts = [doubt.text for doubt in grid.validities[cell.folder].doubts]
    if own is not None:
        reason = why_none(own)
    else:
        reason = "it is not in the record of its cell" if results else doubts[0].removeprefix("not measured: ")
    state = Cell("not measured", reason)
    detail = f"{unmeasured_family(name)}\n{load(load_of(cell))}"
    return Row(grid.namer.size(cell), (*empty, state, *_own_page(cell, addresses)), detail=detail)


def _own_page(cell: GridCell, addresses: dict[str, str]) -> tuple[Cell, ...]:
    if not any(addresses.values()):
        return ()
    address = addresses[cell.folder]
    return (Cell("page", link=address) if address else Cell(NOTHING),)


def efficiency_tables(grid: GridAnalysis) -> tuple[Table, ...]:
    """Each cell with several replicas against the same with one, and of which cells nothing is shown, and why."""
    told = [each for each in grid.efficiencies if each.efficiency.is_measured]
    untold: dict[str, list[Efficiency]] = {}
    for each in grid.efficiencies:
        if not each.efficiency.is_measured:
            untold.setdefault(each.efficiency.missing or "", []).append(each)
    heading, without = "Efficiency of several replicas", "Cells without an efficiency"
    columns = (Column("Cell"), Column("Answers"), Column("Efficiency"))
    rows = tuple(_efficiency_row(each, grid) for each in told)
    tables = [Table(heading, heading, columns, rows, HOW_EFFICIENCY_IS_READ, "efficiency-table")] if told else []
    if untold:
        reasons = tuple(_without_row(reason, own, grid) for reason, own in untold.items())
        tables.append(Table(without, without, (Column("Cells"), Column("Efficiency")), reasons))
    return tuple(tables)


def _efficiency_row(found: Efficiency, grid: GridAnalysis) -> Row:
    detail = f"{_interval(found.efficiency)}\nn = {found.efficiency.n} round{'s' * (found.efficiency.n != 1)}"
    caveat = f"\n{found.caveat}" if found.caveat else ""
    cells = (
        Cell(f"{found.times.value:.2f} times", _interval(found.times)),
        Cell(f"{found.efficiency.value:.2f}", f"{detail}{caveat}"),
    )
    return _row(found.subject, grid, cells, "efficiency")


def _without_row(reason: str, found: Sequence[Efficiency], grid: GridAnalysis) -> Row:
    cells = {each.subject.cell.folder: each.subject.cell for each in found}
    ways = "; ".join(dict.fromkeys(way(each.subject) for each in found))
    return Row(grid.namer.listed([*cells.values()]), (Cell("not shown", reason),), detail=ways)


def _interval(estimate: Estimate) -> str:
    return f"{estimate.low:.2f} to {estimate.high:.2f}" if estimate.has_interval else no_interval(estimate)


def grid_csv(grid: GridAnalysis) -> str:
    """All figures of all cells as CSV. What is missing is an empty field. No text is a formula to a spreadsheet."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\r\n")
    places = ("replicas", "cpus", "memory_mb", "users", "rate_per_s", "deployment", "valid")
    writer.writerow((*places, "figure", "unit", "value", "low", "high", "n", "of", "rounds", "note"))
    scaling = {id(each.subject): each for each in grid.efficiencies}
    for own in grid.cells:
        figures: list[tuple[str, str, Estimate]] = [
            (key, QUANTITIES[key].unit, own.figures.load.summary[key]) for key in SHOWN
        ]
        figures.append(("failed_share", "", own.figures.failures))
        if grid.objective is not None:
            both = zip(grid.objective.conditions, own.missed, strict=True)
            figures += [(f"missed {condition.text}", "", missed) for condition, missed in both]
        if id(own) in scaling:
            figures.append(("efficiency", "", scaling[id(own)].efficiency))
        replicas, cpus, memory, users, rate = own.figures.place
        place = [replicas, _csv(cpus), memory, _csv(users), _csv(rate), words.no_formula(own.figures.name)]
        for name, unit, estimate in figures:
            bounds = (estimate.low, estimate.high) if estimate.has_interval else (None, None)
            values = [_csv(estimate.value if estimate.is_measured else None), *map(_csv, bounds)]
            tail = [estimate.n, estimate.of, estimate.rounds, words.no_formula(estimate.missing or "")]
            writer.writerow([*place, "yes" if own.is_valid else "no", name, unit, *values, *tail])
    return file.getvalue()


def _csv(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"


def summary_rows(grid: GridAnalysis) -> tuple[list[str], list[list[str]]]:
    """The table of the terminal: its columns, and a row for each deployment in each cell."""
    head = ["replicas", "CPUs", *(["MiB"] if grid.namer.with_memory else []), "load", "run as", "answers/s", "p95 ms"]
    head += ["objective"] if grid.objective else []
    rows = []
    for own in grid.cells:
        cell, summary = own.cell, own.figures.load.summary
        values = [
            words.number(summary[key], QUANTITIES[key].digits) if summary[key].is_measured else "-"
            for key in (ANSWERS, "p95_ms")
        ]
        row = [f"{cell.replicas}", "none" if cell.cpus is None else f"{cell.cpus:g}"]
        row += [f"{cell.memory_mb:,}"] if grid.namer.with_memory else []
        under = load(load_of(cell)).replace(" requests", "")
        row += [under, family_title(own.family), *values]
        rows.append([*row, *([own.state] if grid.objective else [])])
    return head, rows


def efficiency_lines(grid: GridAnalysis, most: int) -> Sequence[str]:
    """The efficiencies that the terminal shows, and how many there are besides."""
    told = [each for each in grid.efficiencies if each.efficiency.is_measured]
    lines = [
        f"{grid.namer.name(each.subject.cell)}, {way(each.subject)}: efficiency {with_interval(each.efficiency)}"
        for each in told[:most]
    ]
    if len(told) > most:
        lines.append(f"The page has {len(told) - most} more.")
    untold = len(grid.efficiencies) - len(told)
    if untold:
        lines.append(f"{untold} efficienc{'y is' if untold == 1 else 'ies are'} not shown; the page says why.")
    return lines
