"""The page and the command that makes it."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from markupsafe import escape
from recorded_runs import (
    MODEL,
    START,
    measured,
    not_run,
    request,
    steady_requests,
    steady_samples,
    write_experiment,
    write_run,
)

from analysis.caveats import caveats
from analysis.figures import percentiles
from analysis.frames import read_results
from analysis.page import render
from analysis.summary import summarize

NASTY = "</script><script>document.title='broken'</script>"
NO_ENGINE = "no Docker engine at unix:///var/run/docker.sock, start one and run again"


def whole(folder: Path) -> Path:
    """Host and three replicas measured, one of them with a nasty name; the rest not run."""
    deployments = [measured("host"), not_run("docker", NO_ENGINE), not_run("compose", NO_ENGINE)]
    write_experiment(folder, [*deployments, not_run("swarm-1", "no <IPVS> here"), measured("swarm-3")])
    write_run(folder / "host", "single_pass", steady_requests(10), steady_samples(0.5), warm_up_s=0)
    write_run(folder / "host", "load", steady_requests(50), steady_samples(0.5))
    names = ["llm-inference-service.1", "llm-inference-service.2", NASTY]
    requests = [request(i / 50, replica=names[i % 3]) for i in range(600)]
    samples = [
        row
        for number, name in enumerate(names)
        for row in steady_samples(0.2, 1000 * (number + 1), replica=name, replica_id=str(number))
    ]
    write_run(folder / "swarm-3", "load", requests, samples)
    return folder


def analyse(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "analysis", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_writes_the_page_and_says_where(tmp_path: Path) -> None:
    done = analyse(str(whole(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").as_uri() in done.stdout
    assert f"docker run: not run: {NO_ENGINE}" in done.stdout
    assert (tmp_path / "report.html").stat().st_size < 6_000_000


def test_what_was_not_run_stands_on_the_page_with_its_reason(tmp_path: Path) -> None:
    page = render(read_results(whole(tmp_path)))
    assert f"<b>docker run</b>: not run: {NO_ENGINE}" in page
    assert "no &lt;IPVS&gt; here" in page


def test_every_figure_of_a_measured_deployment_is_on_the_page(tmp_path: Path) -> None:
    page = render(read_results(whole(tmp_path)))
    for anchor in ("latency", "throughput", "cpu", "memory", "network", "replicas", "table", "run"):
        assert f'id="{anchor}"' in page
    table = page[page.index('id="table"') :]
    assert "a process has no network interfaces of its own" in html.unescape(table)
    assert "not measured" in table
    assert ">0.000<" not in table


def test_names_from_outside_stay_text(tmp_path: Path) -> None:
    page = render(read_results(whole(tmp_path)))
    assert NASTY not in page
    assert f'<th scope="row">{escape(NASTY)}</th>' in page


def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = render(read_results(whole(tmp_path)))
    assert not re.search(r'<(script|img|link|iframe)[^>]*\b(src|href)\s*=\s*["\']?(https?:)?//', page)
    assert "@import" not in page[: page.index("</style>")]


def test_runs_with_different_models_are_not_compared(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host"), measured("docker")])
    write_run(tmp_path / "host", "load", steady_requests(50))
    other = {"model": MODEL | {"sha256": "c" * 64}, "versions": {}}
    write_run(tmp_path / "docker", "load", steady_requests(50), service=other)
    page = render(read_results(tmp_path))
    assert page.count("not compared: model not the same") >= 3
    assert "<small>median against the host process, in this one run<br>model not the same</small>" in page


def test_an_experiment_of_which_nothing_ran_still_gives_a_page(tmp_path: Path) -> None:
    write_experiment(tmp_path, [not_run("host", "port 5000 is taken"), not_run("docker", NO_ENGINE)])
    done = analyse(str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "port 5000 is taken" in (tmp_path / "report.html").read_text()


def test_a_run_that_was_killed_is_read_as_far_as_it_got(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host", status="failed", reason="cut off")])
    write_run(tmp_path / "host", "load", steady_requests(50), ended_at_unix_s=None, ended_by=None)
    path = tmp_path / "host" / "load_requests.csv"
    path.write_bytes(path.read_bytes()[:-7])
    results = read_results(tmp_path)
    (deployment,) = results.deployments
    assert deployment.load is not None
    assert len(deployment.load.requests) == 599
    assert "cut off before its end" in " ".join(one.text for one in caveats(results))
    assert render(results)


def test_a_folder_without_an_experiment_is_explained(tmp_path: Path) -> None:
    done = analyse(str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "holds no experiment.json" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "expected"),
    [("{", "can't be read"), ("[]", "can't be read"), ('{"form": 99, "deployments": []}', "form 99")],
)
def test_a_record_that_is_none_is_explained(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "experiment.json").write_text(content)
    done = analyse(str(tmp_path))
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_row_cut_off_within_quotes_is_not_a_row(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host", runs=["load"])])
    write_run(tmp_path / "host", "load", [*steady_requests(5), request(3, error='said "no",\nthen\nnothing')])
    path = tmp_path / "host" / "load_requests.csv"
    whole_row = read_results(tmp_path).deployments[0].load
    assert whole_row is not None
    assert len(whole_row.requests) == 61
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"nothing")])
    cut = read_results(tmp_path).deployments[0].load
    assert cut is not None
    assert len(cut.requests) == 60


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("load_run.json", "{", "host/load_run.json can't be read"),
        ("load_run.json", '{"form": 1}', "it lacks or garbles user_class"),
        ("load_run.json", None, "host/load_run.json is missing"),
        ("load_requests.csv", "a,b\n1,2\n", "host/load_requests.csv can't be read (it has no column"),
        ("load_replica_stats.csv", "\0\n", "host/load_replica_stats.csv can't be read"),
    ],
)
def test_a_run_that_cant_be_read_is_left_out_and_said(
    tmp_path: Path, file: str, content: str | None, expected: str
) -> None:
    write_experiment(tmp_path, [measured("host")])
    for prefix in ("single_pass", "load"):
        write_run(tmp_path / "host", prefix, steady_requests(5), steady_samples(0.5))
    path = tmp_path / "host" / file
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    results = read_results(tmp_path)
    assert results.deployments[0].load is None
    assert results.deployments[0].single_pass is not None
    assert any(expected in one.text and one.is_serious for one in caveats(results))
    assert "can&#39;t be read" in render(results) or "is missing" in render(results)


def test_a_time_that_is_wrong_fills_no_memory(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host")])
    write_run(tmp_path / "host", "load", steady_requests(5), started_at_unix_s=0)
    assert "it tells of a run of 1,7" in " ".join(read_results(tmp_path).deployments[0].unread)


def test_a_deployment_of_another_name_stays_text(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("<b>own</b>", folder="own")])
    write_run(tmp_path / "own", "load", steady_requests(5), steady_samples(0.5))
    page = render(read_results(tmp_path))
    assert "<b>own" not in page
    assert "&lt;b&gt;own&lt;/b&gt;" in page


def test_what_was_not_run_leaves_no_zero_in_the_charts(tmp_path: Path) -> None:
    page = render(read_results(whole(tmp_path)))
    charts = page[page.index("const charts = {") :]
    assert "not measured" in charts[charts.index("network-interfaces") : charts.index("swarm-3-network-time")]


def test_an_interval_that_is_not_known_is_not_drawn_as_none_wide(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host", runs=["load"])])
    write_run(tmp_path / "host", "load", [request(2 + i / 10, 5 + i % 7) for i in range(50)])
    load = read_results(tmp_path).deployments[0]
    assert load.load is not None
    (bars,) = percentiles([(load, summarize(load.load))]).data
    arms = list(bars.error_y.array)
    assert arms[2] == "none"
    assert arms[0] > 0


def test_a_model_that_did_not_say_its_name_is_compared_with_none(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host"), measured("docker")])
    for name in ("host", "docker"):
        write_run(tmp_path / name, "load", steady_requests(50), service=None)
    assert "not compared: the service did not say which model answered" in render(read_results(tmp_path))


def test_doubts_of_every_experiment_are_said(tmp_path: Path) -> None:
    images = [{"name": "i", "id": id, "bytes": 1} for id in ("sha256:1", "sha256:2")]
    write_experiment(tmp_path, [measured("docker", image=images[0]), measured("compose", image=images[1])])
    bundled = {"model": MODEL | {"source": "bundled"}, "versions": {}}
    for name in ("docker", "compose"):
        write_run(tmp_path / name, "load", steady_requests(12), steady_samples(0.5), service=bundled)
    text = " | ".join(one.text for one in caveats(read_results(tmp_path)))
    assert "p95 and p99 under load: fewer than 100 requests lie above for docker run (120 requests)" in text
    assert "absolute figures are those of a toy" in text
    assert "ran different images" in text
    assert "measured once" in text
    assert "share this machine's processors" in text


def test_a_run_that_was_not_steady_is_said_to_be_so(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host", runs=["load"])])
    stalled = [one for one in steady_requests(50) if not 5 < one["started_at_unix_s"] - START < 8]
    write_run(tmp_path / "host", "load", stalled, steady_samples(0.5))
    text = " | ".join(one.text for one in caveats(read_results(tmp_path)))
    assert "throughput was not steady: 0 to 50 answers a second" in text


def doubts(folder: Path, **record: object) -> str:
    write_experiment(folder, [measured("host", runs=["load"])])
    requests = record.pop("requests", steady_requests(50))
    samples = record.pop("samples", steady_samples(0.5))
    write_run(folder / "host", "load", requests, samples, **record)  # type: ignore[arg-type]
    return " | ".join(one.text for one in caveats(read_results(folder)) if one.is_serious)


def test_what_speaks_against_a_run_is_said(tmp_path: Path) -> None:
    assert doubts(tmp_path / "fine") == ""
    starved = {"cpu_percent": 95.0, "cpu_warnings": 0}
    assert "short of CPU (95% of a core)" in doubts(tmp_path / "starved", generator=starved)
    failing = steady_requests(50) + [request(3, error="refused", status=0)] * 20
    assert "20 of 520 requests failed (the first: refused)" in doubts(tmp_path / "failing", requests=failing)
    gap = [row for row in steady_samples(0.5) if not 3 < row["sampled_at_unix_s"] - 1_700_000_000 < 9]
    assert "no sample of host for 6.0 s" in doubts(tmp_path / "gap", samples=gap)
    again = steady_samples(0.5)[:12] + [row | {"cpu_seconds": 0.1} for row in steady_samples(0.5)[12:]]
    assert "host was restarted" in doubts(tmp_path / "again", samples=again)
    replaced = [row | ({"replica_id": "2"} if n > 20 else {}) for n, row in enumerate(steady_samples(0.5))]
    assert "host was replaced while it was measured" in doubts(tmp_path / "replaced", samples=replaced)
    other = steady_requests(50, replica="another")
    assert "another answered but was not sampled" in doubts(tmp_path / "other", requests=other)
    assert "cut off" in doubts(tmp_path / "cut", ended_by="interrupted")
    remote = {"asked": "swarm:web", "found": "swarm:web", "sampling": "docker", "interval_s": 0.25, "problems": []}
    remote["list"] = [{"name": "web.2", "id": "2", "node": "n2", "sampled": False, "reason": "runs on another node"}]
    assert "web.2 was not sampled: it runs on another node" in doubts(tmp_path / "remote", replicas=remote)


@pytest.mark.browser
def test_a_browser_without_network_draws_every_chart(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on the PATH")
    page = tmp_path / "page.html"
    page.write_text(render(read_results(whole(tmp_path / "results"))), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--virtual-time-budget=9000"]
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    done = subprocess.run(
        [chromium, *options, offline, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    drawn = [
        chart
        for chart in re.findall(r'<div class="plot[^>]*id="chart-[^>]*>', done.stdout)
        if re.search(re.escape(chart) + r'.{0,400}?class="main-svg"', done.stdout, re.DOTALL)
    ]
    assert len(drawn) == done.stdout.count('<figure class="card chart"') == 16
    assert "<title>Fourfold" in done.stdout


@pytest.mark.parametrize(("node", "is_said"), [("n1", True), ("another", False)])
def test_cpu_that_others_took_is_said_where_it_can_be_told(tmp_path: Path, node: str, is_said: bool) -> None:
    write_experiment(tmp_path, [measured("host")])
    busy = {"node": node, "cpu_percent": 170.0}  # 20 by the generator, 50 by the service: 100 by others
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5), machine=busy)
    said = " ".join(one.text for one in caveats(read_results(tmp_path)))
    assert ("other programs and the system took 100% of a core" in said) is is_said


def test_a_service_of_other_versions_is_doubted(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host"), measured("docker")])
    for name, python in (("host", "3.13.1"), ("docker", "3.12.9")):
        write_run(
            tmp_path / name, "load", steady_requests(50), service={"model": MODEL, "versions": {"python": python}}
        )
    said = [one.text for one in caveats(read_results(tmp_path))]
    assert any("Not the same python served everywhere: Host process 3.13.1, docker run 3.12.9" in one for one in said)
