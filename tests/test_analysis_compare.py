"""Comparing two experiments, and what CI gets of it."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import ROOT
from recorded_runs import measured, request, steady_samples, warmed, whole_experiment, write_experiment, write_run

from analysis.compare import UnusableCondition, parse_condition

EXPERIMENTS = itertools.count()


def experiment(folder: Path, medians: Sequence[float], **record: object) -> str:
    write_experiment(folder, [measured("host", len(medians))])
    after_s = 1000.0 * next(EXPERIMENTS)
    for number, value in enumerate(medians, 1):
        rows = [request(2 + i / 200, value + (i % 5 - 2) / 100) for i in range(2000)]
        said = {"number": number, "after_s": after_s} | record
        write_run(folder / "host", "load", warmed(rows), steady_samples(0.5), **said)  # type: ignore[arg-type]
    return str(folder)


def compare(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "analysis", "compare", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_regression_ends_with_1_and_stands_in_junit(tmp_path: Path) -> None:
    old = experiment(tmp_path / "old", [10, 10.1, 9.9, 10.05])
    new = experiment(tmp_path / "new", [12, 12.1, 11.9, 12.05])
    done = compare(old, new, "--fail-on", "p95>10%", "--junit", str(tmp_path / "junit.xml"))
    assert done.returncode == 1, done.stderr
    assert "regression: 1.199 times the old" in done.stdout
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()[0]  # noqa: S314 - written a moment ago
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert compare(old, new, "--fail-on", "p95>30%").returncode == 0
    assert compare(new, old, "--fail-on", "median<-10%").returncode == 1


def test_noise_is_no_regression(tmp_path: Path) -> None:
    old = experiment(tmp_path / "old", [10, 12, 9, 11])
    new = experiment(tmp_path / "new", [12, 10, 13, 9.5])
    assert compare(old, new, "--fail-on", "p95>5%").returncode == 0


def test_what_can_not_be_told_ends_with_3(tmp_path: Path) -> None:
    old = experiment(tmp_path / "old", [10, 10, 10])
    assert compare(old, experiment(tmp_path / "one", [12])).returncode == 3
    invalid = experiment(tmp_path / "invalid", [10, 10, 10], generator={"cpu_percent": 99.0, "cpu_warnings": 0})
    done = compare(old, invalid)
    assert done.returncode == 3
    assert "the new measurement is not valid: the load generator was short of CPU" in done.stdout
    assert compare(old, experiment(tmp_path / "users", [10, 10, 10], users=9)).returncode == 3
    assert compare(old, experiment(tmp_path / "few", [10, 10, 10]), "--fail-on", "p99>10%").returncode == 3


def test_wrong_use_ends_with_2(tmp_path: Path) -> None:
    old = experiment(tmp_path / "old", [10, 10])
    done = compare(old, str(tmp_path))
    assert done.returncode == 2
    assert "holds no experiment.json" in done.stderr
    assert compare(old, old, "--fail-on", "speed>10%").returncode == 2
    assert compare(old).returncode == 2


def test_an_experiment_and_a_copy_of_it_are_not_two(tmp_path: Path) -> None:
    old = experiment(tmp_path / "old", [10, 10])
    shutil.copytree(old, tmp_path / "copy")
    (tmp_path / "link").symlink_to(old)
    for other in ("old", "copy", "link"):
        done = compare(old, str(tmp_path / other))
        assert done.returncode == 2
        assert "hold the same runs, so they are one experiment" in done.stderr


@pytest.mark.parametrize("text", ["p95", "p95>10", "p95>-10%", "p95<10%", "nonsense>1%", "throughput<-100%"])
def test_a_condition_that_is_none_is_explained(text: str) -> None:
    with pytest.raises(UnusableCondition, match=r"can't be meant|is no condition"):
        parse_condition(text)


def test_markdown_and_junit_of_one_experiment(tmp_path: Path) -> None:
    whole_experiment(tmp_path, rounds=2)
    junit = tmp_path / "junit.xml"
    line = [sys.executable, "-m", "analysis", str(tmp_path), "--format", "markdown", "--junit", str(junit)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "report.md").read_text()
    assert "| Swarm, 3 replicas against Host process | Median response time |" in text
    assert "<script" not in text.replace("\\<", "")
    suites = {one.get("name"): one.get("failures") for one in ElementTree.parse(junit).getroot()}  # noqa: S314
    assert suites == {"validity": "0", "verdicts": "0"}
