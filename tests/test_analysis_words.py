"""What page, Markdown and terminal say first, and how estimates are written."""

from __future__ import annotations

import csv
import math
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from recorded_runs import (
    measured,
    not_run,
    request,
    steady_requests,
    steady_samples,
    warmed,
    write_experiment,
    write_run,
)

from analysis import __main__ as command
from analysis.analyse import Analysis, analyse
from analysis.judge import words
from analysis.judge.comparability import MEMORY_APART, is_memory_comparable
from analysis.judge.findings import _why_unproven, how_to_read
from analysis.judge.verdicts import UNPROVEN
from analysis.judge.words import figures_csv
from analysis.measure.quantity import Estimate
from analysis.read.results import read_results
from analysis.show.markdown import render_markdown
from analysis.show.page import render
from analysis.show.sections import ratio_charts
from analysis.show.tables import figure_tables, pair_tables


def experiment(folder: Path, medians: Mapping[str, Sequence[float]], tail: float = 0) -> Analysis:
    """Deployments whose rounds have these medians; one request in ten of all but the host takes ``tail`` longer."""
    write_experiment(folder, [measured(name, len(values)) for name, values in medians.items()])
    for name, values in medians.items():
        for number, value in enumerate(values, 1):
            late = 0 if name == "host" else tail
            rows = [
                request(2 + i / 200, value + (i % 5 - 2) / 100 + (late if i % 10 == 0 else 0), replica=name)
                for i in range(2000)
            ]
            write_run(folder / name, "load", warmed(rows), steady_samples(0.5, replica=name), number=number)
    return analyse(read_results(folder))


NOISE = {"host": [10, 11, 9, 10.5, 9.5], "docker": [10.4, 10.1, 9.9, 9.8, 10.6]}
SLOW = {"host": [10, 10.2, 9.9, 10.1, 10], "docker": [12, 12.1, 12, 12.2, 11.9]}


@pytest.mark.parametrize(
    ("medians", "tail", "expected"),
    [
        (
            {"host": [10.0]},
            0,
            "Only the host process was measured, so there is nothing to compare. Its median response ",
        ),
        ({"host": [10, 10.1, 9.9]}, 0, "Its median response time is 10.00 ms (95% interval 9.75 to 10.25)."),
        (
            {"host": [10], "docker": [20]},
            0,
            "There is no verdict on the response times: one round is not enough. Measure five: make bench "
            'ARGS="--set rounds=5".',
        ),
        (
            {"host": [10, 11], "docker": [10.4, 10.1]},
            0,
            "No difference is proven: two rounds are too few for the noise of this machine.",
        ),
        (
            NOISE,
            0,
            "No difference is proven: 31 more rounds (36 in total) would be enough to detect a difference of 5%.",
        ),
        (
            SLOW | {"compose": [10.0]},
            0,
            "Docker Compose and the host process are not compared: one round is not enough.",
        ),
        (
            SLOW,
            0,
            "docker run is slower than the host process. docker run: median 12.04 against 10.04 ms, round by "
            "round 1.20 times (95% interval 1.19 to 1.21); p95 12.06 against 10.06 ms, round by round 1.20 times (95% "
            "interval 1.19 to 1.21).",
        ),
        (
            SLOW | {"compose": [11, 11.1, 11, 11.2, 10.9]},
            0,
            "docker run and Docker Compose are slower than the host process. docker run: median 12.04 against 10.04 "
            "ms, round by round 1.20 times (95% interval 1.19 to 1.21); p95 12.06 against 10.06 ms, round by round "
            "1.20 times (95% interval 1.19 to 1.21). Docker Compose: median 11.04 against 10.04 ms, round by round "
            "1.10 times (95% interval 1.09 to 1.11); p95 ",
        ),
        (
            NOISE,
            30,
            "docker run is slower than the host process at p95. docker run: p95 40.14 against 10.02 ms, round by "
            "round 4.02 times (95% interval 3.63 to 4.44); no difference of the median is proven.",
        ),
        (
            SLOW | {"compose": [10.1, 10.0, 10.2, 9.9, 10.1]},
            0,
            "No difference from the host process is proven for Docker Compose.",
        ),
        (
            {"docker": NOISE["docker"], "compose": NOISE["host"], "host": [8, 8.1, 8, 8.2, 7.9]},
            0,
            "The host process is faster than docker run. The host process: median 8.04 against 10.16 ms, round "
            "by round 0.79 times",
        ),
    ],
)
def test_the_headline_says_what_was_found(
    tmp_path: Path, medians: Mapping[str, Sequence[float]], tail: float, expected: str
) -> None:
    assert expected in " ".join(experiment(tmp_path, medians, tail).headline)


