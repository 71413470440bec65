"""Experiments with several rates (searches for the capacity, staircases): what is said of them, and of two of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT
from recorded_runs import OpenTarget, staircase_experiment, whole_experiment
from test_analysis_capacity import HOST, SLO, Queue, experiment

from analysis import compare
from analysis.analyse import analyse
from analysis.conditions import judge_conditions
from analysis.judge.verdicts import CARRIES_LESS, CARRIES_MORE
from analysis.measure.quantity import CAPACITY
from analysis.precision import precision
from analysis.read.results import read_results
from analysis.show.layout_facts import layout_facts
from analysis.show.page_markdown import page_as_markdown
from analysis.show.two_page import render_two, two_page
from analysis.two import TwoServices, set_side_by_side
from infra.experiment.enough import Budget, ask_precision, in_words, why_enough
from infra.experiment.plan import read_plan
from runfiles.events import BUDGET


def named(folder: Path, service: str) -> Path:
    """The same experiment, of a service with this name."""
    path = folder / "experiment.json"
    asked = {"method": "POST", "path": "/infer", "tells_model": False, "file": "service.toml", "content": "port = 5000"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"service": {"name": service} | asked}))
    return folder


def two_of(first: Path, second: Path) -> TwoServices:
    return set_side_by_side(*(analyse(read_results(folder)) for folder in (first, second)))


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return experiment(tmp_path_factory.mktemp("search") / "search", [HOST], seed=250)


@pytest.fixture(scope="module")
def slower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that finds a third less."""
    folder = experiment(tmp_path_factory.mktemp("slower") / "slower", [Queue("host", 0.012)], seed=500)
    return named(folder, "Flask service")


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return staircase_experiment(tmp_path_factory.mktemp("steps"), [[OpenTarget("host", 100)]] * 2, [20, 40])


def test_compare_asks_two_searches_for_their_capacity(
    search: Path, slower: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([str(search), str(slower)]) == 1
    assert "Host process: capacity<-10%: regression: 0." in capsys.readouterr().out
    assert compare.main([str(slower), str(search)]) == 0
    assert compare.main([str(search), str(slower), "--fail-on", "p95>10%"]) == 3
    asked = 'one figure for several rates says little; of two searches for the capacity, compare that (--fail-on "capa'
    assert asked in capsys.readouterr().out


def test_compare_says_which_loads_it_can_compare(
    search: Path, steps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    users = whole_experiment(tmp_path / "users")
    assert compare.main([str(users), str(search)]) == 3
    told = "Host process: p95>10%: not compared: the load changed from a number of users to a search for the capacity; "
    assert f"{told}two searches with the same objective can be compared" in capsys.readouterr().out
    assert compare.main([str(search), str(steps)]) == 3
    assert "from a search for the capacity to a staircase of rates" in capsys.readouterr().out
    again = analyse(read_results(steps))
    (case,) = judge_conditions(again, again, [compare.parse_condition("p95>10%")])
    assert "measure both experiments at one rate (--set rate=80), or search for both" in (case.error or "")


def test_the_page_of_two_services_has_their_capacities(search: Path, slower: Path) -> None:
    two = two_of(search, slower)
    (pair,) = two.pairs
    found = pair.quantities[CAPACITY]
    true_ratio = Queue("host", 0.012).capacity_per_s / HOST.capacity_per_s
    assert found.kind == CARRIES_LESS
    assert found.found.low < true_ratio < found.found.high
    assert two.headline[0] == "Flask service carries less than Fourfold's service as a host process."
    assert two.headline[1].startswith("Host process: capacity ")
    assert " requests/s with Flask service against " in two.headline[1]
    finding = next(finding.text for finding in two.findings if finding.id == f"finding-{CAPACITY}")
    assert finding.startswith(f"Flask service against Fourfold's service at {SLO}. Host process 0.")
    assert finding.endswith("), carries less.")
    sections = {section.id: section for section in two_page(two).sections}
    assert [chart.id for chart in sections["key"].charts] == [f"two-{CAPACITY}", "two-memory_mean_mb"]
    assert sections["table"].tables[0].heading.startswith("Capacity")
    assert "median" not in sections["table"].how_to_read
    assert finding in page_as_markdown(two_page(two)).replace("\\", "")
    assert "carries less" in render_two(two)
    assert two_of(slower, search).pairs[0].quantities[CAPACITY].kind == CARRIES_MORE


def test_a_capacity_that_one_of_two_services_lacks_is_not_compared(search: Path, tmp_path: Path) -> None:
    unlimited = experiment(tmp_path / "unlimited", [HOST], rounds=2, highest_per_s=70, seed=750)
    two = two_of(search, named(unlimited, "Flask service"))
    why = "at the highest rate, 70/s, the objective was still met"
    assert two.headline[0].startswith(f"There is no verdict on Fourfold's service and Flask service: {why}")
    assert two.headline[1].startswith(f"Host process: no capacity of both is known: {why}")
    assert not two.pairs[0].quantities[CAPACITY].shows_ratio
    assert "not found" in page_as_markdown(two_page(two)) or "not measured" in page_as_markdown(two_page(two))


def test_two_services_under_unlike_loads_are_not_compared(search: Path, steps: Path) -> None:
    two = two_of(search, steps)
    assert "the load changed from a search for the capacity to a staircase of rates" in two.headline[0]
    assert not two.is_valid


def test_the_precision_of_a_search_is_that_of_the_capacities(tmp_path: Path) -> None:
    folder = experiment(tmp_path, [HOST, Queue("docker", 0.010)], rounds=3)
    (verdict,) = analyse(read_results(folder)).verdicts
    (pair,) = precision(read_results(folder))["pairs"]
    assert (pair["ratio"], pair["low"]) == (verdict.comparison.ratio, verdict.comparison.low)
    plan = read_plan(ROOT / "plans" / "capacity.toml")
    known = f"docker run against Host process ±{verdict.comparison.half_width_percent:.1f}%"
    assert in_words(ask_precision(folder), plan) == f"ratio of the capacities: {known}"


def test_a_staircase_has_no_precision_and_ends_with_its_time(tmp_path: Path) -> None:
    pair = [OpenTarget("host", 100), OpenTarget("docker", 90)]
    folder = staircase_experiment(tmp_path, [pair, pair], [20, 40])
    assert precision(read_results(folder)) == {"rounds": 2, "pairs": []}
    plan = read_plan(None, ["rates=[20,40]"])
    assert "%" not in in_words([], plan)
    assert why_enough(plan, 9, [], ["host", "docker"], Budget(6)) is None
    path = folder / "experiment.json"
    record = json.loads(path.read_text())
    record["plan"] |= {"rounds": None, "precision": 5.0, "budget_minutes": 6.0}
    path.write_text(json.dumps(record | {"stopped_by": BUDGET}))
    analysis = analyse(read_results(folder))
    facts = {fact.term: fact.text for fact in layout_facts(analysis)}
    assert facts["Rounds"] == "2 rounds; then the time was up: 6 minutes"
    assert not [doubt for doubt in analysis.validity.doubts if "ratio of the medians" in doubt.text]
