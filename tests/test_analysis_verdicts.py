"""Ratios, intervals and verdicts, against what is known beforehand and against SciPy."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from recorded_runs import (
    a_round,
    measured,
    request,
    steady_requests,
    steady_samples,
    warmed,
    write_experiment,
    write_run,
)
from scipy import stats

from analysis.__main__ import cases_of
from analysis.analyse import Analysis, analyse
from analysis.judge import words
from analysis.judge.verdicts import (
    FASTER,
    NONE,
    SLOWER,
    UNPROVEN,
    Comparison,
    against_first,
    from_logs,
    holm,
    rounds_needed,
    what_would_show,
)
from analysis.measure.latency import quantiles
from analysis.measure.quantity import Estimate
from analysis.measure.ratios import logs_of_values
from analysis.measure.rounds import over_rounds, t_interval
from analysis.read.results import read_results
from analysis.show.cards import cards
from analysis.show.junit import render_junit
from analysis.show.markdown import render_markdown
from analysis.show.page import render
from analysis.show.sections import ratio_charts

TIMES = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=200)


def compare(baseline: Mapping[int, float], subject: Mapping[int, float]) -> Comparison:
    """What is compared of two deployments whose rounds have these values."""
    return from_logs(np.array([*logs_of_values(baseline, subject).values()]))


def experiment(folder: Path, **medians: Sequence[float]) -> Analysis:
    """Deployments whose rounds have these medians."""
    write_experiment(folder, [measured(name, len(values)) for name, values in medians.items()])
    for name, values in medians.items():
        for number, value in enumerate(values, 1):
            rows = [request(2 + i / 100, value + (i % 5 - 2) / 100) for i in range(1000)]
            write_run(folder / name, "load", warmed(rows), steady_samples(0.5), number=number)
    return analyse(read_results(folder))


def test_a_difference_in_every_round_is_called_by_its_name(tmp_path: Path) -> None:
    analysis = experiment(
        tmp_path, host=[10, 10.2, 9.9, 10.1, 10], docker=[12, 12.1, 12, 12.2, 11.9], compose=[8, 8.1, 8, 8.2, 8]
    )
    medians = {
        (verdict.subject.name, verdict.baseline.name): verdict
        for verdict in analysis.verdicts
        if verdict.key == "median_ms"
    }
    assert medians["docker", "host"].kind == SLOWER
    assert medians["compose", "host"].kind == FASTER
    assert medians["compose", "docker"].kind == FASTER
    assert medians["docker", "host"].comparison.ratio == pytest.approx(1.2, abs=0.02)
    assert medians["docker", "host"].comparison.low > 1.15


def test_noise_proves_no_difference_and_says_what_it_would_take(tmp_path: Path) -> None:
    analysis = experiment(tmp_path, host=[10, 11, 9, 10.5, 9.5], docker=[10.4, 10.1, 9.9, 9.8, 10.6])
    (verdict,) = (verdict for verdict in analysis.verdicts if verdict.key == "median_ms")
    assert verdict.kind == UNPROVEN
    assert verdict.comparison.low < 1 < verdict.comparison.high
    assert re.fullmatch(
        r"\d+ more rounds \(\d+ in total\) would be enough to detect a difference of 5%", verdict.detail
    )
    assert words.verdict(verdict) == f"no difference proven; {verdict.detail}"
    shown = cards(analysis)[1].values[2]
    assert shown.text == "no difference proven"
    ratio, interval = words.ratio(verdict).split(" ", 1)
    assert (
        shown.detail == f"median, round by round: {ratio} times that of the host process {interval}\n{verdict.detail}"
    )


def test_an_interval_of_a_negative_mean_is_the_right_way_round() -> None:
    found = over_rounds([{"rest_ms": Estimate(value, 10, "requests")} for value in (-0.23, -0.231, -0.229)])["rest_ms"]
    assert found.low < found.value < found.high < 0


def test_noise_that_rounds_share_is_taken_out_by_pairing(tmp_path: Path) -> None:
    host = [10, 14, 8, 12, 9]
    analysis = experiment(tmp_path, host=host, docker=[value * 1.1 for value in host])
    (verdict,) = (verdict for verdict in analysis.verdicts if verdict.key == "median_ms")
    assert verdict.kind == SLOWER
    assert verdict.comparison.ratio == pytest.approx(1.1, abs=0.001)


VIRTUAL = {"endpoint": "unix:///run/docker.sock", "version": "26.1", "kernel": "6.6-linuxkit", "cpu_count": 2}
APART = "not comparable: the engine runs in a virtual machine with 2 of 8 CPUs"


def apart(folder: Path, engine: Mapping[str, Any] | None, **medians: Sequence[float]) -> Analysis:
    """As ``experiment``, with an engine that may run on another machine."""
    experiment(folder, **medians)
    path = folder / "experiment.json"
    record = json.loads(path.read_text())
    record["machine"]["cpu_count"] = 8
    path.write_text(json.dumps(record | {"engine": engine}))
    return analyse(read_results(folder))


def test_host_and_containers_of_another_machine_are_not_compared_but_containers_are(tmp_path: Path) -> None:
    medians = {"host": [10, 10.2, 9.9], "docker": [12, 12.1, 12], "compose": [20, 20.1, 20]}
    analysis = apart(tmp_path, VIRTUAL, **medians)
    assert analysis.validity.is_valid
    assert any(
        "two machines: the engine runs in a virtual machine" in doubt.text for doubt in analysis.validity.caveats
    )
    for verdict in analysis.verdicts:
        if verdict.baseline.name == "host":
            assert (verdict.kind, verdict.detail) == (NONE, APART)
            assert math.isnan(verdict.comparison.ratio)
        else:
            assert verdict.kind == SLOWER
    assert {name: verdict.baseline.name for name, verdict in against_first(analysis.verdicts).items()} == {
        "docker": "host",
        "compose": "docker",
    }
    assert analysis.headline[0] == "Docker Compose is slower than docker run."
    assert analysis.headline[1].startswith("Docker Compose: median 20.03 against 12.03 ms, round by round 1.66 times")
    assert analysis.headline[-1] == f"docker run and the host process are {APART}."
    said = " ".join(finding.text for finding in analysis.findings)
    assert "Docker Compose is slower than docker run" in said
    assert "Host" not in said
    charts = ratio_charts(analysis.verdicts)
    assert charts
    assert all("Host" not in json.dumps(chart.plot) for chart in charts)
    for text in (render(analysis), render_markdown(analysis), render_junit(cases_of(analysis))):
        assert APART in text
    line = [sys.executable, "-m", "analysis", str(tmp_path)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert f"docker run against Host process: {APART}" in done.stdout
    assert re.search(r"Docker Compose against docker run, median: round by round 1\.66 \(.*\) slower", done.stdout)


@pytest.mark.parametrize(
    ("engine", "is_apart"),
    [
        (None, False),
        ({"endpoint": "unix:///run/docker.sock", "version": "26.1", "kernel": "6.1"}, False),
        ({"endpoint": "unix:///run/docker.sock", "kernel": "6.6-linuxkit"}, True),
        ({"endpoint": "unix:///run/docker.sock", "kernel": "6.1", "memory_bytes": 2 << 30}, True),
        ({"endpoint": "tcp://10.0.0.7:2376", "kernel": "6.1", "cpu_count": 4}, True),
    ],
)
def test_what_shows_that_the_engine_runs_elsewhere(tmp_path: Path, engine: dict[str, Any], is_apart: bool) -> None:
    analysis = apart(tmp_path, engine, host=[10, 10.2, 9.9], docker=[12, 12.1, 12])
    assert analysis.validity.is_valid
    assert all(verdict.is_elsewhere is is_apart for verdict in analysis.verdicts)


def test_a_container_limited_to_its_own_machines_cores_is_not_limited(tmp_path: Path) -> None:
    rows = [
        measured(name) | {"rounds": [a_round(name, limits={"cpus": limit})]}
        for name, limit in (("host", None), ("docker", None), ("compose", 2))
    ]
    for name in ("host", "docker", "compose"):
        write_run(tmp_path / name, "load", steady_requests(50), steady_samples(0.5))
    write_experiment(tmp_path, rows, machine={"kernel": "6.1", "cpu_count": 8}, engine=VIRTUAL)
    assert analyse(read_results(tmp_path)).validity.is_valid


def test_one_round_gives_no_interval_and_no_verdict(tmp_path: Path) -> None:
    analysis = experiment(tmp_path, host=[10], docker=[20])
    (verdict,) = (verdict for verdict in analysis.verdicts if verdict.key == "median_ms")
    assert (verdict.kind, verdict.detail) == (NONE, "one round is not enough")
    assert math.isnan(verdict.comparison.low)
    assert not analysis.loads[0].summary["median_ms"].has_interval


def test_only_rounds_that_both_have_are_compared() -> None:
    found = compare({1: 10.0, 2: 10.0, 3: 5.0}, {1: 10.0, 2: 20.0, 4: 40.0})
    assert found.rounds == 2
    assert found.ratio == pytest.approx(math.sqrt(2))
    assert compare({2: 1.0}, {1: 1.0}).rounds == 0
    assert compare({1: 1.0, 2: 1.0}, {1: 0.0, 2: 1.0}).rounds == 1


def test_equal_rounds_are_no_difference() -> None:
    same = from_logs(np.zeros(4))
    assert (same.ratio, same.low, same.high, same.p_value) == (1, 1, 1, 1)


def test_what_it_would_take_to_see_a_difference() -> None:
    assert what_would_show(0.001, 5, 2) == "a difference of 5% would very likely have been detected"
    assert what_would_show(0.05, 5, 1) == "6 more rounds (11 in total) would be enough to detect a difference of 5%"
    assert what_would_show(0.2, 3, 10).endswith("in total) would be enough to detect a difference of 20%")
    assert what_would_show(3.0, 3, 10).endswith("in total) would be enough to detect a difference of 50%")


def test_so_many_rounds_have_the_power_that_is_promised() -> None:
    noise = np.random.default_rng(11)
    needed = rounds_needed(0.1, math.log(1.1), 0.05)
    found = [from_logs(noise.normal(math.log(1.1), 0.1, needed)).p_value < 0.05 for _ in range(1000)]
    assert 0.76 < np.mean(found) < 0.87


@given(TIMES, st.sampled_from([0.5, 0.95, 0.99]))
def test_percentiles_are_numpys(values: list[float], q: float) -> None:
    (figure,) = quantiles(np.array(values), [q])
    assert figure.value == np.percentile(values, q * 100)
    assert min(values) <= figure.value <= max(values)
    assert figure.n == len(values)


@given(st.lists(st.floats(-2, 2), min_size=2, max_size=30))
def test_the_test_of_a_ratio_is_scipys(logs: list[float]) -> None:
    values = np.array(logs)
    found = from_logs(values)
    assert found.low <= found.ratio * (1 + 1e-9)
    assert found.ratio <= found.high * (1 + 1e-9)
    if values.std(ddof=1) > 1e-4:
        expected = stats.ttest_1samp(values, 0)
        interval = expected.confidence_interval(0.95)
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
        assert (found.low, found.high) == pytest.approx((math.exp(interval.low), math.exp(interval.high)))


@given(st.lists(st.floats(0.1, 1e4), min_size=2, max_size=20), st.floats(0.1, 10))
def test_a_ratio_turned_round_is_its_inverse(values: list[float], factor: float) -> None:
    baseline = dict(enumerate(values))
    subject = {number: value * factor * (1 + number / 50) for number, value in baseline.items()}
    there, back = compare(baseline, subject), compare(subject, baseline)
    assert there.ratio == pytest.approx(1 / back.ratio)
    assert there.low == pytest.approx(1 / back.high)
    assert there.p_value == pytest.approx(back.p_value)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_no_stricter_than_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, own in zip(p_values, adjusted, strict=True):
        assert p <= own <= min(1, p * len(p_values)) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert list(np.array(adjusted)[order]) == sorted(adjusted)


def test_holm_of_a_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([math.nan, 0.02])[1] == 0.02


@pytest.mark.parametrize(("rounds", "least"), [(3, 0.93), (5, 0.93), (10, 0.93)])
def test_the_interval_covers_the_truth_as_often_as_it_says(rounds: int, least: float) -> None:
    noise = np.random.default_rng(rounds)
    inside = [
        (found := from_logs(noise.normal(0.1, 0.05, rounds))).low <= math.exp(0.1) <= found.high for _ in range(1000)
    ]
    assert least < np.mean(inside) < 0.97


def test_an_interval_needs_two_values() -> None:
    assert all(math.isnan(bound) for bound in t_interval(np.array([1.0])))
