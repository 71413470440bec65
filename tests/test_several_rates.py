"""Experiments with several rates (searches for the capacity, staircases): what is said of them, and of two of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded_runs import OpenTarget, staircase_experiment, whole_experiment
from test_analysis_capacity import HOST, Queue, experiment

from analysis import compare
from analysis.analyse import analyse
from analysis.read.results import read_results


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return experiment(tmp_path_factory.mktemp("search") / "search", [HOST], seed=250)


@pytest.fixture(scope="module")
def slower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that finds a third less."""
    return experiment(tmp_path_factory.mktemp("slower") / "slower", [Queue("host", 0.012)], seed=500)


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
    (case,) = compare.judge_changes(again, again, [compare.parse_condition("p95>10%")])
    assert "measure both experiments at one rate (--set rate=80), or search for both" in (case.error or "")
