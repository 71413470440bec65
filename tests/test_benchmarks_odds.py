"""How often verdicts are right: experiments drawn from recorded rounds, and the limits of the instrument."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.instrument import LIMITS, gap, spreads, verdict
from benchmarks.rounds import COLUMNS, answered_blocks
from benchmarks.stopping import worst_cases
from benchmarks.verdict_odds import Pool, experiment, odds, pool_of, read_pool, rounds_measured, stopping
from infra.experiment.enough import FEWEST_ROUNDS_TO_STOP, ONE_PAIR_BUDGET_SHARE, Budget, Pair, why_enough
from infra.experiment.plan import Plan
from runfiles.events import PRECISE

MINUTES = 6
ROUND_S = 40.0


def rows(number: int, ratio: float, cycles: int = 10) -> pd.DataFrame:
    """A round in which the second service takes ``ratio`` times as long, with enough requests for a p95."""
    times = np.linspace(1, 3, 400)
    blocks = [
        pd.DataFrame({"cycle": cycle, "target": target, "response_time_ms": times * (ratio if target == 2 else 1)})
        for cycle in range(1, cycles + 1)
        for target in (1, 2)
    ]
    return pd.concat(blocks).assign(round=number, seconds=ROUND_S)[[*COLUMNS]]


def noisy(spread: float, rounds: int = 200) -> Pool:
    """Rounds whose log ratios are normal."""
    return Pool(np.random.default_rng(7).normal(0, spread, (rounds, 2)), ROUND_S)


def test_the_log_ratio_of_each_round_is_read_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "rounds.csv.gz"
    pd.concat([rows(1, 1.1), rows(2, 0.9)]).to_csv(file, index=False)
    pool = read_pool(file)
    np.testing.assert_allclose(pool.logs, np.log([[1.1, 1.1], [0.9, 0.9]]))
    assert pool.rounds_in(MINUTES) == 9
    assert pool.spread == pytest.approx(math.log(1.1 / 0.9) / math.sqrt(2))


def test_a_disturbed_cycle_does_not_move_the_round() -> None:
    table = rows(1, 1.1)
    table.loc[(table["cycle"] == 3) & (table["target"] == 2), "response_time_ms"] *= 5
    np.testing.assert_allclose(pool_of(table).logs, np.log([[1.1, 1.1]]))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rounds.csv"
    rows(1, 1).drop(columns="cycle").to_csv(file, index=False)
    with pytest.raises(ValueError, match="no column cycle"):
        read_pool(file)
    with pytest.raises(ValueError, match="round 1 lacks one of its two services"):
        pool_of(rows(1, 1).query("target == 1"))


def test_only_answered_requests_of_measured_blocks_are_kept(tmp_path: Path) -> None:
    prefix = tmp_path / "load"
    blocks = {"block": [1, 2, 3], "cycle": [1, 2, 2], "phase": ["warm-up", "disturbed", "measured"]}
    pd.DataFrame(blocks).to_csv(f"{prefix}_blocks.csv", index=False)
    requests = {
        "phase": ["warm-up", "disturbed", "measured", "measured", "settling", "measured"],
        "block": [1, 2, 3, 3, 3, 4],
        "error": ["", "", "", "refused", "", ""],
        "response_time_ms": [1, 2, 3.123, 4, 5, 6],
    }
    pd.DataFrame(requests).to_csv(f"{prefix}_requests.csv", index=False)
    assert answered_blocks(prefix).to_dict("records") == [{"cycle": 2, "response_time_ms": 3.12}]


@pytest.mark.parametrize("spread", [0.001, 0.02, 0.05, 0.09])
def test_an_experiment_ends_as_infra_ends_one(spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, running = Plan(deployments=("host", "docker")), ("host", "docker")
    logs = np.random.default_rng(3).normal(0, spread, 9)
    budget = Budget(MINUTES)
    now = [1000.0]
    monkeypatch.setattr("infra.experiment.enough.time.monotonic", lambda: now[0])
    budget.begin()
    for number in range(1, 20):
        now[0] += ROUND_S
        budget.note_round(ROUND_S)
        known = logs[:number]
        half_width = None if number < 3 else _half_width_percent(known)
        if why_enough(plan, number, [Pair("host", "docker", half_width)], running, budget) is not None:
            break
    assert rounds_measured(logs, MINUTES * 60 / ROUND_S) == number


def _half_width_percent(logs: np.ndarray) -> float:
    arm = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    return math.expm1(arm) * 100


def test_several_pairs_end_earlier_than_one() -> None:
    plan, names = Plan(), ("host", "docker", "compose")
    precise = [Pair("host", "docker", 1.0), Pair("host", "compose", 1.0), Pair("docker", "compose", 1.0)]
    unused = Budget(MINUTES)
    assert why_enough(plan, FEWEST_ROUNDS_TO_STOP, precise, names, unused) == PRECISE
    assert why_enough(plan, FEWEST_ROUNDS_TO_STOP - 1, precise, names, unused) is None
    assert why_enough(plan, FEWEST_ROUNDS_TO_STOP, precise[:1], names[:2], unused) is None
    used = Budget(MINUTES, spent_s=ONE_PAIR_BUDGET_SHARE * MINUTES * 60)
    assert why_enough(plan, FEWEST_ROUNDS_TO_STOP, precise[:1], names[:2], used) == PRECISE


def test_a_difference_is_found_in_quiet_rounds_and_not_in_noisy_ones() -> None:
    noise = np.random.default_rng(1)
    found = experiment(noisy(0.01), MINUTES, 1.1, noise)
    assert found.is_slower
    assert found.covers(1.1)
    assert found.median.rounds == math.ceil(ONE_PAIR_BUDGET_SHARE * 9)
    assert not experiment(noisy(0.01), MINUTES, 1 / 1.1, noise).is_slower
    assert experiment(noisy(0.5), MINUTES, 1.1, noise).median.rounds == 9


def test_odds_count_experiments_by_their_truth() -> None:
    quiet = odds(noisy(0.01), 40, MINUTES)
    assert quiet["aa_false"] <= 6
    assert quiet["ab_covered"] >= 34
    assert quiet["ab_found"] == quiet["ab5_found"] == 40
    assert odds(noisy(0.5), 40, MINUTES)["ab5_found"] <= 6


def test_ending_by_precision_is_compared_with_the_whole_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.verdict_odds.COVERAGE_EXPERIMENTS", 100)
    table = stopping(noisy(0.03))
    assert list(table["ends by precision"]) == ["no", "yes"] * 3
    whole, early = (table[table["ends by precision"] == word]["rounds"].to_numpy() for word in ("no", "yes"))
    np.testing.assert_allclose(whole, [9, 15, 45])
    assert (early < whole).all()
    assert table["holds the truth"].between(85, 100).all()


def test_simulated_verdicts_of_one_pair_suffer_from_an_early_end() -> None:
    worst = {(row["rule"], row["deployments"]): row for row in worst_cases(1000)}
    early, whole = worst["from round 3", 2], worst["never", 2]
    assert early["least_held"] < 92.5 < whole["least_held"]
    assert whole["most_false"] < early["most_false"]
    assert worst["from round 5", 5]["least_held"] > 92.5


GOOD: dict[str, Any] = {
    "client_cpu_ms_per_request": 0.2,
    "client_cpu_ratio": 0.3,
    "p50_ratio_to_wrk": {"1": 1.0, "8": 1.0, "32": 1.2},
    "throughput_ratio_to_wrk": {"1": 1.0, "8": 0.95},
    "round_spread": 0.03,
    "round_spread_turns": 0.09,
    "aa_false": 2,
    "ab_found": 40,
    "ab_covered": 38,
    "ab5_found": 36,
    "parts_gap": 0.01,
}


def test_the_table_of_the_instrument_has_each_limit() -> None:
    lines, holds = verdict(GOOD)
    assert holds
    assert len(lines) == 1 + len(LIMITS)
    assert any(line.split()[:5] == ["p50_ratio_to_wrk,", "32", "users", "1.2", "at"] for line in lines)
    assert all(line.endswith(" yes") for line in lines[1:])


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({"p50_ratio_to_wrk": {"1": 1.0, "8": 1.2, "32": 1.2}}, "p50_ratio_to_wrk, 8 users"),
        ({"throughput_ratio_to_wrk": {"1": 0.8, "8": 0.95}}, "throughput_ratio_to_wrk, 1 user"),
        ({"round_spread": 0.05}, "round_spread"),
        ({"aa_false": 4}, "aa_false"),
        ({"ab5_found": 35}, "ab5_found"),
        ({"parts_gap": None}, "parts_gap"),
        ({"throughput_ratio_to_wrk": {"1": 1.0}}, "throughput_ratio_to_wrk, 8 users"),
    ],
)
def test_a_figure_that_misses_its_limit_or_is_not_known_is_told(change: dict[str, Any], failing: str) -> None:
    lines, holds = verdict(GOOD | change)
    assert not holds
    assert [line.partition("  ")[0] for line in lines if line.endswith(" NO")] == [failing]


def test_figures_that_were_not_measured_yet_hold_nothing() -> None:
    lines, holds = verdict({})
    assert not holds
    assert all(line.endswith(" NO") for line in lines[1:])


def test_spreads_need_two_rounds() -> None:
    assert "round_spread" not in spreads([rows(1, 1.1)], [0.1])
    found = spreads([rows(1, 1.1), rows(2, 1 / 1.1)], [0.1, 0.3])
    assert found["round_spread"] == pytest.approx(math.log(1.1) * math.sqrt(2))
    assert found["round_spread_turns"] == pytest.approx(0.2 / math.sqrt(2))


def test_the_gap_is_a_share_of_the_whole() -> None:
    assert gap([1, 2, 3, 3.5], 10) == pytest.approx(0.05)
    assert gap([1, 2, 3, 4.5], 10) == pytest.approx(0.05)
