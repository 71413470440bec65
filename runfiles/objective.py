"""The objective of a capacity search, such as ``p95 < 200 ms, failures < 0.1%``, and how many arrivals missed it.

``p95 < 200 ms`` says the same as "at most 5% of the arrivals took 200 ms or longer". So every condition is about a
share of the arrivals, and the shares of several steps can be put together; percentiles can't. An arrival that failed,
was never answered or was never sent has no response time. It misses every condition.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from runfiles.lines import tidy

EXAMPLE = "p95 < 200 ms, failures < 0.1%"
FAILURES = "failures"
SHORTEST_STEP_S = 5.0
LIMITS_A_STEP = 40
"""A step lasts at least so many times the limit of the response time. A service that gets 2.6% more than it can answer
then misses the limit within the step; in a shorter one it would seem to keep up."""
FEWEST_STEPS = 10
"""Steps that a budget must have room for."""

LONGEST_LIMIT_MS = 600_000
HIGHEST_PERCENTILE = 99.99
MOST_CHARACTERS = 200

_MS = {"ms": 1, "s": 1000}
_CONDITION = re.compile(r"(?P<name>[^<>=≤≥]*)(?P<sign>[<>=≤≥]+)(?P<limit>[^<>=≤≥]*)")
_LIMIT = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>\S*)")
_DECIMAL_COMMA = re.compile(r"\d+,\d+")
_PERCENTILE = re.compile(r"p(?P<percent>\d+(\.\d+)?)")
_OTHER_NAMES = {"median": "p50", "error": FAILURES, "errors": FAILURES, "failed": FAILURES}


@dataclass(frozen=True)
class Condition:
    """At most ``most_share`` (a part of 1) of the arrivals may miss it.

    ``limit_ms``: an arrival misses it if it took so long or longer, or failed; None: only if it failed. ``text`` is how
    it is written.
    """

    text: str
    most_share: float
    limit_ms: float | None

    def missed(self, times_ms: Iterable[float], failed: int) -> int:
        """How many arrivals missed it.

        Args:
            times_ms: the response times of the arrivals that were answered rightly, from the intended arrival.
            failed: how many other arrivals there were: failed, never answered, never sent.
        """
        limit_ms = self.limit_ms
        return failed if limit_ms is None else failed + sum(time_ms >= limit_ms for time_ms in times_ms)


@dataclass(frozen=True)
class Objective:
    """Conditions that must all be met."""

    conditions: tuple[Condition, ...]

    def __str__(self) -> str:
        return ", ".join(condition.text for condition in self.conditions)

    @property
    def longest_limit_ms(self) -> float:
        """The longest response time that a condition is about; 0 if all are about failures."""
        return max(condition.limit_ms or 0.0 for condition in self.conditions)

    @property
    def step_s(self) -> float:
        """How long a step of a search lasts near the limit, in seconds."""
        return max(SHORTEST_STEP_S, LIMITS_A_STEP * self.longest_limit_ms / 1000)

    @property
    def least_search_s(self) -> float:
        """How much load a search needs at the least, in seconds."""
        return FEWEST_STEPS * self.step_s

    def missed(self, times_ms: Iterable[float], failed: int) -> tuple[int, ...]:
        """How many arrivals missed each condition; the arguments are as those of ``Condition.missed``."""
        times_ms = list(times_ms)
        return tuple(condition.missed(times_ms, failed) for condition in self.conditions)


@dataclass(frozen=True)
class Step:
    """What was measured at one rate.

    ``rate_per_s``: arrivals per second that were asked for. ``seconds``: of load at this rate. ``offered``: arrivals
    that were due in the measured part. ``missed``: how many of them missed each condition of the objective.
    ``is_overloaded``: unanswered requests piled up, or arrivals were not sent because of them.
    """

    rate_per_s: float
    seconds: float
    offered: int
    missed: tuple[int, ...]
    is_overloaded: bool = False


def read_objective(text: Any) -> Objective:
    """The objective that a text describes.

    Raises:
        ValueError: it describes none. The message says what would be right, as that of a check in ``servicefile.toml``.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"an objective, such as {EXAMPLE}")
    if len(text) > MOST_CHARACTERS:
        raise _wrong(f"it has more than {MOST_CHARACTERS} characters; write it as {EXAMPLE}")
    if found := _DECIMAL_COMMA.search(text):
        raise _wrong(f"{found[0]} has a comma; write numbers with a point, such as {found[0].replace(',', '.')}")
    conditions: dict[str, Condition] = {}
    for part in text.split(","):
        name, condition = _condition(" ".join(part.split()))
        if name in conditions:
            raise _wrong(f"{name} is in it twice; keep one of the two")
        conditions[name] = condition
    return Objective(tuple(conditions.values()))


