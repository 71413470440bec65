"""A grid, computed once: what its page, Markdown, JUnit and the terminal are made from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from analysis.analyse import Measured, measure
from analysis.judge.doubts import Validity
from analysis.judge.findings import Finding
from analysis.judge.grid_doubts import GridDoubt, cell_validity, grid_doubts, why_not_measured
from analysis.judge.grid_findings import Unmeasured, grid_findings, grid_headline
from analysis.judge.grid_words import Namer, namer_of
from analysis.judge.grids import (
    CellOfFamily,
    Cheapest,
    Efficiency,
    cheapest,
    efficiencies,
    load_of,
    with_objective,
)
from analysis.measure.grid import CellFigures, counts_of
from analysis.measure.rounds import Measurement
from analysis.read.grid import CellResults, Grid, read_cells, without_rows
from analysis.read.records import unreadable
from analysis.read.results import Results
from runfiles.deployments import DEPLOYMENTS, family_of
from runfiles.grid import GRID_FILE
from runfiles.objective import Objective, read_objective


@dataclass(frozen=True)
class GridAnalysis:
    """A grid and what it says. ``headline`` is one plain sentence, and then its numbers.

    ``cells``: each deployment in each cell in which it was measured, by loads, families, limits and replicas.
    ``unmeasured``: the others. ``experiments``: those that can be read, without rows, by the cell's folder.
    ``validities``: what speaks against each cell, by its folder. ``objective`` is None if there was none.
    """

    grid: Grid
    objective: Objective | None
    namer: Namer
    cells: tuple[CellOfFamily, ...]
    unmeasured: tuple[Unmeasured, ...]
    experiments: Mapping[str, Results]
    validities: Mapping[str, Validity]
    doubts: tuple[GridDoubt, ...]
    cheapest: tuple[Cheapest, ...]
    efficiencies: tuple[Efficiency, ...]
    headline: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def is_valid(self) -> bool:
        """Whether each cell is valid that was measured."""
        return all(validity.is_valid for validity in self.validities.values())

    @property
    def invalid_cells(self) -> list[str]:
        """The folders of the cells that are not valid."""
        return [folder for folder, validity in self.validities.items() if not validity.is_valid]


def analyse_grid(grid: Grid) -> GridAnalysis:
    """Compute everything, one cell after the other.

    Raises:
        UnreadableResults: the objective in its record is none.
    """
    objective = _objective(grid)
    namer = namer_of(grid.record.cells)
    cells: list[CellOfFamily] = []
    unmeasured: list[Unmeasured] = []
    experiments: dict[str, Results] = {}
    validities: dict[str, Validity] = {}
    for cell in read_cells(grid):
        measured = None if cell.results is None else measure(cell.results)
        found: list[CellOfFamily] = []
        if measured is None:
            validities[cell.told.folder] = Validity((why_not_measured(cell),))
        else:
            validity = cell_validity(cell, measured.validity)
            validities[cell.told.folder] = validity
            slim = without_rows(measured.results)
            experiments[cell.told.folder] = slim
            found = _measured(cell, measured, validity, slim, objective)
        cells += found
        names = {each.figures.name for each in found}
        unmeasured += [(cell.told, name) for name in cell.told.deployments if name not in names]
    loads = [*dict.fromkeys(map(load_of, grid.record.cells))]
    cells.sort(key=lambda each: (loads.index(load_of(each.cell)), *_order(each)))
    told, scaling = (cheapest(cells) if objective else []), efficiencies(cells)
    return GridAnalysis(
        grid=grid,
        objective=objective,
        namer=namer,
        cells=tuple(cells),
        unmeasured=tuple(unmeasured),
        experiments=experiments,
        validities=validities,
        doubts=grid_doubts(grid, validities, cells),
        cheapest=tuple(told),
        efficiencies=tuple(scaling),
        headline=grid_headline(cells, unmeasured, told, scaling, objective, namer),
        findings=grid_findings(unmeasured, told, scaling, objective, namer),
    )


def _objective(grid: Grid) -> Objective | None:
    if grid.record.slo is None:
        return None
    try:
        return read_objective(grid.record.slo)
    except ValueError as error:
        raise unreadable(grid.folder / GRID_FILE, f"slo is not {error}") from error


def _order(own: CellOfFamily) -> tuple[int, str, float, int, int]:
    """Families in the order in which deployments are shown everywhere, unknown ones last; within one the limits, and
    then the replicas."""
    families = [family_of(name) for name in DEPLOYMENTS]
    known = families.index(own.family) if own.family in families else len(families)
    limit = math.inf if own.cell.cpus is None else own.cell.cpus
    return known, own.family, limit, own.cell.memory_mb, own.cell.replicas


def _measured(
    cell: CellResults, measured: Measured, validity: Validity, slim: Results, objective: Objective | None
) -> list[CellOfFamily]:
    """Each deployment of a cell that has a load."""
    loads = {load.name: load for load in measured.loads}
    of_slim = {deployment.name: deployment for deployment in slim.deployments}
    found = []
    for deployment in cell.deployments:
        load = loads.get(deployment.name)
        if load is None:
            continue
        counts = {number: counts_of(run, objective) for number, run in deployment.loads.items()}
        kept = Measurement(of_slim[load.name], load.rounds, load.summary)
        own = CellOfFamily(CellFigures(cell.told, kept, counts), slim, tuple(validity.of(load.name)))
        found.append(with_objective(own, objective))
    return found
