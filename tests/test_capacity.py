"""The capacity: objectives, the search for the highest rate that meets one, and the estimate from its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from _capacity_search import (
    FEWEST_TO_STOP,
    LARGEST_MOVE,
    TOO_FAST,
    TOO_SLOW,
    End,
    Next,
    Search,
    next_step,
)
from scipy import stats

from analysis.measure.capacity import capacity, capacity_ratio
from benchmarks.capacity import OBJECTIVE, SERVICES, Service, exact_rate, search, simulated_rate
from infra.experiment.blocks import first_rate
from runfiles.events import BUDGET, PRECISE
from runfiles.objective import EXAMPLE, Condition, Objective, Step, read_objective
from servicefile import toml

MD1, MM1, MD3 = SERVICES
SEARCHES = 40
BUDGET_S = 480


def steps_of(objective: Objective, share_at: Callable[[float], float], budget_s: float = 600) -> tuple[list[Step], End]:
    """A search of a service of which exactly this share of the arrivals misses the (only) condition at each rate."""
    wanted = Search(objective, 1, 1000, budget_s, 0.03)
    steps: list[Step] = []
    while isinstance(step := next_step(wanted, steps), Next):
        offered = round(step.rate_per_s * step.seconds)
        steps.append(Step(step.rate_per_s, step.seconds, offered, (round(offered * share_at(step.rate_per_s)),)))
    return steps, step


def line(limit_per_s: float, slope: float = 8.0) -> Callable[[float], float]:
    """The share of a service whose p95 has its limit at a rate."""
    return lambda rate_per_s: 1 / (1 + 19 * (rate_per_s / limit_per_s) ** -slope)


exactly = cache(exact_rate)


@cache
def searches(service: Service, seconds: float) -> list[list[Step]]:
    return [search(service, seconds, 0, seed) for seed in range(1, SEARCHES + 1)]


# Objectives


def test_an_objective_is_read() -> None:
    objective = read_objective(" P95<200ms ,p99.9 < 1.5 s,  Failures <0.1% ")
    assert objective.conditions == (
        Condition("p95 < 200 ms", 0.05, 200),
        Condition("p99.9 < 1.5 s", 0.001, 1500),
        Condition("failures < 0.1%", 0.001, None),
    )
    assert str(objective) == "p95 < 200 ms, p99.9 < 1.5 s, failures < 0.1%"
    assert read_objective(str(objective)) == objective
    assert objective.longest_limit_ms == 1500


def test_an_arrival_misses_if_it_took_the_limit_or_longer_or_has_no_time() -> None:
    objective = read_objective("p50 < 200 ms, failures < 1%, p90 < 1 s")
    assert objective.missed([100, 199.9, 200, 300, 1000], failed=2) == (5, 2, 3)
    assert objective.missed([], failed=0) == (0, 0, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", f"an objective, such as {EXAMPLE}"),
        (200, f"an objective, such as {EXAMPLE}"),
        ("p95", "p95 is no condition; write it as p95 < 200 ms"),
        ("p95 < 200", "p95 < 200 has no unit; its unit is ms or s, such as p95 < 200 ms"),
        ("p95 < 200 sec", "p95 < 200 sec has the unit sec; its unit is ms or s"),
        ("p95 < 5%", "has the unit %; its unit is ms or s"),
        ("failures < 10 ms", "has the unit ms; its unit is %, such as failures < 0.1%"),
        ("failures < 0,1%, p95 < 1 s", "0,1 has a comma; write numbers with a point, such as 0.1"),
        ("p95 <= 200 ms", "has <= where < belongs; write p95 < 200 ms"),
        ("p95 > 200 ms", "has > where < belongs"),
        ("p95 < fast", "after p95 < comes fast, which is no number; write it as p95 < 200 ms"),
        ("p95 < ", "after p95 < comes nothing"),
        ("p95 < -5 ms", "comes -5 ms, which is no number"),
        ("p95 < 0 ms", "a limit goes from above 0 ms to 600 s"),
        ("p95 < 2000 s", "a limit goes from above 0 ms to 600 s"),
        ("failures < 0%", "failures go from above 0% to 100%"),
        ("failures < 101%", "failures go from above 0% to 100%"),
        ("p100 < 1 s", "there is no p100; percentiles go from p1 to p99.99"),
        ("median < 1 s", "there is no median; did you mean p50?"),
        ("errors < 1%", "did you mean failures?"),
        ("failure < 1%", "did you mean failures?"),
        ("mean < 1 s", "there is no mean; there are failures and percentiles"),
        ("< 1 s", "there is no name before the <"),
        ("p95 < 1 s, p95 < 2 s", "p95 is in it twice"),
        ("p95 < 1 s,", "there is a comma too many"),
        ("p95 < 1 s" * 100, "it has more than 200 characters"),
    ],
)
def test_a_slip_is_named_with_what_would_be_right(text: object, expected: str) -> None:
    with pytest.raises(ValueError, match=r"^an objective") as told:
        read_objective(text)
    assert expected in str(told.value)


def test_the_message_goes_on_from_that_of_a_file() -> None:
    with pytest.raises(toml.NotValid) as told:
        toml.checked({"objective": "p95 < 1"}, {"objective": read_objective}, "plan.toml", "a plan", lambda _: EXAMPLE)
    assert str(told.value).startswith('plan.toml: objective = "p95 < 1" is not an objective (p95 < 1 has no unit; ')


# The search


def test_the_rate_is_doubled_in_short_steps_until_one_clearly_misses() -> None:
    steps, _ = steps_of(OBJECTIVE, line(69))
    assert [step.rate_per_s for step in steps[:8]] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert {step.seconds for step in steps[:8]} == {2.5}
    assert {step.seconds for step in steps[8:]} == {5}
    assert steps[8].rate_per_s == pytest.approx(128 / math.sqrt(2), rel=1e-3)
    assert max(step.rate_per_s for step in steps) == 128
    assert [step.rate_per_s for step in steps[-10:]] == pytest.approx([69] * 10, rel=0.05)


def test_the_search_goes_no_higher_than_the_first_overloaded_step() -> None:
    steps = [Step(rate, 2.5, round(2.5 * rate), (0,), is_overloaded=rate == 16) for rate in (1, 2, 4, 8, 16)]
    wanted = Search(OBJECTIVE, 1, 1000, 600, 0.03)
    assert next_step(wanted, steps) == Next(11.31, 5)  # 16 / sqrt(2)
    steps.append(Step(11.31, 5, 57, (0,), is_overloaded=True))
    assert next_step(wanted, steps) == Next(float(f"{11.31 * math.exp(-LARGEST_MOVE):.4g}"), 5)


def test_a_slow_start_at_a_low_rate_does_not_keep_the_search_there() -> None:
    is_cold = [True, True]
    steps, end = steps_of(OBJECTIVE, lambda rate: 1.0 if rate > 1 and is_cold and is_cold.pop() else line(69)(rate))
    assert steps[1].rate_per_s == 2
    assert steps[2].rate_per_s < 2
    found = capacity(OBJECTIVE, [steps])
    assert found.value == pytest.approx(69, rel=0.03), end


@pytest.mark.parametrize(("limit_per_s", "why"), [(0.2, TOO_SLOW), (5000, TOO_FAST)])
def test_a_limit_outside_the_rates_ends_the_search_soon(limit_per_s: float, why: str) -> None:
    steps, end = steps_of(OBJECTIVE, line(limit_per_s))
    assert end == End(why)
    assert len(steps) < 20
    reason = {
        TOO_SLOW: "already at the lowest rate, 1/s, p95 < 50 ms was missed",
        TOO_FAST: "at the highest rate, 1000/s",
    }
    assert (capacity(OBJECTIVE, [steps]).missing or "").startswith(reason[why])


def test_a_precise_search_ends_before_its_budget() -> None:
    steps, end = steps_of(OBJECTIVE, line(69))
    assert end == End(PRECISE)
    assert sum(step.seconds for step in steps[8:]) >= 5 * FEWEST_TO_STOP
    assert sum(step.seconds for step in steps) < 600


@pytest.mark.parametrize("budget_s", [50, 123, 200])
def test_the_budget_is_used_and_never_exceeded(budget_s: float) -> None:
    for limit_per_s in (2, 69, 900):
        steps, end = steps_of(OBJECTIVE, line(limit_per_s), budget_s)
        assert end == End(BUDGET)
        assert budget_s - 5 < sum(step.seconds for step in steps) <= budget_s


def test_a_long_limit_makes_long_steps_and_needs_a_large_budget() -> None:
    objective = read_objective("p95 < 1 s, failures < 1%")
    assert Search(objective, 1, 100, 400, 0.03).step_s == 40
    with pytest.raises(ValueError, match=r"too small for p95 < 1 s, failures < 1%: a step takes 40 s.*allow 400 s"):
        Search(objective, 1, 100, 399, 0.03)
    with pytest.raises(ValueError, match="the lowest rate, 100/s, is not between 0 and the highest one, 100/s"):
        Search(objective, 100, 100, 400, 0.03)


# Simulated searches


def test_long_simulations_have_the_exact_rate_where_a_formula_does() -> None:
    assert exactly(MM1) == pytest.approx(100 - math.log(20) / 0.05, rel=0.005)
    assert simulated_rate(MD1) == pytest.approx(exactly(MD1), rel=0.005)


def test_searches_end_near_the_exact_rate_within_their_budgets() -> None:
    exact_per_s = exactly(MD1)
    found = [capacity(OBJECTIVE, [steps]) for steps in searches(MD1, BUDGET_S)]
    assert all(sum(step.seconds for step in steps) <= BUDGET_S for steps in searches(MD1, BUDGET_S))
    assert sum(abs(estimate.value / exact_per_s - 1) < 0.03 for estimate in found) >= 0.9 * SEARCHES
    assert sum(estimate.low <= exact_per_s <= estimate.high for estimate in found) >= 0.9 * SEARCHES
    assert np.median([estimate.high / estimate.low for estimate in found]) < 1.1


@pytest.mark.parametrize("service", [MM1, MD3], ids=lambda service: service.title)
def test_intervals_hold_the_exact_rate_of_other_services(service: Service) -> None:
    exact_per_s = exactly(service)
    found = [capacity(OBJECTIVE, [steps]) for steps in searches(service, BUDGET_S)]
    assert sum(estimate.low <= exact_per_s <= estimate.high for estimate in found) >= 0.9 * SEARCHES
    assert np.median([estimate.high / estimate.low for estimate in found]) < 1.25


# The estimate


def test_with_few_rounds_the_interval_is_that_of_the_steps() -> None:
    rounds = searches(MD1, BUDGET_S)
    one, two = capacity(OBJECTIVE, rounds[:1]), capacity(OBJECTIVE, rounds[:2])
    assert (one.rounds, two.rounds) == (1, 2)
    assert one.is_of_steps
    assert one.has_interval
    assert two.n > 1.5 * one.n
    assert two.high / two.low < one.high / one.low


def test_with_three_rounds_the_interval_is_that_of_the_rounds() -> None:
    limits_per_s = [60.0, 66.0, 63.0, 70.0]
    logs = np.log(limits_per_s)
    found = capacity(OBJECTIVE, [steps_of(OBJECTIVE, line(limit_per_s))[0] for limit_per_s in limits_per_s])
    low, high = stats.t.interval(0.95, 3, logs.mean(), stats.sem(logs))
    assert (found.value, found.low, found.high) == pytest.approx([*np.exp([logs.mean(), low, high])], rel=0.005)
    assert found.rounds == 4
    assert not found.is_of_steps


def test_the_ratio_is_paired_by_round() -> None:
    """All rounds differ, and both deployments alike: of the ratio nothing of that is left."""
    drift = [1.0, 1.3, 0.8]
    baseline = {number: steps_of(OBJECTIVE, line(60 * by))[0] for number, by in enumerate(drift, 1)}
    subject = {number: steps_of(OBJECTIVE, line(90 * by))[0] for number, by in enumerate(drift, 1)}
    found = capacity_ratio(OBJECTIVE, baseline, subject | {7: subject[1]})
    assert found.value == pytest.approx(1.5, rel=0.01)
    assert found.high / found.low < 1.1
    assert capacity(OBJECTIVE, [*subject.values()]).high / capacity(OBJECTIVE, [*subject.values()]).low > 2
    assert (found.rounds, found.n, found.of) == (3, 3, "rounds")


def test_the_ratio_of_one_round_takes_the_spread_of_both() -> None:
    first, second = searches(MD1, BUDGET_S)[:2]
    faster = [Step(step.rate_per_s * 1.25, step.seconds, step.offered, step.missed) for step in second]
    found = capacity_ratio(OBJECTIVE, {1: first}, {1: faster})
    alone = [capacity(OBJECTIVE, [steps]) for steps in (first, faster)]
    arms = [math.log(estimate.high / estimate.low) for estimate in alone]
    assert found.value == pytest.approx(alone[1].value / alone[0].value)
    assert math.log(found.high / found.low) == pytest.approx(math.hypot(*arms))
    assert found.low < 1.25 < found.high
    assert found.low > 1
    assert found.has_interval


def test_of_several_conditions_the_lowest_limit_counts() -> None:
    objective = read_objective("p95 < 50 ms, failures < 1%")

    def both(first: float, second: float) -> Sequence[Step]:
        shares = [
            (rate, line(first)(rate), line(second, 20)(rate) / 5)
            for rate in np.geomspace(20, 120, 80).round(2).tolist()
        ]
        return [Step(rate, 5, 1000, (round(1000 * slow), round(1000 * failed))) for rate, slow, failed in shares]

    assert capacity(objective, [both(60, 90)]).value == pytest.approx(60, rel=0.02)
    assert capacity(objective, [both(90, 60)]).value == pytest.approx(60, rel=0.02)


def test_what_is_lacking_is_told() -> None:
    assert capacity(OBJECTIVE, []).missing == "no step was measured"
    few = [Step(60, 5, 1000, (30,)), Step(65, 5, 1000, (45,)), Step(70, 5, 1000, (60,))]
    assert "only 3 steps were near the limit, and 6 are needed" in (capacity(OBJECTIVE, [few]).missing or "")
    assert capacity_ratio(OBJECTIVE, {1: few}, {2: few}).missing == "no step was measured"


def test_a_search_begins_where_an_earlier_one_has_found_the_limit(tmp_path: Path) -> None:
    wanted = Search(OBJECTIVE, 5, 1000, 60, 0.03, first_per_s=60)
    assert next_step(wanted, []) == Next(60.0, OBJECTIVE.step_s / 2)
    assert next_step(Search(OBJECTIVE, 5, 50, 60, 0.03, first_per_s=60), []) == Next(50.0, OBJECTIVE.step_s / 2)
    earlier = tmp_path / "load"
    assert first_rate(earlier) is None
    table = tmp_path / "load_blocks.csv"
    table.write_text("block,rate_per_s\n1,5\n2,10\n3,80\n4,120\n")
    assert first_rate(earlier) is None  # too few
    table.write_text(table.read_text() + "5,90\n6,110\n7,100\n")
    assert first_rate(earlier) == pytest.approx(100 / math.sqrt(2))
    table.write_text(table.read_text() + "8,\n")
    assert first_rate(earlier) is None
