"""Draws experiments from recorded rounds and judges them, for benchmarks.verdicts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.judge.verdicts import ALPHA, JUDGED, SLOWER, from_logs, holm

INJECTED = 1.1
SEED = 1
QUANTILES = {"median_ms": 0.5, "p95_ms": 0.95}
COVERAGE_ROUNDS = (3, 5, 10, 20)
COVERAGE_EXPERIMENTS = 2000
RESAMPLES = 1000


def read_pool(path: Path) -> list[list[np.ndarray]]:
    """The rounds in the order in which they ran, each a list of seconds, each a list of times in ms."""
    table = pd.read_csv(path)
    table["second"] = table["sent_s"].astype(int)
    return [
        [second["response_time_ms"].to_numpy() for _, second in recorded.groupby("second")]
        for _, recorded in table.groupby("round")
    ]


def experiment(
    pool: list[list[np.ndarray]], rounds: int, factor: float, noise: np.random.Generator
) -> dict[str, float | bool]:
    """Draw an experiment of two deployments, in which B takes ``factor`` times as long; what the verdicts say of it."""
    logs: dict[str, list[float]] = {key: [] for key in JUDGED}
    for place in noise.integers(0, len(pool) // 2, rounds) * 2:
        first, second = place, place + 1
        if noise.random() < 0.5:
            first, second = second, first
        a, b = resample(pool[first], noise), resample(pool[second], noise) * factor
        for key in JUDGED:
            logs[key].append(float(np.log(np.quantile(b, QUANTILES[key]) / np.quantile(a, QUANTILES[key]))))
    comparisons = {key: from_logs(np.array(values)) for key, values in logs.items()}
    adjusted = holm([comparison.p_value for comparison in comparisons.values()])
    median = comparisons["median_ms"]
    kind = SLOWER if adjusted[0] < ALPHA and median.ratio > 1 else ""
    return {
        "ratio": median.ratio,
        "low": median.low,
        "high": median.high,
        "any_verdict": any(p < ALPHA for p in adjusted),
        "found": kind == SLOWER,
    }


def resample(seconds: list[np.ndarray], noise: np.random.Generator) -> np.ndarray:
    """Draw as many seconds as the round has, with replacement, each with all its requests."""
    drawn: np.ndarray = np.concatenate([seconds[place] for place in noise.integers(0, len(seconds), len(seconds))])
    return drawn


def pair_logs(pool: list[list[np.ndarray]]) -> np.ndarray:
    """The logarithm of the ratio of the medians of each pair of rounds that ran one after another."""
    medians = np.array([np.median(np.concatenate(seconds)) for seconds in pool[: len(pool) // 2 * 2]])
    logs: np.ndarray = np.log(medians[1::2] / medians[::2])
    return logs


def coverage(logs: np.ndarray, noise: np.random.Generator) -> pd.DataFrame:
    """How often the intervals of several methods contain the true value, by the number of rounds."""
    methods: dict[str, Callable[[np.ndarray], tuple[float, float]]] = {
        "Student's t (chosen)": lambda drawn: tuple(np.log([(found := from_logs(drawn)).low, found.high])),
        "bootstrap, percentile": lambda drawn: bootstrap(drawn, "percentile", noise),
        "bootstrap, BCa": lambda drawn: bootstrap(drawn, "BCa", noise),
    }
    rows = []
    for name, interval in methods.items():
        row: dict[str, Any] = {"method": name}
        for rounds in COVERAGE_ROUNDS:
            samples = [draw_pairs(logs, rounds, noise) for _ in range(COVERAGE_EXPERIMENTS)]
            bounds = np.array([interval(sample) for sample in samples])
            row[f"{rounds} rounds"] = round(float(((bounds[:, 0] <= 0) & (bounds[:, 1] >= 0)).mean() * 100), 1)
            if name.startswith("Student"):
                low = bounds[:, 0] + np.log(INJECTED)
                row[f"10% found, {rounds}"] = round(float((low > 0).mean() * 100), 1)
        rows.append(row)
    return pd.DataFrame(rows)


def draw_pairs(logs: np.ndarray, rounds: int, noise: np.random.Generator) -> np.ndarray:
    """Draw this many pairs, each in a random direction, so that there is no difference on average."""
    drawn: np.ndarray = noise.choice(logs, rounds) * noise.choice([-1, 1], rounds)
    return drawn


def bootstrap(logs: np.ndarray, method: str, noise: np.random.Generator) -> tuple[float, float]:
    """The 95% interval of SciPy's bootstrap over rounds. If all rounds are equal it is a point."""
    if np.ptp(logs) == 0:
        return float(logs[0]), float(logs[0])
    found = stats.bootstrap((logs,), np.mean, n_resamples=RESAMPLES, method=method, rng=noise).confidence_interval
    return float(found.low), float(found.high)