def test_the_headline_names_what_is_proven_of_other_pairs(tmp_path: Path) -> None:
    """Nothing is proven against the noisy first deployment, but the two others differ."""
    steady = {"docker": [10, 10.1, 10, 10.2, 9.9], "compose": [11, 11.1, 11, 11.2, 10.9]}
    said = experiment(tmp_path, {"host": [8.0, 20.0, 9.0, 15.0, 10.0]} | steady).headline
    assert said[0] == "Docker Compose is slower than docker run."
    assert said[1].startswith(
        "Docker Compose: median 11.04 against 10.04 ms, round by round 1.10 times (95% interval 1.10 to 1.10); p95 "
    )
    assert said[2:] == ("No difference from the host process is proven for docker run and Docker Compose.",)


def test_the_first_sentence_says_at_which_quantity_each_deployment_differs(tmp_path: Path) -> None:
    """docker run's median and p95 are proven, of Docker Compose p95 alone."""
    said = experiment(tmp_path, SLOW | {"compose": [10.1, 10.0, 10.2, 9.9, 10.1]}, tail=30).headline
    assert (
        said[0] == "docker run is slower than the host process. Docker Compose is slower than the host process at p95."
    )
    assert [text.partition(":")[0] for text in said[1:]] == ["docker run", "Docker Compose"]


def test_the_numbers_of_pairs_with_several_baselines_name_theirs(tmp_path: Path) -> None:
    """Nothing is proven against the noisy first deployment. All others differ from one another."""
    steady = {
        name: [at, at + 0.1, at, at + 0.2, at - 0.1] for name, at in (("docker", 10), ("compose", 11), ("swarm-1", 13))
    }
    said = experiment(tmp_path, {"host": [8.0, 20.0, 9.0, 15.0, 10.0]} | steady).headline
    assert said[0].count(" slower than ") == 2  # than docker run, and than Docker Compose
    assert [text.partition(":")[0] for text in said[1:4]] == [
        "Docker Compose against docker run",
        "Swarm, 1 replica against docker run",
        "Swarm, 1 replica against Docker Compose",
    ]


def test_the_headline_of_an_invalid_experiment_names_reasons_and_deployments(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host"), measured("docker")])
    failing = steady_requests(50) + [request(3, error="no", status=0)] * 20
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5))
    write_run(tmp_path / "docker", "load", failing, steady_samples(0.5), ended_by="interrupted")
    (said,) = analyse(read_results(tmp_path)).headline
    assert said.startswith("Not valid: over 1% of the requests failed (docker run); ")
    assert "a run was cut off (docker run)" in said


def test_the_headline_says_that_nothing_was_measured(tmp_path: Path) -> None:
    write_experiment(tmp_path, [not_run("host", "port 5000 is taken")])
    assert analyse(read_results(tmp_path)).headline[0].startswith("Nothing was measured: ")


def test_the_terminal_begins_with_the_headline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    analysis = experiment(tmp_path, SLOW)
    monkeypatch.setattr(sys, "argv", ["analysis", str(tmp_path)])
    assert command.main() == 0
    printed = capsys.readouterr().out
    assert printed.startswith("\n".join(analysis.headline))
    assert "MB: counted differently for the host process and for containers, so not comparable" in printed


def test_an_interval_from_two_rounds_is_in_the_csv_alone(tmp_path: Path) -> None:
    analysis = experiment(tmp_path, {"host": [10, 11], "docker": [12, 12.5]})
    median = analysis.loads[0].summary["median_ms"]
    assert not median.has_interval
    assert words.interval(median, 2, 2) == f"{words.TWO_ROUNDS}\nn = 4,000"
    assert words.ratio(analysis.verdicts[0]) == f"1.17 ({words.TWO_ROUNDS})"
    assert words.TWO_ROUNDS in " ".join(finding.text for finding in analysis.findings)
    assert any(
        "From two rounds only a very clear difference gets a verdict, and no interval is shown" in doubt.text
        for doubt in analysis.validity.caveats
    )
    row = next(line for line in figures_csv(analysis.loads, (), ()).splitlines() if ",median_ms," in line)
    assert row.split(",")[5:8] == [f"{value:.10g}" for value in (median.value, median.low, median.high)]


def test_one_round_has_no_bound_in_the_csv(tmp_path: Path) -> None:
    analysis = experiment(tmp_path, {"host": [10.0]})
    rows = [*csv.DictReader(figures_csv(analysis.loads, (), ()).splitlines())]
    assert {row["value"] for row in rows if row["figure"] == "median_ms"} == {"10"}
    assert {(row["low"], row["high"]) for row in rows} == {("", "")}


