"""docs/deployments.md and docs/changes.md: their figures are those of the recorded runs, and what they quote stands in
the files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT

from analysis.analyse import analyse
from analysis.judge import words
from analysis.measure.balance import replica_shares
from analysis.read.results import Deployment, read_results
from infra.deployments.confinement import MEMORY_BYTES, PIDS, SECOND_NS, STOP_SIGNAL, TMP_BYTES, healthcheck
from runfiles.deployments import title_of
from servicefile.service_file import read_service

CONTAINER = read_service().container
HEALTHCHECK, STOP_S = healthcheck(CONTAINER) or {}, CONTAINER.stop_s

EXAMPLES = ROOT / "examples"
TEXT = (ROOT / "docs" / "deployments.md").read_text(encoding="utf-8")


def deployments(folder: Path) -> list[Deployment]:
    return [deployment for deployment in read_results(folder).deployments if deployment.loads]


def figures_of(folder: Path) -> list[str]:
    """A row of figures for each deployment that was recorded: means over its rounds, the median with its ratio to the
    host process'."""
    analysis = analyse(read_results(folder))
    ratios = {
        verdict.subject.name: words.ratio(verdict)
        for verdict in analysis.verdicts
        if verdict.key == "median_ms" and verdict.baseline.name == "host"
    }
    rows = []
    for load, alone in zip(analysis.loads, analysis.passes, strict=True):
        assert load.summary["median_ms"].rounds == 5
        cells = [
            f"{alone.summary['rest_ms'].value:.2f}",
            f"{load.summary['median_ms'].value:.2f}",
            ratios.get(load.name, ""),
            *(f"{load.summary[key].value:.2f}" for key in ("cpu_ms_per_answer", "hidden_softirq_cpu_ms")),
            words.number(load.summary["hidden_proxy_cpu_ms"], 2).replace("not measured", "none"),
            f"{load.summary['memory_mean_mb'].value:.0f}",
        ]
        rows.append(f"| {load.title} | {' | '.join(cells)} |")
    return rows


def shares_of(folder: Path) -> list[str]:
    """A row for each replica: its connections, its part of the answers and of the bytes, and its kB in and out."""
    rows = []
    for deployment in deployments(folder):
        for share in replica_shares(deployment.loads[1]):
            cells = [
                f"{share.connections:.0f}",
                f"{share.request_share * 100:.1f}",
                f"{share.byte_share * 100:.1f}",
                f"{share.received_bytes / 1e3:.0f}",
                f"{share.sent_bytes / 1e3:.0f}",
            ]
            rows.append(f"| {title_of(deployment.name)}: `{share.name}` | {' | '.join(cells)} |")
    return rows


def table_after(mark: str) -> list[str]:
    """The rows of the table below a mark in the page."""
    lines = TEXT[TEXT.index(f"<!-- {mark} -->") :].split("\n\n")[0].splitlines()
    return lines[3:]


@pytest.mark.parametrize("name", ["engine-keep-alive", "engine-new-connection", "engine-large-model"])
def test_the_figures_are_those_of_the_recorded_run(name: str) -> None:
    assert table_after(f"examples/{name}") == figures_of(EXAMPLES / name)


@pytest.mark.parametrize("name", ["mesh-keep-alive", "mesh-new-connection"])
def test_the_shares_are_those_of_the_recorded_run(name: str) -> None:
    assert table_after(f"examples/{name}") == shares_of(EXAMPLES / name)


def test_what_a_kill_cost_is_quoted_from_the_recorded_experiment() -> None:
    """docs/changes.md quotes the first sentence of the page."""
    quoted = re.search(r"(?m)^> ((?:.+\n> )*.+)$", (ROOT / "docs" / "changes.md").read_text(encoding="utf-8"))
    assert quoted
    headline = " ".join(analyse(read_results(EXAMPLES / "engine-kill-one")).headline)
    assert quoted[1].replace("\n> ", " ") in headline


def test_each_line_that_is_quoted_stands_in_its_file() -> None:
    quoted = re.findall(r"`([^`]+)`\s+\(`([\w./-]+)`\)", TEXT)
    assert len(quoted) > 12
    for line, file in quoted:
        assert line in (ROOT / file).read_text(encoding="utf-8"), (line, file)


def test_the_docker_run_command_confines_as_infra_does() -> None:
    options = docker_run()
    said = dict(zip(options, [*options[1:], ""], strict=True))
    assert said["--memory"] == f"{MEMORY_BYTES // 1024**3}g"
    assert said["--pids-limit"] == str(PIDS)
    assert said["--stop-signal"] == STOP_SIGNAL
    assert said["--stop-timeout"] == str(STOP_S)
    assert said["--cap-drop"] == "ALL"
    assert said["--security-opt"] == "no-new-privileges"
    assert {"--read-only", "--init"} <= set(options)
    assert said["-v"] == "/app"
    assert said["--tmpfs"] == f"/tmp:size={TMP_BYTES // 1024**2}m"  # noqa: S108  inside the container
    assert said["--health-interval"] == f"{HEALTHCHECK['Interval'] // SECOND_NS}s"
    assert said["--health-timeout"] == f"{HEALTHCHECK['Timeout'] // SECOND_NS}s"
    assert said["--health-retries"] == str(HEALTHCHECK["Retries"])
    assert said["--health-start-period"] == f"{HEALTHCHECK['StartPeriod'] // SECOND_NS}s"
    assert said["--health-cmd"].split() == HEALTHCHECK["Test"][1:]


def docker_run() -> list[str]:
    """The words of the page's ``docker run`` command, as a shell would give them."""
    start = TEXT.index("    docker run -d")
    command = TEXT[start : TEXT.index("\n\n", start)]
    return shlex.split(command.replace("\\\n", " ").replace("$(id -u):$(id -g)", "1000:1000"))
