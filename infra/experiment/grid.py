"""The part of a plan that asks for a grid: which numbers of replicas, limits and loads are combined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from infra.deployments.confinement import RESERVED_MEMORY_BYTES
from runfiles.deployments import MOST_REPLICAS
from runfiles.grid import MOST_CELLS
from runfiles.objective import read_objective
from servicefile import toml
from servicefile.toml import Check, number, whole

ROUNDS = 3
"""How often each cell is measured, if the plan does not say: its interval comes from these."""

MOST_OF_ONE_KEY = 32
MIB = 1024**2


@dataclass(frozen=True)
class Grid:
    """What is combined with what: each value of one key with each of the others. An empty key: the plan's own value.

    ``replicas`` of each deployment that can have several; ``cpus`` (cores) and ``memory_mb`` (MiB) of each replica;
    ``users`` of a closed workload, or the ``rate`` of an open one (requests per second). ``slo``: the objective that
    the cheapest cell has to meet, such as "p95 < 200 ms"; None: none is asked for.
    """

    replicas: tuple[int, ...] = (1,)
    cpus: tuple[float, ...] = ()
    memory_mb: tuple[int, ...] = ()
    users: tuple[int, ...] = ()
    rate: tuple[float, ...] = ()
    slo: str | None = None

    @property
    def cells(self) -> int:
        """How many cells there are."""
        found = 1
        for values in (self.replicas, self.cpus, self.memory_mb, self.users, self.rate):
            found *= max(1, len(values))
        return found


def grid_of(value: Any) -> Grid | None:
    """What the table ``grid`` of a plan says; None: there is none.

    Raises:
        ValueError: it is no table.
        NotValid: it says something that can't be.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ValueError("a table, such as [grid] with replicas = [1, 2, 3]")  # noqa: TRY004  no caller's slip
    grid = Grid(**toml.checked(value, _CHECKS, "[grid]", "[grid]", _default))
    if grid.users and grid.rate:
        raise toml.NotValid("[grid]: users and rate are both in it; leave one of them out")
    if grid.cells > MOST_CELLS:
        raise toml.NotValid(f"[grid]: it has {grid.cells:,} cells, more than {MOST_CELLS}; leave out some values")
    return grid


def as_table(grid: Grid | None) -> dict[str, Any] | None:
    return None if grid is None else asdict(grid)


def _several(check: Check, example: str) -> Check:
    """A list of different values, each of which passes a check. They are put in order."""

    def check_all(value: Any) -> tuple[Any, ...]:
        what = f"a list, such as {example}"
        if not isinstance(value, list | tuple) or len(value) > MOST_OF_ONE_KEY:
            raise ValueError(f"{what}, of at most {MOST_OF_ONE_KEY} values")
        try:
            found = sorted(check(each) for each in value)
        except ValueError as error:
            raise ValueError(f"{what}, each of them {error}") from error
        if len(set(found)) < len(found):
            raise ValueError(f"{what}, in which no value comes twice")
        return tuple(found)

    return check_all


def _replicas(value: Any) -> tuple[int, ...]:
    found: tuple[int, ...] = _several(whole(1, MOST_REPLICAS), "[1, 2, 3]")(value)
    if not found:
        raise ValueError("a list with at least one number, such as [1, 2, 3]")
    return found


def _objective(value: Any) -> str | None:
    return None if value is None else str(read_objective(value))


_CHECKS: dict[str, Check] = {
    "replicas": _replicas,
    "cpus": _several(number("a number of cores", 0.01, 1024), "[0.5, 1]"),
    "memory_mb": _several(whole(RESERVED_MEMORY_BYTES // MIB, 2**22), "[1024, 2048]"),
    "users": _several(whole(1, 1000), "[4, 8]"),
    "rate": _several(number("a number of requests per second", 0.1, 100_000), "[20, 40]"),
    "slo": _objective,
}


def _default(key: str) -> Any:
    return next(field.default for field in fields(Grid) if field.name == key)