def _wrong(why: str) -> ValueError:
    return ValueError(f"an objective ({why})")


def _condition(part: str) -> tuple[str, Condition]:
    """The name of what a condition is about, and the condition.

    Raises:
        ValueError: it is none.
    """
    if not part:
        raise _wrong(f"there is a comma too many; write it as {EXAMPLE}")
    found = _CONDITION.fullmatch(part)
    if found is None:
        raise _wrong(f"{tidy(part)} is no condition; write it as p95 < 200 ms or failures < 0.1%")
    name = _name(found["name"].strip().lower())
    limit = found["limit"].strip()
    if found["sign"] != "<":
        raise _wrong(f"{tidy(part)} has {tidy(found['sign'])} where < belongs; write {name} < {tidy(limit)}")
    number, unit = _limit(name, limit)
    if name == FAILURES:
        if not 0 < number <= 100:
            raise _wrong(f"{tidy(part)} can't be; failures go from above 0% to 100%, such as failures < 0.1%")
        return name, Condition(f"{name} < {number:g}%", number / 100, None)
    limit_ms = number * _MS[unit]
    if not 0 < limit_ms <= LONGEST_LIMIT_MS:
        raise _wrong(f"{tidy(part)} can't be; a limit goes from above 0 ms to {LONGEST_LIMIT_MS / 1000:g} s")
    return name, Condition(f"{name} < {number:g} {unit}", round(1 - float(name[1:]) / 100, 9), limit_ms)


def _name(name: str) -> str:
    """``failures``, or a percentile such as ``p95`` or ``p99.9``."""
    if name == FAILURES:
        return name
    percentile = _PERCENTILE.fullmatch(name)
    if percentile is None:
        close = [_OTHER_NAMES[name]] if name in _OTHER_NAMES else get_close_matches(name, ("p95", FAILURES), n=1)
        hint = f"did you mean {close[0]}?" if close else "there are failures and percentiles: p50, p90, p95, p99"
        raise _wrong(f"there is no {tidy(name) or 'name before the <'}; {hint}")
    percent = float(percentile["percent"])
    if not 1 <= percent <= HIGHEST_PERCENTILE:
        raise _wrong(f"there is no {tidy(name)}; percentiles go from p1 to p{HIGHEST_PERCENTILE}")
    return f"p{percent:g}"


def _limit(name: str, limit: str) -> tuple[float, str]:
    """The number of a limit, and its unit: ``%`` of failures, else ``ms`` or ``s``."""
    units = ("%",) if name == FAILURES else tuple(_MS)
    example = f"{FAILURES} < 0.1%" if name == FAILURES else f"{name} < 200 ms"
    found = _LIMIT.fullmatch(limit)
    if found is None:
        raise _wrong(f"after {name} < comes {tidy(limit) or 'nothing'}, which is no number; write it as {example}")
    if found["unit"] not in units:
        said = f"the unit {tidy(found['unit'])}" if found["unit"] else "no unit"
        raise _wrong(f"{name} < {tidy(limit)} has {said}; its unit is {' or '.join(units)}, such as {example}")
    return float(found["number"]), found["unit"]
