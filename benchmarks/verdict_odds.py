"""How often the verdicts are right, drawn from recorded rounds: what benchmarks.verdicts and benchmarks.instrument
print."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.judge.verdicts import ALPHA, JUDGED, Comparison, from_logs, holm
from analysis.measure.quantity import QUANTITIES
from analysis.measure.ratios import log_ratio_of_cycles
from benchmarks.rounds import COLUMNS, PAIR
from infra.experiment.enough import FEWEST_ROUNDS_TO_STOP, ONE_PAIR_BUDGET_SHARE
from infra.experiment.plan import Plan

SEED = 1
FEWEST_RECORDED = 3
"""Of fewer rounds their spread says nothing."""

INJECTED, SMALL = 1.1, 1.05
SMALL_MINUTES = 10
"""How many minutes an experiment has to find the small difference. It does not end by precision: half an interval of 5%
is too much for a difference of 5%."""

LONG_MINUTES = 30
COVERAGE_ROUNDS = (3, 5, 10, 20)
COVERAGE_EXPERIMENTS = 2000
RESAMPLES = 1000


@dataclass(frozen=True)
class Pool:
    """Recorded rounds: of each the logarithms of the ratios of ``JUDGED`` (a row), and the seconds that one takes."""

    logs: np.ndarray
    round_s: float

    def rounds_in(self, minutes: float) -> float:
        return minutes * 60 / self.round_s

    @property
    def spread(self) -> float:
        """The standard deviation of a round's log ratio of the medians."""
        return float(self.logs[:, 0].std(ddof=1))


@dataclass(frozen=True)
class Found:
    """What an experiment of two deployments says of their medians, and whether there is any verdict on ``JUDGED``."""

    median: Comparison
    is_slower: bool
    any_verdict: bool

    def covers(self, ratio: float) -> bool:
        return self.median.low <= ratio <= self.median.high


def read_pool(path: Path) -> Pool:
    """The rounds that benchmarks.rounds recorded.

    Raises:
        ValueError: the file has other columns, or a round lacks one of its two services.
    """
    return pool_of(pd.read_csv(path))


def pool_of(table: pd.DataFrame) -> Pool:
    """As ``read_pool``, from the rows."""
    if missing := [name for name in COLUMNS if name not in table]:
        raise ValueError(f"it has no column {missing[0]}")
    logs = [_logs_of_round(number, rows) for number, rows in table.groupby("round")]
    return Pool(np.array(logs).reshape(-1, len(JUDGED)), float(table.groupby("round")["seconds"].first().mean()))


def _logs_of_round(number: object, rows: pd.DataFrame) -> list[float]:
    cycles: dict[Any, dict[Any, np.ndarray]] = {target: {} for target in PAIR}
    for (target, cycle), block in rows.groupby(["target", "cycle"]):
        cycles[target][cycle] = block["response_time_ms"].to_numpy()
    baseline, subject = (cycles[target] for target in PAIR)
    logs = [log_ratio_of_cycles(baseline, subject, QUANTITIES[key].quantile or 0.5) for key in JUDGED]
    if None in logs:
        raise ValueError(f"round {number} lacks one of its two services")
    return [float(log) for log in logs if log is not None]


def experiment(pool: Pool, minutes: float, ratio: float, noise: np.random.Generator, *, stops: bool = True) -> Found:
    """One experiment in which B takes ``ratio`` times as long as A.

    Each of its rounds is one of the recorded ones; a toss says which of the two services is A. A response time that is
    ``ratio`` times as long adds its logarithm to that of each quantile, so no request is needed. ``stops``: precision
    may end it before its time is up.
    """
    budget = pool.rounds_in(minutes)
    drawn = toss(pool.logs, max(1, int(budget)), noise) + math.log(ratio)
    logs = drawn[: rounds_measured(drawn[:, 0], budget)] if stops else drawn
    comparisons = [from_logs(logs[:, place]) for place in range(len(JUDGED))]
    p_values = [1.0 if math.isnan(p) else p for p in holm([comparison.p_value for comparison in comparisons])]
    median = comparisons[0]
    return Found(median, p_values[0] < ALPHA and median.ratio > 1, min(p_values) < ALPHA)


def toss(logs: np.ndarray, rounds: int, noise: np.random.Generator) -> np.ndarray:
    """So many of the rounds, each either way round: on average there is no difference."""
    drawn: np.ndarray = logs[noise.integers(0, len(logs), rounds)] * noise.choice([-1, 1], (rounds, 1))
    return drawn


