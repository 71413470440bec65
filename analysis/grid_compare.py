"""``python -m analysis compare OLD NEW`` of two grids: whether a quantity got worse in the cells that both have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from analysis.analyse import Measured, measure
from analysis.conditions import Condition, Judged, cases_of, judged
from analysis.judge.across import changed_circumstances, changed_service, refuse_one_experiment
from analysis.judge.grid_doubts import cell_validity
from analysis.judge.grid_words import Namer, namer_of
from analysis.measure.unpaired import unpaired
from analysis.read.grid import CellResults, Grid, is_grid, place_of, read_cell, read_grid
from analysis.read.records import UnreadableResults
from analysis.show.junit import Case
from runfiles.grid import GridCell


def compare_grids(old_folder: Path, new_folder: Path, conditions: Sequence[Condition]) -> tuple[list[Case], list[str]]:
    """What is said of each deployment in each cell that both grids have, and what to know of it.

    Raises:
        UnreadableResults: one is no grid, or can't be read; both are the same; or they have no cell in common.
    """
    for folder, other in ((old_folder, new_folder), (new_folder, old_folder)):
        if not is_grid(folder):
            raise UnreadableResults(
                f"{other} is a grid and {folder} is none, so they can't be compared; name two grids, or the folder of "
                "a cell and another experiment"
            )
    old, new = read_grid(old_folder), read_grid(new_folder)
    namer = namer_of([*old.record.cells, *new.record.cells])
    pairs = _pairs(old, new)
    if not pairs:
        raise UnreadableResults(
            f"{old_folder} and {new_folder} have no cell in common; compare grids with the same replicas, limits and "
            "load"
        )
    found: list[Judged] = []
    caveats: dict[str, None] = {}
    for before, after, names in pairs:
        own, told = _compared(read_cell(old, before), read_cell(new, after), names, conditions, namer)
        found += own
        caveats |= dict.fromkeys(told)
    return cases_of(found), [*caveats, *_alone(old, new, namer)]


def _pairs(old: Grid, new: Grid) -> list[tuple[GridCell, GridCell, list[str]]]:
    """The cells that both have, and the deployments that both cells have."""
    found = []
    for before in old.record.cells:
        for after in new.record.cells:
            names = [name for name in before.deployments if name in after.deployments]
            if place_of(before) == place_of(after) and names:
                found.append((before, after, names))
    return found


def _compared(
    before: CellResults, after: CellResults, names: Sequence[str], conditions: Sequence[Condition], namer: Namer
) -> tuple[list[Judged], list[str]]:
    """Each condition on each deployment of one cell, and what changed of the circumstances."""
    name = namer.name(after.told)
    measured: list[Measured] = []
    for which, cell in (("old", before), ("new", after)):
        if cell.results is None:
            reason = f"not measured in the {which} grid: {cell.why_not}"
            none = unpaired({}, {})
            return [Judged(f"{name}: {condition.text}", none, none.error, reason) for condition in conditions], []
        own = measure(cell.results)
        measured.append(replace(own, validity=cell_validity(cell, own.validity)))
    old, new = measured
    refuse_one_experiment(old.results, new.results)
    found = judged(old, new, conditions, names)
    caveats = changed_service(old.results, new.results) + changed_circumstances(old.results, new.results)
    return [replace(change, name=f"{name}: {change.name}") for change in found], caveats


def _alone(old: Grid, new: Grid, namer: Namer) -> list[str]:
    """Which cells only one of the two has."""
    found = []
    for which, grid, other in (("old", old, new), ("new", new, old)):
        places = {place_of(cell) for cell in other.record.cells}
        alone = [cell for cell in grid.record.cells if place_of(cell) not in places]
        if alone:
            found.append(f"only the {which} grid has {namer.listed(alone)}, so they are not compared")
    return found
