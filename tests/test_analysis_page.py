"""The page and the command that makes it."""

from __future__ import annotations

import csv
import html
import io
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from markupsafe import escape
from recorded_runs import (
    NASTY,
    START,
    a_round,
    measured,
    not_run,
    request,
    steady_requests,
    steady_samples,
    whole_experiment,
    write_experiment,
    write_run,
)

from analysis.analyse import Analysis, analyse
from analysis.judge.words import figures_csv
from analysis.read.results import read_results
from analysis.show.charts import (
    by_deployment,
    memory_by_deployment,
    over_time,
    traffic,
)
from analysis.show.latency_charts import latency_distribution, percentiles
from analysis.show.markdown import render_markdown
from analysis.show.page import render
from analysis.show.sections import ratio_charts

NO_ENGINE = "no Docker engine at unix:///var/run/docker.sock, start one and run again"


def read(folder: Path) -> Analysis:
    return analyse(read_results(folder))


def page_of(folder: Path) -> str:
    return render(read(folder))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "analysis", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_writes_the_page_and_says_where(tmp_path: Path) -> None:
    done = command(str(whole_experiment(tmp_path)))
    assert done.returncode == 0, done.stderr + done.stdout
    assert (tmp_path / "report.html").as_uri() in done.stdout
    assert "docker run; Docker Compose: not run: no Docker engine" in done.stdout
    assert (tmp_path / "report.html").stat().st_size < 6_000_000


def test_an_invalid_experiment_has_its_own_exit_code_and_is_red_on_the_page(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host")])
    starved = {"cpu_percent": 95.0, "cpu_warnings": 0}
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5), generator=starved)
    done = command(str(tmp_path))
    assert done.returncode == 3
    assert "not valid: the load generator was short of CPU" in done.stdout
    page = (tmp_path / "report.html").read_text()
    assert '<div class="invalid" role="alert"><b>This experiment is not valid.</b>' in page
    assert '<li class="serious"><b>The load generator was short of CPU</b>' in page


def test_each_deployment_has_a_card_and_one_that_was_not_measured_says_why(tmp_path: Path) -> None:
    analysis = read(whole_experiment(tmp_path))
    page, markdown = render(analysis), render_markdown(analysis)
    cards = re.findall(r'<section class="card deployment (\w*)".*?<h3>(.*?)</h3>(.*?)</section>', page, re.DOTALL)
    assert [(title, style) for style, title, _ in cards] == [
        ("Host process", ""),
        ("Swarm, 3 replicas", ""),
        ("docker run", "unmeasured"),
        ("Docker Compose", "unmeasured"),
        ("Swarm, 1 replica", "unmeasured"),
    ]
    contents = {title: content for _, title, content in cards}
    assert f'<div class="big none">not run</div><small>{NO_ENGINE}</small>' in contents["docker run"]
    assert '<div class="big none">not run</div><small>no &lt;IPVS&gt; here</small>' in contents["Swarm, 1 replica"]
    rows = re.findall(r"^\| ([^|]+) \| (.*) \|$", markdown[: markdown.index("## Verdicts")], re.MULTILINE)
    assert [title for title, _ in rows if title in contents] == list(contents)
    assert dict(rows)["docker run"] == f"**not run** {NO_ENGINE}"


def test_a_card_says_what_each_number_counts(tmp_path: Path) -> None:
    page = page_of(whole_experiment(tmp_path, rounds=3))
    counts = "3,000 requests sent in 3 rounds, 0 failed"
    assert f'<small class="counts">{counts}</small>' in page
    assert "n = " not in page[page.index('<div class="cards">') : page.index('<div class="findings">')]


def test_a_deployment_of_which_no_load_can_be_read_has_a_card_that_says_so(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host"), measured("docker")])
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5))
    page = page_of(tmp_path)
    card = page[page.index("<h3>docker run</h3>") :]
    assert '<div class="big none">not measured</div><small>docker run: docker/round-1/load_run.json is missing' in card