def rounds_measured(logs: np.ndarray, budget: float) -> int:
    """How many of these rounds an experiment of one pair measures: by the rule of ``infra.experiment.enough``, with
    the precision of the default plan.

    Args:
        logs: the logarithm of the ratio in each round that the budget has room for.
        budget: for how many rounds there is time.
    """
    wanted = math.log1p(Plan().precision / 100)
    fewest = max(FEWEST_ROUNDS_TO_STOP, math.ceil(ONE_PAIR_BUDGET_SHARE * budget))
    for rounds in range(fewest, len(logs)):
        found = from_logs(logs[:rounds])
        if math.log(found.high / found.low) / 2 <= wanted:
            return rounds
    return len(logs)


def odds(pool: Pool, experiments: int, minutes: float) -> dict[str, int]:
    """How many of so many experiments have a verdict without a difference, find 10%, have an interval that holds it,
    all of these within ``minutes``, and find 5% within ``SMALL_MINUTES``."""
    noise = np.random.default_rng(SEED)
    same = [experiment(pool, minutes, 1.0, noise) for _ in range(experiments)]
    slower = [experiment(pool, minutes, INJECTED, noise) for _ in range(experiments)]
    small = [experiment(pool, SMALL_MINUTES, SMALL, noise, stops=False) for _ in range(experiments)]
    return {
        "aa_false": sum(found.any_verdict for found in same),
        "ab_found": sum(found.is_slower for found in slower),
        "ab_covered": sum(found.covers(INJECTED) for found in slower),
        "ab5_found": sum(found.is_slower for found in small),
    }


def stopping(pool: Pool) -> pd.DataFrame:
    """What ending by precision does: intervals that hold the truth, and pages with a false verdict, in % of many
    experiments, by the budget."""
    noise = np.random.default_rng(SEED)
    rows = []
    for minutes in (Plan().budget_minutes, SMALL_MINUTES, LONG_MINUTES):
        for stops in (False, True):
            found = [experiment(pool, minutes, 1.0, noise, stops=stops) for _ in range(COVERAGE_EXPERIMENTS)]
            row: dict[str, Any] = {"minutes": minutes, "ends by precision": "yes" if stops else "no"}
            row["rounds"] = round(float(np.mean([each.median.rounds for each in found])), 1)
            row["holds the truth"] = _percent([each.covers(1.0) for each in found])
            row["false verdict"] = _percent([each.any_verdict for each in found])
            rows.append(row)
    return pd.DataFrame(rows)


def coverage(pool: Pool) -> pd.DataFrame:
    """How often the intervals of several methods hold the truth, by the number of rounds."""
    noise = np.random.default_rng(SEED)
    methods: dict[str, Callable[[np.ndarray], tuple[float, float]]] = {
        "Student's t (chosen)": lambda drawn: tuple(np.log([(found := from_logs(drawn)).low, found.high])),
        "bootstrap, percentile": lambda drawn: bootstrap(drawn, "percentile", noise),
        "bootstrap, BCa": lambda drawn: bootstrap(drawn, "BCa", noise),
    }
    rows = []
    for name, interval in methods.items():
        row: dict[str, Any] = {"method": name}
        for rounds in COVERAGE_ROUNDS:
            drawn = [toss(pool.logs, rounds, noise)[:, 0] for _ in range(COVERAGE_EXPERIMENTS)]
            bounds = np.array([interval(sample) for sample in drawn])
            row[f"{rounds} rounds"] = _percent((bounds[:, 0] <= 0) & (bounds[:, 1] >= 0))
            if name.startswith("Student"):
                row[f"10% found, {rounds}"] = _percent(bounds[:, 0] + math.log(INJECTED) > 0)
        rows.append(row)
    return pd.DataFrame(rows)


def bootstrap(logs: np.ndarray, method: str, noise: np.random.Generator) -> tuple[float, float]:
    """SciPy's bootstrap over rounds; of rounds that are all equal it is a point."""
    if np.ptp(logs) == 0:
        return float(logs[0]), float(logs[0])
    found = stats.bootstrap((logs,), np.mean, n_resamples=RESAMPLES, method=method, rng=noise).confidence_interval
    return float(found.low), float(found.high)


def _percent(held: Sequence[bool] | np.ndarray) -> float:
    return round(float(np.mean(held) * 100), 1)
