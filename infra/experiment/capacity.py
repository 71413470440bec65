"""The part of a plan that asks for the capacity of each deployment: the highest rate that meets an objective."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from runfiles.objective import EXAMPLE, read_objective
from servicefile import toml
from servicefile.toml import number

ROUNDS = 3
"""How often each deployment's capacity is searched, if the plan does not say: its interval comes from these."""

NOT_LOAD_S = 12.0
"""What a round takes for each deployment beside the search: its start, the single pass, its end."""

LOAD_SHARE = 0.75
"""The part of a search in which the load is measured. In the rest queues fill and drain."""


@dataclass(frozen=True)
class Capacity:
    """What is searched for.

    ``slo``: the objective, such as "p95 < 200 ms, failures < 0.1%". ``tolerance``: a search ends when the rate is known
    so well (half the width of its 95% interval, in percent), or its part of the plan's ``budget_minutes`` is used up.
    ``lowest`` and ``highest``: the rates between which it searches, per second.
    """

    slo: str
    tolerance: float = 3.0
    lowest: float = 5.0
    highest: float = 5000.0

    def search_s(self, budget_minutes: float, rounds: int, deployments: int) -> float:
        """How long the load of one search may last, in seconds."""
        return (budget_minutes * 60 / rounds / deployments - NOT_LOAD_S) * LOAD_SHARE

    def why_too_short(self, budget_minutes: float, rounds: int, deployments: int) -> str | None:
        """Why there is too little time for the searches, with the remedy; None: there is enough."""
        least_s = read_objective(self.slo).least_search_s
        if self.search_s(budget_minutes, rounds, deployments) >= least_s:
            return None
        needed = math.ceil((least_s / LOAD_SHARE + NOT_LOAD_S) * rounds * deployments / 60)
        return (
            f"budget_minutes = {budget_minutes:g} is too short to search the capacity of {deployments} deployments in "
            f'{rounds} rounds: for "{self.slo}" a search needs {least_s:g} s of load; '
            f"set budget_minutes = {needed}, or measure fewer deployments (--only)"
        )


def capacity_of(percent: Callable[[Any], float], value: Any) -> Capacity | None:
    """What the table ``capacity`` of a plan says; None: there is none.

    Args:
        percent: checks a percentage.
        value: the table.

    Raises:
        ValueError: it is no table.
        NotValid: it says something that can't be.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ValueError(f'a table, such as [capacity] with slo = "{EXAMPLE}"')  # noqa: TRY004  no caller's slip
    checks = {
        "slo": _objective,
        "tolerance": percent,
        "lowest": number("a number of requests per second", 0.1, 100_000),
        "highest": number("a number of requests per second", 0.1, 100_000),
    }
    found = toml.checked(value, checks, "[capacity]", "[capacity]", _default)
    if "slo" not in found:
        raise toml.NotValid(f'[capacity]: slo is missing, the objective; add slo = "{EXAMPLE}"')
    capacity = Capacity(**found)
    if capacity.lowest >= capacity.highest:
        raise toml.NotValid(
            f"[capacity]: lowest = {capacity.lowest:g} is not below highest = {capacity.highest:g}; change one of them"
        )
    return capacity


def _objective(value: Any) -> str:
    return str(read_objective(value))


def _default(key: str) -> Any:
    found = next(field.default for field in fields(Capacity) if field.name == key)
    return toml.NO_DEFAULT if found is MISSING else found


def as_table(capacity: Capacity | None) -> dict[str, Any] | None:
    return None if capacity is None else asdict(capacity)
