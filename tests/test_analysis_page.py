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
    measured,
    not_run,
    request,
    steady_requests,
    steady_samples,
    write_experiment,
    write_run,
)

from analysis.caveats import caveats
from analysis.frames import read_results
from analysis.page import render

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
    assert f"<td>{escape(NASTY)}</td>" in page


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


def doubts(folder: Path, **record: object) -> str:
    write_experiment(folder, [measured("host")])
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
    assert len(drawn) == done.stdout.count('<figure class="card chart"') == 13
    assert "<title>Fourfold" in done.stdout