def test_three_rounds_have_an_interval_and_a_count_has_none(tmp_path: Path) -> None:
    (load,) = experiment(tmp_path, {"host": [10, 11, 10.5]}).loads
    assert load.summary["median_ms"].has_interval
    assert words.interval(load.summary["median_ms"], 1, 3) == "9.3 to 11.7\nn = 6,000"
    counted = Estimate(20, 20, "requests", rounds=2, which="sent in the measured phase")
    assert words.interval(counted, 0, 2) == "n = 20"
    assert words.interval(counted, 0, 3) == "n = 20, 2 of 3 rounds"


def test_n_says_what_it_counts(tmp_path: Path) -> None:
    (load,) = experiment(tmp_path, {"host": [10.0]}).loads
    keys = ("requests", "median_ms", "throughput_per_s", "seconds_to_healthy")
    assert words.interval(load.summary["median_ms"], 1, 1) == "n = 2,000"
    told = {key: words.what_n_counts([load.summary[key]]) for key in keys}
    assert told["requests"] == "n: requests sent in the measured phase"
    assert told["median_ms"] == "n: requests sent in the measured phase and answered"
    assert told["seconds_to_healthy"] == "n: starts"
    assert told["throughput_per_s"].endswith(" answers that came in the whole seconds of the measured phase")
    assert words.interval(load.summary["seconds_to_healthy"], 1, 1) == "n = 1"


def test_memory_of_host_and_containers_is_not_lined_up(tmp_path: Path) -> None:
    analysis = experiment(tmp_path, SLOW | {"compose": [10, 10.1, 10, 10.2, 9.9]})
    containers, host = (finding.text for finding in analysis.findings if finding.title == "Memory")
    assert "docker run" in containers
    assert "Docker Compose" in containers
    assert "Host process" not in containers
    assert "docker run" not in host
    assert host.endswith(MEMORY_APART)
    first, docker, compose = (load.deployment for load in analysis.loads)
    assert not is_memory_comparable(first, docker)
    assert is_memory_comparable(docker, compose)


@pytest.mark.parametrize("name", ["CPU", "Where the time goes"])
def test_numbers_without_a_verdict_have_intervals_or_say_that_they_are_not_compared(tmp_path: Path, name: str) -> None:
    for folder, medians, expected in (
        ("three", {"host": [10, 10.1, 9.9], "docker": [11, 11.1, 10.9]}, "Only response times have verdicts"),
        ("one", {"host": [10], "docker": [11]}, "Only response times have verdicts, and not from one round"),
    ):
        analysis = experiment(tmp_path / folder, medians)
        (text,) = (finding.text for finding in analysis.findings if finding.title == name)
        said = how_to_read(analysis.loads)
        assert f"{expected}." in said
        assert ("need not be the quotient" in said) == (folder == "three")
        assert f"{expected}." in render_markdown(analysis)
        assert f"{expected}." in render(analysis)
        assert (" to " in text) == (folder == "three")


def test_a_page_goes_into_its_experiments_folder_but_not_into_examples() -> None:
    assert command._place(Path("results/a"), "html") == Path("results/a/report.html")
    assert command._place(Path("results/a"), "markdown") == Path("results/a/report.md")
    for folder in (ROOT / "examples" / "a", ROOT / "examples" / "a" / "."):
        assert command._place(folder, "html") == ROOT / "results" / "a.html"
        assert command._place(folder, "markdown") == ROOT / "results" / "a.md"


@pytest.mark.parametrize("format", ["html", "markdown"])
def test_an_example_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    folder = shutil.copytree(ROOT / "examples" / "mesh-keep-alive", tmp_path / "examples" / "mesh-keep-alive")
    cases = tmp_path / "cases.xml"

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    before = files()
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(sys, "argv", ["analysis", str(folder), "--format", format, "--junit", str(cases)])
    assert command.main() == 0
    page = tmp_path / "results" / f"mesh-keep-alive{command.SUFFIXES[format]}"
    after = files()
    assert after.keys() - before.keys() == {page, cases}
    assert {path: after[path] for path in before} == before


def test_median_and_p95_of_a_pair_have_their_own_findings_with_milliseconds(tmp_path: Path) -> None:
    analysis = experiment(tmp_path, NOISE, 30)
    median, tail = (finding.text for finding in analysis.findings if finding.title == "Response time")
    assert median.startswith(
        "No difference of the median is proven between docker run and the host process. Measured: 10.17 ms against "
    )
    both = (
        "docker run is slower than the host process: its p95 is 40.14 ms against 10.02 ms, round by round 4.02 times ("
    )
    assert tail.startswith(both)