def test_the_headline_and_the_note_of_the_folder_stand_before_the_figures(tmp_path: Path) -> None:
    whole_experiment(tmp_path)
    (tmp_path / "note.txt").write_text(f"Recorded elsewhere,\nnot here. {NASTY}")
    analysis = replace(read(tmp_path), headline=("Nothing is slower.", "One: 2 ms."))
    page, markdown = render(analysis), render_markdown(analysis)
    assert NASTY not in page
    head = page[page.index("<header>") : page.index("</header>")]
    assert '<p class="headline">Nothing is slower.</p>' in head
    assert f'<p class="note">Recorded elsewhere, not here. {escape(NASTY)}</p>' in head
    assert '<p class="numbers">One: 2 ms.</p>' in head
    assert markdown.splitlines()[2:6:2] == ["Nothing is slower.", "One: 2 ms."]
    assert markdown.splitlines()[6].startswith("Recorded elsewhere, not here. ")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_note_that_can_not_be_read_is_none(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(whole_experiment(tmp_path) / "note.txt")
    assert read(tmp_path).results.note == ""


@pytest.mark.parametrize("name", sorted(path.parent.name for path in (ROOT / "examples").glob("*/experiment.json")))
def test_a_recorded_example_says_so_before_the_figures(name: str) -> None:
    page = page_of(ROOT / "examples" / name)
    note = page[page.index('<p class="note">') : page.index("</header>")]
    assert "a recorded example, not measured on your machine" in note
    assert ("emulated" in note) == name.startswith("mesh")


def test_the_template_decides_and_formats_nothing() -> None:
    template = (ROOT / "analysis" / "show" / "page.html.j2").read_text()
    for code in re.findall(r"{[{%](.*?)[%}]}", template):
        if not code.startswith(" macro") and "include" not in code:
            call = r"(drawn\(chart\)|listed\((page|section)\.facts\))"
            value = r"[\w.]+(\|tojson)?"
            loop = r"(for \w+ in [\w.]+|if (not )?[\w.]+|else|endif|endfor|endmacro)"
            assert re.fullmatch(rf" ({call}|{value}|{loop}) ", code), code


def test_the_sections_stand_in_the_order_of_the_reading(tmp_path: Path) -> None:
    page = page_of(whole_experiment(tmp_path))
    order = (
        "key",
        "doubts",
        "hand-in",
        "latency",
        "cpu",
        "memory",
        "network",
        "time",
        "replicas",
        "events",
        "table",
        "run",
    )
    places = [page.index(f'<h2 id="{anchor}"') for anchor in order]
    assert places == sorted(places)


def test_every_figure_of_a_measured_deployment_is_on_the_page(tmp_path: Path) -> None:
    page = page_of(whole_experiment(tmp_path))
    table = page[page.index('id="table"') :]
    assert "a process has no network interfaces of its own" in html.unescape(table)
    assert "not measured" in table
    for figure in (
        "Median response time",
        "CPU time per answer",
        "Memory held for 1,000 answers",
        "Bytes for 1,000 answers",
    ):
        assert figure in table


def test_each_number_in_a_finding_leads_to_a_figure_that_is_there(tmp_path: Path) -> None:
    analysis = read(whole_experiment(tmp_path, rounds=3))
    page = render(analysis)
    ids = set(re.findall(r'id="([^"]+)"', page))
    assert {finding.title for finding in analysis.findings} >= {"Response time", "Where the time goes", "CPU", "Memory"}
    assert any(finding.id == "finding-network-swarm-3" for finding in analysis.findings)
    for finding in analysis.findings:
        assert [part for part in finding.parts if not isinstance(part, str)], finding.title
        for part in finding.parts:
            if isinstance(part, str):
                names = part
                for name in (
                    "Swarm, 3 replicas",
                    "95% interval",
                    "p95",
                    "llm-inference-service.1",
                    "llm-inference-service.2",
                ):
                    names = names.replace(name, "")
                assert not re.search(r"\d", names), part
            else:
                assert html.escape(part.anchor) in ids, part


def test_names_from_outside_stay_text(tmp_path: Path) -> None:
    page = page_of(whole_experiment(tmp_path))
    assert NASTY not in page
    assert f'<th scope="row">{escape(NASTY)}</th>' in page


def test_how_each_figure_of_a_replica_was_had_is_on_the_page(tmp_path: Path) -> None:
    sources = {"CPU": "cgroup v2: cpu.stat", "memory": NASTY}
    listed = [{"name": "host", "id": "1", "node": "n1", "sampled": True, "reason": None, "sources": sources}]
    replicas = {"asked": "auto", "found": "process:1", "sampling": "x", "interval_s": 0.25, "problems": []}
    folder = write_experiment(tmp_path, [measured("host")])
    write_run(folder / "host", "load", steady_requests(100), steady_samples(0.5), replicas=replicas | {"list": listed})
    page = page_of(folder)
    assert "; CPU: cgroup v2: cpu.stat; memory: " + str(escape(NASTY)) in page


def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = page_of(whole_experiment(tmp_path))
    assert not re.search(r'<(script|img|link|iframe)[^>]*\b(src|href)\s*=\s*["\']?(https?:)?//', page)
    assert "@import" not in page[: page.index("</style>")]


def test_an_experiment_of_which_nothing_ran_still_gives_a_page(tmp_path: Path) -> None:
    write_experiment(tmp_path, [not_run("host", "port 5000 is taken"), not_run("docker", NO_ENGINE)])
    done = command(str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "port 5000 is taken" in (tmp_path / "report.html").read_text()


def test_a_failed_round_takes_nothing_from_the_others(tmp_path: Path) -> None:
    rounds = [
        a_round("host"),
        a_round("host", 2, status="failed", reason="the service ended", runs=[]),
        a_round("host", 3),
    ]
    write_experiment(tmp_path, [measured("host", rounds=0) | {"rounds": rounds}])
    for number in (1, 3):
        write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5), number=number)
    analysis = read(tmp_path)
    assert analysis.loads[0].summary["median_ms"].rounds == 2
    assert "round 2 failed: the service ended" in render(analysis)


