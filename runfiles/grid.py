"""``grid.json``: the record of a grid, whose cells differ in replicas, limits or load.

Each cell is an experiment in a folder of its own, below the grid's folder, with an ``experiment.json`` as any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from runfiles.deployments import MOST_REPLICAS
from runfiles.fields import Between, Count, Cpus, Name, Record, Time, Users
from runfiles.files import FORM
from runfiles.rates import Rate
from runfiles.records import FormedRecord, RoundNumber

GRID_FILE = "grid.json"
MOST_CELLS = 200


@dataclass(frozen=True, kw_only=True)
class GridCell(Record):
    """One cell: the ``replicas`` of each of its deployments, the limits of each replica (``cpus`` None: all
    processors; ``memory_mb`` in MiB), and the load: ``users``, or a ``rate`` per second.

    ``folder``: that of its experiment, within the grid's folder. ``deployments``: those of its plan.
    """

    folder: Name
    replicas: Annotated[int, Between(1, MOST_REPLICAS)]
    cpus: Cpus | None = None
    memory_mb: Count
    users: Users
    rate: Rate | None = None
    deployments: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GridRecord(FormedRecord):
    """What was to be measured. The rounds of the cells were interleaved: round 1 of all cells, round 2 of all, ...

    ``ended_at`` is None while the grid runs, and where it was killed. ``slo``: the objective, of which the cheapest
    cell is sought that meets it; None: none was given. ``left_out``: what the plan asks for and no cell has, and why.
    """

    form: int = FORM
    started_at: Time
    ended_at: Time | None = None
    resumed_at: tuple[Time, ...] = ()
    command: str
    slo: str | None = None
    rounds: RoundNumber
    cells: tuple[GridCell, ...]
    left_out: tuple[str, ...] = ()

    def _contradiction(self) -> str | None:
        folders = [cell.folder for cell in self.cells]
        if not folders or len(folders) > MOST_CELLS:
            return f"it has {len(folders):,} cells, not 1 to {MOST_CELLS}"
        if wrong := next((name for name in folders if "/" in name or name in (".", "..")), None):
            return f"the folder of a cell is {wrong!a}, which is no name of a folder"
        if len(set(folders)) < len(folders):
            return "two cells have one folder"
        return None