@pytest.mark.parametrize(("low", "high", "side"), [(1.01, 1.2, "above"), (0.8, 0.99, "below"), (0.9, 1.1, "")])
def test_an_interval_beside_one_that_proves_nothing_is_explained(low: float, high: float, side: str) -> None:
    verdict = next(
        verdict
        for verdict in analyse(read_results(ROOT / "examples" / "engine-keep-alive")).verdicts
        if verdict.kind == UNPROVEN
    )
    found = replace(verdict, comparison=replace(verdict.comparison, low=low, high=high))
    text = "".join(part if isinstance(part, str) else part.text for part in _why_unproven(found, ""))
    assert ("The interval lies" in text) == bool(side)
    assert f"The interval lies {side} a ratio of one. This is still no proof" in text or not side


def test_an_experiment_without_verdicts_begins_with_the_replicas_shares() -> None:
    analysis = analyse(read_results(ROOT / "examples" / "mesh-new-connection"))
    first, second = analysis.headline
    assert first == "Swarm, 3 replicas: the busiest replica gave 33.3% of the answers; 33.3% were expected."
    assert second.startswith("There is no verdict on the response times: ")
    assert analysis.findings[0].id == "finding-network-swarm-3"


def test_a_percentile_of_too_few_requests_is_not_shown_and_neither_is_its_ratio() -> None:
    analysis = analyse(read_results(ROOT / "examples" / "mesh-new-connection"))
    median, tail = analysis.verdicts
    assert words.ratio(median) == "0.99"
    assert (words.ratio(tail), tail.shows_ratio) == ("", False)
    assert not math.isnan(tail.comparison.ratio)
    assert words.plain(analysis.loads[0], "p95_ms") == "not shown"
    assert "ratios-p95" not in [chart.id for chart in ratio_charts(analysis.verdicts)]
    pairs = pair_tables(analysis)[0].rows[0].cells
    assert (pairs[2].text, pairs[2].detail) == ("not shown", "")


def test_a_value_of_few_ticks_of_the_clock_is_only_a_bound() -> None:
    few = Estimate(0.0625, 800, "answers", low=0.06, high=0.065, rounds=5, tick=10.0)
    assert words.number(few, 3) == "< 0.125"
    assert words.low_to_high(few, 3) == words.TICKS
    enough = replace(few, value=0.2)
    assert words.number(enough, 3) == "0.200"
    assert words.low_to_high(enough, 3) == "0.060 to 0.065"


def test_a_small_value_keeps_two_digits() -> None:
    assert words.number(Estimate(0.0384, 5, "requests"), 2) == "0.038"
    assert words.number(Estimate(0.1, 5, "requests"), 2) == "0.10"
    assert words.number(Estimate(0.0, 5, "requests"), 2) == "0.00"
    assert words.number(Estimate(3, 5, "requests"), 0) == "3"


def test_the_terminal_prints_the_note_of_an_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    line = ["analysis", str(ROOT / "examples" / "mesh-keep-alive"), "--output", str(tmp_path / "page.html")]
    monkeypatch.setattr(sys, "argv", line)
    assert command.main() == 0
    printed = capsys.readouterr().out
    assert "the response times and the CPU mean nothing" in printed[: printed.index("Under load")]
    assert re.search(r"^The page has \d+ (other )?caveats\.$", printed, re.MULTILINE)


def test_tables_mark_memory_that_is_counted_differently(tmp_path: Path) -> None:
    mixed = analyse(read_results(ROOT / "examples" / "engine-keep-alive"))
    alike = analyse(read_results(ROOT / "examples" / "mesh-keep-alive"))
    for analysis, is_marked in ((mixed, True), (alike, False)):
        marked = [row.title for row in figure_tables(analysis)[0].rows if row.title.endswith(words.MEMORY_MARK)]
        assert len(marked) == (3 if is_marked else 0)
        assert (words.MEMORY_FOOTNOTE in render(analysis)) is is_marked
        assert (words.MEMORY_FOOTNOTE.removeprefix("* ") in render_markdown(analysis)) is is_marked


def test_a_narrow_terminal_cuts_no_number_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment(tmp_path, {"host": [10.0] * 3, "docker-host-network": [10_000.0] * 3})
    monkeypatch.setattr(sys, "argv", ["analysis", str(tmp_path)])
    monkeypatch.setenv("COLUMNS", "80")
    command.main()
    printed = capsys.readouterr().out
    assert re.search(r"^docker run.* +10,000\.00 ", printed, re.MULTILINE)
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed
