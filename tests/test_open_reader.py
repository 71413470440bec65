"""What a reader of a staircase is told: what is not known, whose fault it may be, and numbers that agree."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _blocks import OTHERS_LIMIT_PERCENT
from playwright.sync_api import sync_playwright
from recorded_runs import (
    OpenTarget,
    change_rows,
    in_blocks,
    measured,
    open_record,
    staircase_experiment,
    steady_requests,
    steady_samples,
    write_blank,
    write_experiment,
    write_run,
)
from recorded_runs import Target as BlockTarget

from analysis.__main__ import cases_of
from analysis.analyse import Analysis, analyse
from analysis.judge.across import changed_circumstances
from analysis.judge.staircases import highest
from analysis.measure.others import LIMIT_PERCENT
from analysis.measure.steps import ANSWERED, NOT_KEPT, OVERLOADED
from analysis.read.results import read_results
from analysis.show import step_charts
from analysis.show.markdown import render_markdown
from analysis.show.page import render

RATES = (50.0, 100.0, 200.0, 300.0)
LATE = {"send_delay_ms": "20.0"}
Row = dict[str, str]


def change(folder: Path, file: str, block: int, values: Row, number: int = 1, name: str = "host") -> None:
    """Change the rows of one block, in the requests or the blocks of a round."""
    path = folder / name / f"round-{number}" / f"load_{file}.csv"
    change_rows(path, lambda row: row | values if float(row["block"]) == block else row)


def staircases(folder: Path, *capacities: float, damage: Callable[[Path], None] = lambda _: None) -> Analysis:
    """The host process alone, with such a capacity in each round. Its block 2 is at 50/s, 5 at 300/s."""
    staircase_experiment(folder, [[OpenTarget("host", capacity)] for capacity in capacities], RATES)
    damage(folder)
    return analyse(read_results(folder))


def said(analysis: Analysis) -> str:
    return next(finding.text for finding in analysis.findings if finding.id == "finding-staircase")


def disturb(folder: Path, block: int, number: int = 1) -> None:
    change(folder, "blocks", block, {"others_cpu_percent": "150.0"}, number)


def test_the_limit_of_a_disturbed_block_is_that_of_the_load_generator() -> None:
    assert LIMIT_PERCENT == OTHERS_LIMIT_PERCENT
    docs = Path(__file__).parents[1] / "docs/statistics.md"
    assert f"more than {LIMIT_PERCENT:g}% of a core" in docs.read_text(encoding="utf-8").replace("\n  ", " ")


def test_a_step_in_which_the_load_generator_was_late_is_looked_over(tmp_path: Path) -> None:
    analysis = staircases(tmp_path, 250, damage=lambda folder: change(folder, "requests", 3, LATE))
    host = analysis.staircases[0]
    assert [step.state for step in host.steps] == [ANSWERED, NOT_KEPT, ANSWERED, OVERLOADED]
    assert highest(host) == "200 requests/s"
    assert "At 300/s it gave 250 answers per second" in said(analysis)
    line = next(trace for trace in step_charts.response_times([host]).data if trace.name)
    assert [*line.marker.symbol] == ["circle", "x", "circle", "circle-open"]
    assert "not known: load generator late" in render_markdown(analysis)


def test_the_lowest_rate_may_be_late_if_a_higher_one_was_answered(tmp_path: Path) -> None:
    late = staircases(tmp_path / "lowest", 250, damage=lambda folder: change(folder, "requests", 2, LATE))
    assert late.validity.is_valid
    assert highest(late.staircases[0]) == "200 requests/s"

    def all_below(folder: Path) -> None:
        for block in (2, 3, 4):
            change(folder, "requests", block, LATE)

    analysis = staircases(tmp_path / "all", 250, damage=all_below)
    assert [doubt.kind for doubt in analysis.validity.invalid] == ["rate"]


def test_the_remedy_is_to_close_other_programs_if_they_took_the_cpu(tmp_path: Path) -> None:
    def late_and_disturbed(folder: Path) -> None:
        change(folder, "requests", 5, LATE)
        disturb(folder, 5)

    text = said(staircases(tmp_path / "disturbed", 1000, damage=late_and_disturbed))
    assert "took up to 150% of a core, so close other programs and measure again" in text
    assert "processes=2" not in text
    text = said(staircases(tmp_path / "alone", 1000, damage=lambda folder: change(folder, "requests", 5, LATE)))
    assert "--set processes=2" in text


def test_a_limit_beside_other_programs_is_a_lower_bound(tmp_path: Path) -> None:
    analysis = staircases(tmp_path, 250, damage=lambda folder: disturb(folder, 5))
    assert highest(analysis.staircases[0]) == "at least 200 requests/s"
    assert "so this may not be the limit of the deployment; close other programs and measure again." in said(analysis)
    assert "others: up to 150% CPU in 1 round" in render_markdown(analysis)


def test_the_rounds_that_differ_are_in_the_headline(tmp_path: Path) -> None:
    rounds = [[OpenTarget(name, capacity) for name in ("host", "docker")] for capacity in (150.0, 250.0, 1000.0)]
    analysis = analyse(read_results(staircase_experiment(tmp_path, rounds, RATES)))
    assert "the host process 200 requests/s (its rounds: 100/s to 300/s)" in analysis.headline[0]
    reached = "200 requests/s (this rate or more in 2 of 3 rounds; they went from 100/s to 300/s)"
    assert reached in analysis.headline[1]
    cases = [case for case in cases_of(analysis) if case.suite == "highest rate"]
    assert [case.name for case in cases] == ["Host process", "docker run"]
    assert cases[0].said.startswith("200 requests/s, this rate or more in 2 of 3 rounds")


def failing(folder: Path) -> None:
    """In round 2, at 300/s, the first 60 of 600 requests get an error answer."""
    first = iter(range(10**6))
    error = {"status": "503", "error": "status 503"}

    def failed(row: Row) -> Row:
        is_meant = float(row["block"]) == 5 and row["phase"] == "measured" and next(first) < 60
        return row | error if is_meant else row

    change_rows(folder / "host/round-2/load_requests.csv", failed)


def test_a_percentile_that_a_round_lacks_says_which_round_and_why(tmp_path: Path) -> None:
    analysis = staircases(tmp_path, 1000, 1000, 1000, damage=failing)
    step = analysis.staircases[0].steps[-1]
    assert step.total("failed") == 60
    assert step.share("answered") == pytest.approx(1 - 60 / 1800)
    assert step.estimates["median_ms"].is_measured
    assert step.estimates["p95_ms"].missing == "10.0% failed in round 2"


def test_the_first_error_of_failed_requests_is_said(tmp_path: Path) -> None:
    analysis = staircases(tmp_path, 1000, 1000, damage=failing)
    assert "At 300/s it answered 95% of the requests; 5% failed (the first: status 503)." in said(analysis)
    assert "60 failed (the first: status 503)" in render_markdown(analysis)


def test_an_interval_that_reaches_0_is_drawn(tmp_path: Path) -> None:
    rounds = [[OpenTarget("host", 1000, base_ms)] for base_ms in (1.0, 1.0, 60.0)]
    host = analyse(read_results(staircase_experiment(tmp_path, rounds, RATES))).staircases[0]
    median = host.steps[0].estimates["median_ms"]
    assert median.low == 0
    line = next(trace for trace in step_charts.response_times([host]).data if trace.name)
    assert line.error_y.arrayminus[0] == pytest.approx(median.value, abs=1e-5)


def test_the_chart_of_the_answers_is_logarithmic_if_the_rates_are_far_apart(tmp_path: Path) -> None:
    near = staircases(tmp_path / "near", 1000).staircases
    assert step_charts.answers(near).layout.xaxis.type is None
    far = staircase_experiment(tmp_path / "far", [[OpenTarget("host", 1000)]], (5.0, 200.0))
    layout = step_charts.answers(analyse(read_results(far)).staircases).layout
    assert (layout.xaxis.type, layout.yaxis.type) == ("log", "log")


def one_rate(folder: Path, late: tuple[int, ...]) -> Analysis:
    """The host process at 50 requests per second, of which so many were late in each round."""
    plan: dict[str, Any] = {"rounds": len(late), "users": 8, "seconds": 10, "warm_up_s": 2, "user_class": "keep_alive"}
    plan |= {"rate": 50.0, "layout": "turns", "deployments": ["host"], "arrivals": "constant"}
    write_experiment(folder, [measured("host", len(late))], plan=plan, blank=write_blank(folder))
    for number, count in enumerate(late, 1):
        rows = steady_requests(50, send_delay_ms=0.1)
        values: dict[str, Any] = {"user_class": "OpenUser", "users": 1, "at_s": 100.0 * number}
        values |= {"open": open_record(rate_per_s=50.0, late=count)}
        write_run(folder / "host", "load", rows, steady_samples(0.5), number=number, **values)
    return analyse(read_results(folder))


def test_rounds_in_which_a_rate_was_not_kept_are_one_reason(tmp_path: Path) -> None:
    analysis = one_rate(tmp_path, (20, 0, 40))
    (doubt,) = [doubt for doubt in analysis.validity.invalid if doubt.kind == "rate"]
    worst = (
        "Host process, load of rounds 1, 3: the worst was round 3: of 500 requests 8.0% were sent more than 10 ms late"
    )
    assert doubt.text.startswith(worst)
    assert doubt.title not in doubt.text


def test_the_docker_engine_does_not_matter_to_host_processes(tmp_path: Path) -> None:
    folders = [in_blocks(tmp_path / name, [BlockTarget(each) for each in ("host", "docker")]) for name in "ab"]
    record = json.loads((folders[1] / "experiment.json").read_text())
    record["engine"] = None
    (folders[1] / "experiment.json").write_text(json.dumps(record))
    both = [read_results(folder) for folder in folders]
    assert [text for text in changed_circumstances(*both) if "Docker engine" in text]
    hosts = [in_blocks(tmp_path / f"host-{name}", [BlockTarget("host")]) for name in "ab"]
    record = json.loads((hosts[1] / "experiment.json").read_text())
    record["engine"] = None
    (hosts[1] / "experiment.json").write_text(json.dumps(record))
    assert not [text for text in changed_circumstances(*map(read_results, hosts)) if "Docker engine" in text]


@pytest.mark.browser
def test_the_table_of_a_staircase_fits_a_desk(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on the PATH")
    page = tmp_path / "page.html"
    page.write_text(render(staircases(tmp_path / "results", 1000, 1000, 1000, damage=failing)), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        tab.goto(page.as_uri())
        widths = tab.evaluate("(t => [t.scrollWidth, t.clientWidth])(document.querySelector('.dense').parentElement)")
        browser.close()
    assert widths[0] <= widths[1]
