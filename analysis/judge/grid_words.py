"""The cells of a grid in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.judge import words
from analysis.judge.grids import CellOfFamily, Load, load_of
from analysis.measure.quantity import QUANTITIES, Estimate
from runfiles.deployments import family_title
from runfiles.grid import GridCell

WHAT_A_CELL_IS = "A cell is one point of the grid: a number of replicas, the limits of each of them, and a load."
PROXY = "behind a proxy"
MOST_NAMED = 3
"""So many cells are named where a doubt is told; of more, the others are counted."""


@dataclass(frozen=True)
class Namer:
    """How cells are called. ``with_memory``: the memory limit differs between them, so it is said."""

    with_memory: bool

    def size(self, cell: GridCell) -> str:
        """``2 replicas of 0.5 CPU``."""
        counted = replicas(cell.replicas)
        limits = [cpus(cell.cpus)] if cell.cpus is not None else []
        limits += [f"{cell.memory_mb:,} MiB"] if self.with_memory else []
        return f"{counted} of {' and '.join(limits)}" if limits else f"{counted} without a CPU limit"

    def name(self, cell: GridCell) -> str:
        """``2 replicas of 0.5 CPU, 8 users``."""
        return f"{self.size(cell)}, {load(load_of(cell))}"

    def each(self, cell: GridCell) -> str:
        """The limits of each replica: ``0.5 CPU, 512 MiB each``."""
        limits = [cpus(cell.cpus)] + ([f"{cell.memory_mb:,} MiB"] if self.with_memory else [])
        return f"{', '.join(limits)} each"

    def listed(self, cells: Sequence[GridCell]) -> str:
        """The first cells by name, and how many more there are."""
        more = f" and {len(cells) - MOST_NAMED} more" if len(cells) > MOST_NAMED else ""
        return f"{'; '.join(self.name(cell) for cell in cells[:MOST_NAMED])}{more}"


def namer_of(cells: Sequence[GridCell]) -> Namer:
    """How the cells of a grid are called."""
    return Namer(len({cell.memory_mb for cell in cells}) > 1)


def replicas(count: int) -> str:
    """``1 replica``, ``2 replicas``."""
    return f"{count} replica{'s' if count != 1 else ''}"


def cpus(limit: float | None) -> str:
    """``0.5 CPU``, ``2 CPUs``."""
    return "no CPU limit" if limit is None else f"{limit:g} CPU{'s' if limit > 1 else ''}"


def load(found: Load) -> str:
    """``8 users``, or ``20 requests/s``."""
    users, rate = found
    return f"{rate:,g} requests/s" if users is None else f"{users:,g} user{'s' if users != 1 else ''}"


def way(own: CellOfFamily) -> str:
    """How it was run: the family, and that there is a proxy: ``Docker Compose behind a proxy``."""
    is_proxied = own.figures.load.deployment.is_proxied
    return f"{family_title(own.family)}{f' {PROXY}' if is_proxied else ''}"


def ways(cells: Sequence[CellOfFamily]) -> str:
    """``docker run, Docker Compose or Swarm``."""
    names = [*dict.fromkeys(map(way, cells))]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def with_interval(estimate: Estimate, digits: int = 2) -> str:
    """``0.95 (0.92 to 0.98)``, or why there is no interval or no number."""
    if not estimate.is_measured:
        return estimate.missing or words.number(estimate, digits)
    if estimate.has_interval:
        return f"{estimate.value:.{digits}f} ({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"
    return f"{estimate.value:.{digits}f} ({no_interval(estimate)})"


def no_interval(estimate: Estimate) -> str:
    """Why there is no interval."""
    return words.TWO_ROUNDS if estimate.rounds == 2 else "no interval from one round"


def share(estimate: Estimate) -> str:
    """A share in percent: ``0.12%``."""
    return percent(estimate.value) if estimate.is_measured else words.number(estimate, 0)


def share_interval(estimate: Estimate) -> str:
    """The interval of a share in percent, or why there is none."""
    if not estimate.is_measured:
        return estimate.missing or ""
    return f"{percent(estimate.low)} to {percent(estimate.high)}" if estimate.has_interval else no_interval(estimate)


def percent(part: float) -> str:
    """A part of 1 in percent, with two digits that are not 0."""
    value = part * 100
    digits = 0 if value == 0 else 1 if value >= 10 else 2 if value >= 0.1 else 3
    return f"{value:.{digits}f}%"


def figure(own: CellOfFamily, key: str) -> str:
    """A quantity without its unit."""
    return words.number(own.figures.load.summary[key], QUANTITIES[key].digits)
