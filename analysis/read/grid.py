"""Reading a grid's folder: ``grid.json``, and the experiment of each cell, which may be missing or unreadable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.read.records import UnreadableResults, read_record, unreadable
from analysis.read.results import Deployment, Results, Round, read_results
from analysis.read.runs import Run
from runfiles.deployments import DEPLOYMENTS, HOST, family_of
from runfiles.files import EXPERIMENT_FILE, OutsideFolder, inside
from runfiles.grid import GRID_FILE, GridCell, GridRecord
from runfiles.places import BENCH

Place = tuple[int, float | None, int, float | None, float | None]
"""What a cell is: replicas, cpus, memory_mb, users (None at a rate), rate."""


@dataclass(frozen=True)
class Grid:
    """A grid's folder and its record."""

    folder: Path
    record: GridRecord


@dataclass(frozen=True)
class CellResults:
    """The experiment of one cell; None: there is none that can be read, and ``why_not`` says why.

    ``is_missing``: there is no experiment. Else it is one that can't be read.
    """

    told: GridCell
    results: Results | None
    why_not: str = ""
    is_missing: bool = False

    @property
    def deployments(self) -> list[Deployment]:
        """Those of the cell that its experiment has, in the order of the grid."""
        if self.results is None:
            return []
        of_name = {deployment.name: deployment for deployment in self.results.deployments}
        return [of_name[name] for name in self.told.deployments if name in of_name]


def is_grid(folder: Path) -> bool:
    """Whether a folder is that of a grid."""
    try:
        return (folder / GRID_FILE).exists()
    except OSError:
        return False


def read_grid(folder: Path) -> Grid:
    """The record in the folder of a grid.

    Raises:
        UnreadableResults: it can't be read, or says what can't be true.
    """
    try:
        path = inside(folder, GRID_FILE)
    except OutsideFolder as error:
        raise UnreadableResults(f"{error}; name a folder that `{BENCH}` wrote") from error
    record = read_record(path, GridRecord)
    known: dict[tuple[Place, str], str] = {}
    for cell in record.cells:
        for name in cell.deployments:
            other = known.setdefault((place_of(cell), name), cell.folder)
            if other != cell.folder:
                raise unreadable(path, f"cells: {other!a} and {cell.folder!a} are the same one of {name!a}")
    return Grid(folder, record)


def place_of(cell: GridCell) -> Place:
    """What a cell is, without the names of its folder and its deployments."""
    return cell.replicas, cell.cpus, cell.memory_mb, cell.users if cell.rate is None else None, cell.rate


def family_in(name: str) -> str:
    """The family of a deployment; a name that this version does not know is a family of its own."""
    return family_of(name) if name in DEPLOYMENTS else name


def read_cells(grid: Grid) -> Iterator[CellResults]:
    """The cells in their order, one at a time: the rows of all together may not fit into the memory."""
    return (read_cell(grid, cell) for cell in grid.record.cells)


def read_cell(grid: Grid, cell: GridCell) -> CellResults:
    """The experiment of one cell. That it can't be read is no error."""
    try:
        folder = inside(grid.folder, cell.folder)
        if not (folder / EXPERIMENT_FILE).exists():
            what = f"{cell.folder} has no {EXPERIMENT_FILE}" if folder.is_dir() else f"there is no folder {cell.folder}"
            return CellResults(cell, None, f"{what}: it was not begun, or was removed", is_missing=True)
        return CellResults(cell, read_results(folder))
    except (UnreadableResults, OutsideFolder) as error:
        return CellResults(cell, None, str(error).removeprefix(f"{grid.folder.resolve()}/"))
    except OSError as error:
        return CellResults(cell, None, f"{cell.folder} can't be read ({error.strerror})")


def contradictions(cell: CellResults) -> list[str]:
    """What the plan of a cell's experiment says otherwise than the grid."""
    if cell.results is None:
        return []
    plan, told = cell.results.experiment.plan, cell.told
    asked = {"cpus": (plan.cpus, told.cpus), "memory_mb": (plan.memory_mb, told.memory_mb)}
    asked |= {"rate": (plan.rate, told.rate)}
    asked |= {"users": (plan.users, told.users)} if told.rate is None else {}
    found = [
        f"its plan has {key} = {_told(had)}, grid.json says {_told(says)}"
        for key, (had, says) in asked.items()
        if had != says
    ]
    found += ["its load has several rates"] if cell.results.has_several_rates else []
    for name in told.deployments:
        row = DEPLOYMENTS.get(name)
        if row is not None and name != HOST and row.replicas != told.replicas:
            found.append(f"{name} has {row.replicas} replicas, grid.json says {told.replicas}")
    return found


def _told(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def without_rows(results: Results) -> Results:
    """The same without the rows of its runs, which take most of the memory: the records are left."""
    deployments = tuple(
        replace(deployment, rounds=tuple(map(_round_without_rows, deployment.rounds)))
        for deployment in results.deployments
    )
    return replace(results, deployments=deployments, blank=None)


def _round_without_rows(round_: Round) -> Round:
    return replace(
        round_,
        single_pass=_run_without_rows(round_.single_pass),
        load=_run_without_rows(round_.load),
        reference_loads={},
    )


def _run_without_rows(run: Run | None) -> Run | None:
    if run is None:
        return None
    frames = {name: getattr(run, name).iloc[:0].copy() for name in ("requests", "samples", "events", "machine")}
    return Run(run.record, **frames, absent=run.absent, blocks=run.blocks, axis=run.axis)