def test_a_folder_without_an_experiment_is_explained(tmp_path: Path) -> None:
    done = command(str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "holds no experiment.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_deployment_of_another_name_stays_text(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("<b>own</b>") | {"rounds": [a_round("own")]}])
    write_run(tmp_path / "own", "load", steady_requests(50), steady_samples(0.5))
    page = page_of(tmp_path)
    assert "<b>own" not in page
    assert "&lt;b&gt;own&lt;/b&gt;" in page


def test_what_was_not_run_leaves_no_zero_in_the_charts(tmp_path: Path) -> None:
    page = page_of(whole_experiment(tmp_path))
    start, end = page.index("const charts = new Map(") + len("const charts = new Map("), page.index("const figuresCsv")
    charts = dict(json.loads(page[start:end].strip().removesuffix(");")))
    texts = [
        html.unescape(note["text"].replace("<br>", " "))
        for note in charts["network-interfaces"]["layout"]["annotations"]
    ]
    assert texts == [
        "not measured: a process has no network interfaces of its own; see the bytes counted by the client"
    ]


def test_an_interval_that_is_not_known_is_not_drawn_as_none_wide(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host")])
    write_run(tmp_path / "host", "load", [request(2 + i / 50, 5 + i % 7) for i in range(500)])
    (bars,) = percentiles(read(tmp_path).loads).data
    assert list(bars.error_y.array) == ["none"] * 3


def test_an_interval_from_two_rounds_is_not_drawn_and_one_from_three_is(tmp_path: Path) -> None:
    for rounds, is_drawn in ((2, False), (3, True)):
        analysis = read(whole_experiment(tmp_path / str(rounds), rounds=rounds))
        assert not math.isnan(analysis.loads[0].summary["median_ms"].low)
        for bars in percentiles(analysis.loads).data:
            assert (bars.error_y.array[0] != "none") is is_drawn
        chart = ratio_charts(analysis.verdicts)[0]
        assert (chart.plot["data"][0]["error_x"]["array"] != ["none"]) is is_drawn
        assert ("Fewer than three rounds" in chart.how_to_read) is not is_drawn
        assert ("no interval from 2 rounds" in render(analysis)) is not is_drawn
        row = next(line for line in render_markdown(analysis).splitlines() if line.startswith("| Median response time"))
        assert ("(" in row) is is_drawn


@pytest.mark.parametrize(("longest_ms", "type"), [(14.0, None), (40.0, "log")])
def test_times_that_lie_close_together_have_a_linear_axis(tmp_path: Path, longest_ms: float, type: str | None) -> None:
    write_experiment(tmp_path, [measured("host")])
    rows = [request(2 + i / 50, longest_ms if i == 9 else 5 + i % 7) for i in range(500)]
    write_run(tmp_path / "host", "load", rows)
    chart = latency_distribution(read(tmp_path).loads, lambda load: [*load.deployment.loads.values()])
    assert chart.layout.xaxis.type == type


def test_replicas_of_which_only_was_found_what_there_is_have_no_chart_of_events(tmp_path: Path) -> None:
    for folder, kinds, is_drawn in (("calm", ["found"], False), ("ended", ["found", "ended"], True)):
        events = [{"at_unix_s": START + 5, "event": kind, "replica": "web.1", "detail": ""} for kind in kinds]
        write_experiment(tmp_path / folder, [measured("host")])
        write_run(tmp_path / folder / "host", "load", steady_requests(50), steady_samples(0.5), events=events)
        page = page_of(tmp_path / folder)
        assert ('id="chart-events"' in page) is is_drawn
        assert ("No replica ended, restarted or was added during the runs." in page) is not is_drawn


def test_an_empty_place_in_a_chart_says_why(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host")])
    write_run(tmp_path / "host", "load", [request(2 + i / 50, 5 + i % 7) for i in range(500)])
    loads = read(tmp_path).loads
    for chart, place, expected in (
        (percentiles(loads), 1, "not shown: fewer than 100 of the 500"),
        (by_deployment(loads, "cpu_percent"), "Host process", "not measured: "),
        (over_time(loads, "cpu_percent"), 0.5, "not measured: "),
        (traffic(loads, "interface"), "Host process", "not measured: "),
    ):
        note = next(note for note in chart.layout.annotations if note.x == place)
        assert note.text.startswith(expected)


def test_memory_of_host_process_and_containers_is_kept_apart(tmp_path: Path) -> None:
    loads = read(whole_experiment(tmp_path)).loads
    host, swarm = memory_by_deployment(loads).data
    assert host.marker.pattern.shape
    assert not swarm.marker.pattern.shape
    (words,) = (note.text for note in memory_by_deployment(loads).layout.annotations)
    assert words == "Host process and containers are counted<br>differently: do not compare them"
    assert [line.line.dash for line in over_time(loads, "memory_mean_mb").data] == ["dot", None]
    for same in (loads[:1], loads[1:]):
        assert not memory_by_deployment(same).layout.annotations


def test_all_figures_can_be_had_as_csv_that_no_spreadsheet_takes_for_a_formula(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host", 2), measured("=1+1", 2)])
    for name in ("host", "=1+1"):
        for number in (1, 2):
            write_run(tmp_path / name, "load", steady_requests(50), steady_samples(0.5), number=number)
    analysis = read(tmp_path)
    text = figures_csv(analysis.loads, analysis.passes, analysis.verdicts)
    rows = list(csv.DictReader(io.StringIO(text)))
    host = next(
        row for row in rows if (row["deployment"], row["figure"], row["round"]) == ("Host process", "median_ms", "all")
    )
    assert (float(host["value"]), host["unit"], host["n"]) == (10.0, "ms", "1000")
    interfaces = next(row for row in rows if row["figure"] == "interface_in_mb")
    assert interfaces["value"] == ""
    assert "no network interfaces" in interfaces["note"]
    assert "'=1+1" in {row["deployment"] for row in rows}
    assert json.dumps(text)[1:40] in render(analysis)


def test_a_page_can_go_into_a_pipe() -> None:
    """Where standard output is a pipe, /dev/stdout leads to a name that can't be opened."""
    command = [sys.executable, "-c"]
    command += ["from pathlib import Path; from analysis.show.output import write_output"]
    command[-1] += "; write_output(Path('/dev/stdout'), 'page', True, [])"
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).stdout == b"page"
