"""Whether the search for the capacity finds it, in simulated services whose capacity is known.

    python -m benchmarks.capacity [--searches 40] [--json FILE]

Each search looks for the highest rate of Poisson arrivals with p95 < 50 ms. The service takes 10 ms for a request: in
one queue, exactly (M/D/1) or on average (M/M/1), or exactly with three replicas (M/D/3). The table says how many of the
searches ended within 3% of the exact rate, and how many 95% intervals hold it: with budgets of load time from two to
ten minutes, and if the search may end before because it is precise enough. It takes two minutes.

Exit code: 1 if of M/D/1, with the largest budget, fewer than 90% of the searches end within 3% or fewer than 90% of the
intervals hold the exact rate.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.needs import Figures, output_file, positive, require, run, why_no_packages
from runfiles.objective import Step, read_objective

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "locustfiles"))

from _capacity_search import Next, Search, next_step

if TYPE_CHECKING:
    import numpy as np

OBJECTIVE = read_objective("p95 < 50 ms")
SERVICE_S = 0.01
BUDGETS_S = (120, 180, 240, 300, 360, 480, 600)
TOLERANCE = 0.03
LOWEST_PER_S, HIGHEST_PER_S = 1, 5000
WITHIN = 0.03
LEAST_SHARE = 0.9
ARRIVALS = 2_000_000
"""So many simulated arrivals tell the rate to 0.3%."""


@dataclass(frozen=True)
class Service:
    """Requests are dealt to the replicas in turn. If all take equally long, that is one common queue."""

    title: str
    replicas: int = 1
    is_exponential: bool = False

    def times_ms(self, arrivals_s: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        """The response time of each arrival, first come first served; the service is idle at first."""
        import numpy as np

        from benchmarks.queueing_theory import waits

        shape = arrivals_s.shape
        services_s = chance.exponential(SERVICE_S, shape) if self.is_exponential else np.full(shape, SERVICE_S)
        times_s = np.empty(shape)
        for replica in range(self.replicas):
            own = slice(replica, None, self.replicas)
            times_s[own] = services_s[own] + waits(arrivals_s[own], services_s[own])
        return times_s * 1000


SERVICES = (Service("M/D/1"), Service("M/M/1", is_exponential=True), Service("M/D/3", replicas=3))


@dataclass(frozen=True)
class Found:
    """What the searches found with one budget. ``off``: the logarithm of the rate found over the exact one, of each
    search that found a limit; ``half_widths``: of the intervals' logarithms, ``holds``: which of them hold the exact
    rate. ``searches``: those without a limit too. ``longest_s``: the most load time that a search took."""

    off: Sequence[float]
    half_widths: Sequence[float]
    holds: Sequence[bool]
    searches: int
    longest_s: float

    def row(self) -> dict[str, Any]:
        """The row of the table."""
        return {
            "searches": self.searches,
            "within": sum(abs(off) < math.log1p(WITHIN) for off in self.off),
            "held": sum(self.holds),
            "half_width_percent": round(math.expm1(statistics.median(self.half_widths)) * 100, 2),
            "longest_s": round(self.longest_s, 1),
        }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.capacity", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--searches", type=positive, default=40, help="of each service (40)")
    parser.add_argument("--json", type=output_file, help="write the table there")
    arguments = parser.parse_args()
    require(why_no_packages("numpy", "scipy", "pandas"))
    figures = Figures(arguments.json, objective=str(OBJECTIVE), searches=arguments.searches)
    rows: list[dict[str, Any]] = []
    print(f"{'service':<8} {'exact':>8} {'ends by':>13} {'longest':>9} {'within 3%':>10} {'held':>6} {'interval':>9}")
    for service in SERVICES:
        exact = exact_rate(service)
        for ends_by, found in searched(service, exact, arguments.searches):
            row = {"service": service.title, "exact_per_s": round(exact, 2), "ends_by": ends_by, **found.row()}
            rows.append(row)
            figures.keep(rows=rows)
            print(
                f"{service.title:<8} {exact:>6.1f}/s {ends_by:>13} {row['longest_s']:>7.0f} s {row['within']:>10} "
                f"{row['held']:>6} ±{row['half_width_percent']:>6.1f}%",
                flush=True,
            )
    judged = next(row for row in rows if (row["service"], row["ends_by"]) == ("M/D/1", f"{BUDGETS_S[-1]} s"))
    return int(min(judged["within"], judged["held"]) < LEAST_SHARE * judged["searches"])


def searched(service: Service, exact_per_s: float, searches: int) -> list[tuple[str, Found]]:
    """What was found with each budget, and with the largest one if the search may end by precision. Search N of each
    service has the seed N."""
    whole = [search(service, BUDGETS_S[-1], 0, seed) for seed in range(1, searches + 1)]
    precise = [search(service, BUDGETS_S[-1], TOLERANCE, seed) for seed in range(1, searches + 1)]
    told = [
        (f"{budget_s} s", _found([_within(steps, budget_s) for steps in whole], exact_per_s)) for budget_s in BUDGETS_S
    ]
    return [*told, (f"{TOLERANCE:.0%} precision", _found(precise, exact_per_s))]


def search(service: Service, budget_s: float, tolerance: float, seed: int) -> list[Step]:
    """The steps of one simulated search. The service is idle before each."""
    import numpy as np

    chance = np.random.default_rng(seed)
    wanted = Search(OBJECTIVE, LOWEST_PER_S, HIGHEST_PER_S, budget_s, tolerance)
    steps: list[Step] = []
    while isinstance(step := next_step(wanted, steps), Next):
        offered = chance.poisson(step.rate_per_s * step.seconds)
        arrivals_s = np.sort(chance.uniform(0, step.seconds, offered))
        missed = OBJECTIVE.missed(service.times_ms(arrivals_s, chance), failed=0)
        steps.append(Step(step.rate_per_s, step.seconds, int(offered), missed))
    return steps


def exact_rate(service: Service) -> float:
    """The capacity in arrivals per second: of M/D/1 by theory, of the others as ``simulated_rate`` has it."""
    from scipy import optimize

    from benchmarks.queueing_theory import md1_wait_quantile

    if service.is_exponential or service.replicas > 1:
        return simulated_rate(service)
    (condition,) = OBJECTIVE.conditions
    longest_wait = (condition.limit_ms or 0) / 1000 / SERVICE_S - 1
    share = 1 - condition.most_share
    load = optimize.brentq(lambda load: md1_wait_quantile(share, load) - longest_wait, 0.01, 0.99)
    return float(load) / SERVICE_S


def simulated_rate(service: Service) -> float:
    """The capacity in arrivals per second, from one long simulation at each of several rates, with the same chance."""
    import numpy as np
    from scipy import optimize

    gaps = np.random.default_rng(0).exponential(1, ARRIVALS)
    (condition,) = OBJECTIVE.conditions

    def excess(rate_per_s: float) -> float:
        times_ms = service.times_ms(np.cumsum(gaps) / rate_per_s, np.random.default_rng(1))
        return float((times_ms >= condition.limit_ms).mean()) - condition.most_share

    return float(optimize.bisect(excess, 1, service.replicas / SERVICE_S, xtol=0.01))


def _within(steps: Sequence[Step], budget_s: float) -> Sequence[Step]:
    """The steps that a search with a smaller budget would have made."""
    used_s = 0.0
    for place, step in enumerate(steps):
        used_s += step.seconds
        if used_s > budget_s:
            return steps[:place]
    return steps


def _found(all_steps: Sequence[Sequence[Step]], exact_per_s: float) -> Found:
    from analysis.measure.capacity import capacity

    estimates = [capacity(OBJECTIVE, [steps]) for steps in all_steps]
    found = [estimate for estimate in estimates if estimate.is_measured]
    return Found(
        [math.log(estimate.value / exact_per_s) for estimate in found],
        [math.log(estimate.high / estimate.low) / 2 for estimate in found],
        [estimate.low <= exact_per_s <= estimate.high for estimate in found],
        len(estimates),
        max(sum(step.seconds for step in steps) for steps in all_steps),
    )


if __name__ == "__main__":
    sys.exit(run(main))
