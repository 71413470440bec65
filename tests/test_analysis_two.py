"""Two services against each other: a factor that is known is found, none is called none, unlike things are refused."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import OWN
from playwright.sync_api import sync_playwright
from recorded_runs import MODEL, NASTY, measured, request, steady_samples, write_experiment, write_run
from scipy import stats

from analysis.__main__ import main
from analysis.analyse import Analysis, analyse
from analysis.judge.across import OWN_SERVICE
from analysis.judge.two_findings import DOCKER, SERVICE
from analysis.judge.two_verdicts import LESS, MORE
from analysis.judge.verdicts import FASTER, SLOWER, UNPROVEN
from analysis.measure.unpaired import unpaired
from analysis.read.records import UnreadableResults
from analysis.read.results import read_results
from analysis.show.two_page import render_two, two_page
from analysis.two import TwoServices, set_side_by_side

NAMES = ("host", "docker", "compose")
OF_DOCKER = {"host": 1.0, "docker": 1.15, "compose": 1.2}
"""Deployment -> its median over that of the host process."""
APART_S = 5000.0


def service(name: str) -> dict[str, Any]:
    asked = {"method": "POST", "path": "/infer", "tells_model": name == OWN_SERVICE}
    return {"name": name, "file": "service.toml", "content": "port = 5000", **asked}


def experiment(
    folder: Path,
    name: str | None,
    factor: float = 1.0,
    of_docker: Mapping[str, float] = OF_DOCKER,
    noise: float = 0.01,
    rounds: int = 3,
    later: int = 0,
    changes: Mapping[str, Any] | None = None,
    **run: Any,
) -> Path:
    """Every response takes so many times 10 ms, and every answer so many times 2 ms of CPU. The rounds differ by
    ``noise`` (a standard deviation of logarithms). ``later``: its place in time, so that no two begin at once."""
    about = {"service": None if name is None else service(name)} | dict(changes or {})
    write_experiment(folder, [measured(deployment, rounds) for deployment in of_docker], **about)
    random = np.random.default_rng(later)
    for number in range(1, rounds + 1):
        for deployment, ratio in of_docker.items():
            median = 10 * factor * ratio * math.exp(random.normal(0, noise))
            times = median + random.normal(0, 0.05, 1200).round(4)
            rows = [request(place / 100, value) for place, value in enumerate(times)]
            samples = steady_samples(100 * 0.002 * factor * ratio, memory_bytes=100e6 * factor * (1 + noise * number))
            told = {"number": number, "after_s": later * APART_S} | run
            write_run(folder / deployment, "load", rows, samples, **told)
    return folder


@cache
def analysed(folder: Path) -> Analysis:
    return analyse(read_results(folder))


def two_of(first: Path, second: Path) -> TwoServices:
    return set_side_by_side(analysed(first), analysed(second))


def test_the_ratio_and_its_test_are_those_of_scipy() -> None:
    old, new = {1: 10.0, 2: 11.0, 3: 9.5, 4: 10.4}, {1: 12.0, 2: 13.5, 3: 12.2}
    found = unpaired(old, new)
    logs = [np.log([*values.values()]) for values in (new, old)]
    expected = stats.ttest_ind(*logs, equal_var=False)
    low, high = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert found.ratio == pytest.approx(math.exp(logs[0].mean() - logs[1].mean()))
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.p_beyond(0, is_rise=True) == pytest.approx(expected.pvalue / 2)
    assert found.rounds == 3
    assert math.isnan(unpaired(old, {1: 12.0}).p_value)
    assert math.isnan(unpaired(old, {}).ratio)


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourfold's own service, as an earlier version recorded it: without its name."""
    return experiment(tmp_path_factory.mktemp("fast") / "fast", None)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, which takes three times as long and does not tell its model."""
    return experiment(tmp_path_factory.mktemp("slow") / "slow", "Flask service", 3.0, later=1, service=None)


def test_a_factor_of_three_is_found_with_its_interval(fast: Path, slow: Path) -> None:
    two = two_of(fast, slow)
    assert two.is_valid
    assert [pair.name for pair in two.pairs] == [*NAMES]
    for pair in two.pairs:
        for key, kind in (("median_ms", SLOWER), ("p95_ms", SLOWER), ("cpu_ms_per_answer", MORE)):
            quantity = pair.quantities[key]
            assert quantity.kind == kind
            assert quantity.found.low < 3 < quantity.found.high
            assert quantity.found.high / quantity.found.low < 1.06
        assert pair.quantities["memory_mean_mb"].found.ratio == pytest.approx(3)
        assert pair.quantities["throughput_per_s"].found.ratio == pytest.approx(1, abs=0.01)
    back = two_of(slow, fast)
    assert {pair.quantities["median_ms"].kind for pair in back.pairs} == {FASTER}
    assert {pair.quantities["cpu_ms_per_answer"].kind for pair in back.pairs} == {LESS}
    assert [beside.ratio for beside in back.besides] == [pytest.approx(beside.ratio) for beside in two.besides]


def test_a_ratio_is_the_quotient_of_the_two_values_beside_it(tmp_path: Path) -> None:
    """Rounds that differ much: their plain means would give another number."""
    ways = {"host": 1.0, "docker": 1.15}
    first = experiment(tmp_path / "a", None, 1, ways, 0.4, later=11)
    two = two_of(first, experiment(tmp_path / "b", "other", 1.5, ways, 0.1, later=12))
    plain = [pair.second.summary["median_ms"].value / pair.first.summary["median_ms"].value for pair in two.pairs]
    for pair, of_plain in zip(two.pairs, plain, strict=True):
        for quantity in pair.quantities.values():
            before, after = quantity.values
            assert quantity.found.ratio == pytest.approx(after.value / before.value)
        before, after = pair.quantities["median_ms"].values
        assert abs(of_plain / (after.value / before.value) - 1) > 0.01
        logs = np.log([*pair.first.values("median_ms").values()])
        low, high = stats.t.interval(0.95, len(logs) - 1, logs.mean(), stats.sem(logs))
        assert (before.low, before.high) == pytest.approx((math.exp(low), math.exp(high)))
        shown = f"median {after.value:,.2f} ms with other against {before.value:,.2f} ms with Fourfold's service, "
        assert any(shown in number for number in two.headline)
    (row, *_), *_ = (table.rows for section in two_page(two).sections for table in section.tables)
    second, first_value = (float(row.cells[place].text) for place in (1, 0))
    assert float(row.cells[2].text.split()[0]) == pytest.approx(second / first_value, abs=0.01)


def test_the_services_cost_stands_beside_dockers(fast: Path, slow: Path) -> None:
    two = two_of(fast, slow)
    assert [(beside.container, beside.costs_more) for beside in two.besides] == [
        ("docker run", SERVICE),
        ("Docker Compose", SERVICE),
    ]
    found = two.besides[0]
    for name, docker in found.containers:
        assert name in ("Flask service", OWN_SERVICE)
        assert docker.low < 1.15 < docker.high
    claim, said = two.headline[:2]
    assert claim == "The choice of the service costs more than Docker does."
    assert said.startswith("As a host process, Flask service needs ")
    assert f"needs {found.ratio[0]:.2f} times ({found.ratio[1]:.2f} to {found.ratio[2]:.2f}) the median time of" in said
    assert "that of the host process with Fourfold's service, and " in said


@pytest.mark.parametrize(
    ("factor", "of_docker", "noise", "expected", "begins"),
    [
        (
            1.01,
            {"host": 1, "docker": 2},
            0.01,
            DOCKER,
            "Docker costs more than the choice of the service does. docker run",
        ),
        (1.0, {"host": 1, "docker": 1}, 0.02, None, "It is not proven what costs more, the choice of the service or"),
        (1.3, {"host": 1, "docker": 1.25}, 0.05, None, "It is not proven what costs more"),
    ],
)
def test_what_costs_more_is_said_only_if_it_is_proven(
    fast: Path, tmp_path: Path, factor: float, of_docker: Mapping[str, float], noise: float, expected: str, begins: str
) -> None:
    first = experiment(tmp_path / "a", None, 1, of_docker, noise, later=3)
    two = two_of(first, experiment(tmp_path / "b", "other", factor, of_docker, noise, later=4))
    (beside,) = two.besides
    assert beside.costs_more == expected
    assert " ".join(two.headline).startswith(begins)
    if factor == 1:
        assert {pair.quantities[key].kind for pair in two.pairs for key in ("median_ms", "p95_ms")} == {UNPROVEN}
        assert "no difference proven" in two.headline[2]


@pytest.mark.parametrize(
    ("changes", "run", "expected"),
    [
        ({"machine": {"system": "Linux", "cpu_count": 8}}, {}, "not compared: they ran on different machines"),
        ({}, {"texts": {"file": "x", "sha256": "c" * 64, "count": 9}}, "not compared: they differ in texts"),
        (
            {},
            {"generator": {"cpu_percent": 99.0, "cpu_warnings": 0}},
            "the measurement of other is not valid: the load",
        ),
        ({"engine": {"endpoint": "tcp://10.0.0.1:2375", "kernel": "6.6", "cpu_count": 8}}, {}, None),
        ({}, {"service": {"model": MODEL | {"sha256": "c" * 64}}}, None),
    ],
)
def test_what_was_measured_otherwise_is_not_compared(
    fast: Path, tmp_path: Path, changes: Mapping[str, Any], run: Mapping[str, Any], expected: str | None
) -> None:
    two = two_of(fast, experiment(tmp_path / "b", "other", 1.2, rounds=3, later=2, changes=changes, **run))
    refused = {pair.name: pair.why_not for pair in two.pairs if pair.why_not is not None}
    if expected is not None:
        assert [*refused] == [*NAMES]
        assert all(expected in reason for reason in refused.values())
        assert expected in two.headline[0]
        assert not two.is_valid
        assert not two.besides
        is_invalid = "not valid" in expected
        assert two_page(two).alert == ("other: the load generator was short of CPU." if is_invalid else "")
        assert ("Measure both services on one machine" in " ".join(two.headline)) != is_invalid
        assert not any(quantity.shows_ratio for pair in two.pairs for quantity in pair.quantities.values())
    elif changes:  # only the containers ran elsewhere
        assert [*refused] == ["docker", "compose"]
    else:
        assert refused == {}
        assert any(
            text.startswith("The models differ: Fourfold's service with some/model (aaaaaaaa)") for text in two.caveats
        )


def test_a_limit_that_differs_is_named(fast: Path, tmp_path: Path) -> None:
    other = experiment(tmp_path / "b", "other", rounds=3, later=2)
    record = json.loads((other / "experiment.json").read_text())
    for deployment in record["deployments"][1:]:
        for round_ in deployment["rounds"]:
            round_["limits"] = {"cpus": 1.0, "memory_bytes": None}
    (other / "experiment.json").write_text(json.dumps(record))
    reasons = {pair.name: pair.why_not or "" for pair in two_of(fast, other).pairs}
    assert "the CPU limit differed" in reasons["host"]  # from that of the containers beside it
    assert "the CPU limit differed" in reasons["docker"]


def test_without_a_host_process_only_the_services_are_compared(fast: Path, tmp_path: Path) -> None:
    two = two_of(fast, experiment(tmp_path / "b", "other", 0.5, {"docker": 1.15}, later=8))
    assert two.headline[0] == "other is faster than Fourfold's service with docker run."
    assert not two.besides
    assert "Measured with Fourfold's service only: Host process; Docker Compose." in two.caveats


def test_one_folder_twice_and_nothing_in_common_are_refused(fast: Path, tmp_path: Path) -> None:
    shutil.copytree(fast, tmp_path / "copy")
    for other in (fast, tmp_path / "copy"):
        with pytest.raises(UnreadableResults, match="hold the same runs, so they are one experiment"):
            two_of(fast, other)
    swarm = experiment(tmp_path / "swarm", "other", of_docker={"swarm-3": 1.0}, rounds=1, later=5)
    with pytest.raises(
        UnreadableResults, match=r"has Swarm, 3 replicas\. Measure both services in the same deployments"
    ):
        two_of(fast, swarm)


def test_two_experiments_with_one_service_have_names_that_differ(fast: Path, tmp_path: Path) -> None:
    two = two_of(fast, experiment(tmp_path / "later", OWN_SERVICE, rounds=1, later=6))
    assert [side.service for side in two.sides] == ["Fourfold's service (fast)", "Fourfold's service (later)"]
    assert {pair.quantities["median_ms"].detail for pair in two.pairs} == {"one round is not enough"}
    assert "no interval from one round" in two.headline[1]
    assert OWN.name == OWN_SERVICE


def test_a_service_need_not_tell_its_model_but_ours_does(slow: Path, tmp_path: Path) -> None:
    validity = analysed(slow).validity
    assert validity.is_valid
    assert any("does not say which model answers" in doubt.text for doubt in validity.caveats)
    own = experiment(tmp_path / "own", OWN_SERVICE, rounds=1, service=None)
    assert {doubt.kind for doubt in analysed(own).validity.invalid} == {"model not told"}


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``python -m analysis`` with these arguments: its exit code, and what it printed on both streams."""

    def run_it(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["analysis", *map(str, arguments)])
        try:
            code = main()
        except SystemExit as ended:  # wrong use
            code = int(ended.code or 0)
        return code, *capsys.readouterr()

    return run_it


def test_the_command_makes_a_page(fast: Path, slow: Path, tmp_path: Path, run: Run) -> None:
    page, text = tmp_path / "page.html", tmp_path / "page.md"
    code, out, _ = run(fast, slow, "--output", page)
    assert code == 0
    assert "The choice of the service costs more than Docker does" in " ".join(out.split())
    assert "caveat: The two services were measured one after the other." in " ".join(out.split())
    assert "Flask service" in page.read_text()
    assert run(fast, slow, "--output", text, "--format", "markdown")[0] == 0
    assert "| Host process | 9.9" in text.read_text()


def test_the_page_lies_beside_the_results_unless_a_place_is_named(
    fast: Path, slow: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.__main__.RESULTS", tmp_path / "results")
    assert run(fast, slow, "--format", "markdown")[0] == 0
    assert (tmp_path / "results" / "fast_and_slow.md").is_file()


def test_what_is_wrong_is_named(fast: Path, slow: Path, tmp_path: Path, run: Run) -> None:
    for arguments, said in (
        ([fast, tmp_path], "holds no experiment.json"),
        ([fast, fast], "hold the same runs"),
        ([fast, slow, fast], "3 folders are named; name one, or two to set them side by side"),
        ([fast, slow, "--junit", tmp_path / "x.xml"], "--junit goes with one folder"),
        ([fast, slow, "--output", tmp_path / "no" / "page.html"], "can't be written"),
    ):
        code, _, err = run(*arguments)
        assert code == 2
        assert said in err


def test_compare_names_another_service(fast: Path, slow: Path, run: Run) -> None:
    code, out, _ = run("compare", fast, slow, "--fail-on", "median>10%")
    assert code == 1
    assert out.startswith("caveat: the service changed from Fourfold's service to Flask service, and its model")
    assert "Host process: median>10%: regression: " in out


def test_names_from_outside_are_no_markup(fast: Path, tmp_path: Path) -> None:
    two = two_of(fast, experiment(tmp_path / "b", NASTY, rounds=3, later=7))
    assert "document.title='broken'</script>" not in render_two(two)
    for section in two_page(two).sections:
        for chart in section.charts:
            assert "<script" not in json.dumps(chart.plot)


@pytest.mark.browser
def test_the_page_is_drawn_and_fits_a_phone_and_a_desk(fast: Path, slow: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on the PATH")
    page = tmp_path / "page.html"
    page.write_text(render_two(two_of(fast, slow)), encoding="utf-8")
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width in (400, 1280):
            tab = browser.new_context(viewport={"width": width, "height": 900}, offline=True).new_page()
            tab.on("pageerror", lambda error: errors.append(str(error)))
            tab.goto(page.as_uri())
            tab.wait_for_function("document.documentElement.dataset.drawn === 'yes'")
            assert tab.locator(".plot:has(.main-svg)").count() == len(two_page(two_of(fast, slow)).plots) == 6
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            links = "[...document.querySelectorAll('main a[href^=\"#\"]')]"
            assert tab.evaluate(f"{links}.length") > 10
            assert tab.evaluate(f"{links}.filter(link => !document.getElementById(link.hash.slice(1))).length") == 0
        browser.close()
    assert errors == []
