"""The cells of a grid: of each the record and the plan of its experiment."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from infra.errors import PlanError
from infra.experiment.grid import ROUNDS, Grid
from infra.experiment.plan import Plan, consistent
from runfiles.deployments import HOST, family_of, family_title, scaled
from runfiles.grid import GridCell


def cells_of(plan: Plan, grid: Grid) -> tuple[list[tuple[GridCell, Plan]], list[str]]:
    """Each cell with the plan of its experiment, and what the plan asks for that no cell has, with the reason.

    A deployment that is a single process or container is only in the cells of one replica. The host process has no
    limits, so of the cells that differ in nothing but limits it is only in the first.

    Raises:
        PlanError: no cell has a deployment, or the values of a cell can't be true together.
    """
    families = list(dict.fromkeys(map(family_of, plan.deployments)))
    found = []
    for replicas, cpus, memory_mb, users, rate in itertools.product(
        grid.replicas,
        grid.cpus or (plan.cpus,),
        grid.memory_mb or (plan.memory_mb,),
        grid.users or (plan.users,),
        grid.rate or (plan.rate,),
    ):
        is_first = cpus == (grid.cpus or (cpus,))[0] and memory_mb == (grid.memory_mb or (memory_mb,))[0]
        names = tuple(
            name
            for family in families
            if (name := scaled(family, replicas)) is not None and (family != HOST or is_first)
        )
        if not names:
            continue
        cell_plan = consistent(
            replace(
                plan,
                grid=None,
                deployments=names,
                rounds=plan.rounds or ROUNDS,
                cpus=cpus,
                memory_mb=memory_mb,
                users=users,
                rate=rate,
            )
        )
        cell = GridCell(
            folder=_folder(replicas, cell_plan, has_memory=bool(grid.memory_mb)),
            replicas=replicas,
            cpus=cpus,
            memory_mb=memory_mb,
            users=users,
            rate=rate,
            deployments=names,
        )
        found.append((cell, cell_plan))
    if not found:
        raise PlanError(
            f"grid: no deployment of the plan ({', '.join(plan.deployments)}) can have "
            f"{' or '.join(map(str, grid.replicas))} replicas; add 1 to replicas, or compose or swarm-1 to deployments"
        )
    return found, list(_left_out(families, grid))


def _folder(replicas: int, plan: Plan, *, has_memory: bool) -> str:
    """The name of a cell's folder, such as ``2-replicas-0.5-cpus-8-users``."""
    parts = [f"{replicas}-replica" + ("" if replicas == 1 else "s")]
    parts += [f"{plan.cpus:g}-cpus"] if plan.cpus is not None else []
    parts += [f"{plan.memory_mb}-mb"] if has_memory else []
    parts += [f"{plan.users}-users" if plan.rate is None else f"{plan.rate:g}-per-second"]
    return "-".join(parts)


def in_words(cell: GridCell) -> str:
    """A cell for people, such as "2 replicas of 0.5 CPU and 2048 MiB, 8 users"."""
    cpus = "" if cell.cpus is None else f" of {cell.cpus:g} CPU"
    load = f"{cell.users:g} user{'' if cell.users == 1 else 's'}"
    if cell.rate is not None:
        load = f"{cell.rate:g} requests/s"
    return f"{cell.replicas} replica{'' if cell.replicas == 1 else 's'}{cpus}, {cell.memory_mb} MiB, {load}"


def _left_out(families: list[str], grid: Grid) -> Iterator[str]:
    """What the plan asks for and no cell has."""
    single = [family for family in families if all(scaled(family, replicas) is None for replicas in (2, 3))]
    titles = ", ".join(map(family_title, single))
    if single and 1 not in grid.replicas:
        yield f"{titles}: not measured, as it has one replica, and replicas has no 1"
    elif single and len(grid.replicas) > 1:
        yield f"{titles}: measured with one replica only, as it can't have more"
    if HOST in families and 1 in grid.replicas and max(1, len(grid.cpus)) * max(1, len(grid.memory_mb)) > 1:
        yield f"{family_title(HOST)}: measured once for each load, as it has no limits"
