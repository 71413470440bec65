"""Comparing two experiments, and what CI gets of it."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from recorded_runs import (
    START,
    Target,
    in_blocks,
    measured,
    request,
    steady_samples,
    warmed,
    whole_experiment,
    write_experiment,
    write_run,
)

from analysis.analyse import analyse
from analysis.compare import UnusableCondition, parse_condition
from analysis.conditions import judge_conditions
from analysis.judge.across import changed_circumstances, refuse_one_experiment
from analysis.read.records import UnreadableResults
from analysis.read.results import read_results

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
    suites = {suite.get("name"): suite.get("failures") for suite in ElementTree.parse(junit).getroot()}  # noqa: S314
    assert suites == {"validity": "0", "not whole": "0", "verdicts": "0"}


def noisy(folder: Path, seed: int, after_s: float, machine: object = None, engine: object = None) -> Path:
    """Docker run in two rounds, with response times that no two runs share."""
    write_experiment(folder, [measured("docker", 2)])
    record = json.loads((folder / "experiment.json").read_text())
    record["machine"] |= machine or {}
    record["engine"] |= engine or {}
    (folder / "experiment.json").write_text(json.dumps(record))
    for number in (1, 2):
        times = np.random.default_rng([seed, number]).normal(10, 0.1, 500)
        rows = [request(2 + i / 50, value) for i, value in enumerate(times)]
        write_run(folder / "docker", "load", warmed(rows), steady_samples(0.5), number=number, after_s=after_s)
    return folder


def test_a_copy_at_another_time_is_no_second_measurement(tmp_path: Path) -> None:
    old, copied = noisy(tmp_path / "old", 1, 0), noisy(tmp_path / "copy", 1, 5000)
    with pytest.raises(UnreadableResults, match="hold the same runs"):
        refuse_one_experiment(*map(read_results, (old, copied)))
    for suffix in ("requests.csv", "replica_stats.csv"):
        first, second = (old / "docker" / f"round-{number}" / f"load_{suffix}" for number in (1, 2))
        record = json.loads(second.with_name("load_run.json").read_text())
        frame = pd.read_csv(first)
        for name in (column for column in map(str, frame) if column.endswith("_unix_s")):
            frame[name] += record["started_at_unix_s"] - START
        frame.to_csv(second, index=False)
    validity = analyse(read_results(old)).validity
    assert {doubt.kind for doubt in validity.invalid} == {"copy"}
    assert "round 1, and docker run, round 2, have the same response times" in validity.invalid[0].text


ELSEWHERE = {"endpoint": "tcp://10.0.0.1:2375", "kernel": "6.6", "cpu_count": 8, "memory_bytes": 16 << 30}


@pytest.mark.parametrize(
    ("machine", "engine", "other_machine", "other_engine", "expected"),
    [
        ({}, {}, {"system": "Darwin"}, {}, "they ran on different machines"),
        ({}, {}, {"memory_bytes": 16 << 30}, {}, "they ran on different machines"),
        (
            {},
            ELSEWHERE,
            {},
            ELSEWHERE | {"endpoint": "tcp://10.0.0.2:2375"},
            "the Docker engine did not run on the same",
        ),
        ({}, ELSEWHERE, {}, ELSEWHERE | {"memory_bytes": 8 << 30}, "the Docker engine did not run on the same machine"),
        ({}, ELSEWHERE, {}, ELSEWHERE | {"kernel": "6.7"}, "the Docker engine did not run on the same machine"),
        ({}, ELSEWHERE, {}, ELSEWHERE, None),
        ({}, {}, {}, {}, None),
    ],
)
def test_what_ran_on_other_machines_is_not_compared(
    tmp_path: Path, machine: object, engine: object, other_machine: object, other_engine: object, expected: str | None
) -> None:
    old = analyse(read_results(noisy(tmp_path / "old", 1, 0, machine, engine)))
    new = analyse(read_results(noisy(tmp_path / "new", 2, 5000, other_machine, other_engine)))
    (case,) = judge_conditions(old, new, [parse_condition("median>10%")])
    assert (case.error is None) == (expected is None)
    assert expected is None or expected in str(case.error)


def test_what_may_differ_between_two_machines_is_said(tmp_path: Path) -> None:
    unknown = {"cpu_model": None, "cpu_count": None}
    old = analyse(read_results(noisy(tmp_path / "old", 1, 0, {"node": "a", **unknown})))
    new = analyse(read_results(noisy(tmp_path / "new", 2, 5000, {"node": "b", "kernel": "6.2", **unknown})))
    assert changed_circumstances(old.results, new.results) == [
        "the name of the machine changed from a to b",
        "the kernel changed from 6.1 to 6.2",
        "the processor is not recorded for both experiments, so they may have run on two machines",
        "the number of CPUs is not recorded for both experiments, so they may have run on two machines",
    ]


def test_experiments_in_blocks_are_compared_with_each_other_and_not_with_one_in_one_piece(tmp_path: Path) -> None:
    host, slower = Target("host"), Target("host", response_ms=lambda _: 10.0)
    old = analyse(read_results(in_blocks(tmp_path / "old", [host, Target("docker")], rounds=3)))
    new = analyse(read_results(in_blocks(tmp_path / "new", [slower, Target("compose")], rounds=3)))
    longer = analyse(read_results(in_blocks(tmp_path / "longer", [host, Target("docker")], rounds=3, cycles=12)))
    piece = analyse(read_results(Path(experiment(tmp_path / "piece", [8, 8, 8]))))
    condition = [parse_condition("median>10%")]
    first = judge_conditions(old, new, condition)[0]
    assert first.name == "Host process: median>10%"
    assert "regression: 1.250 times the old" in str(first.failure)
    assert "other deployments ran side by side in the two experiments" in changed_circumstances(
        old.results, new.results
    )
    assert "other deployments ran side by side in the two experiments" not in changed_circumstances(
        old.results, longer.results
    )
    assert judge_conditions(old, longer, condition)[0].error == "not compared: they differ in blocks"
    assert judge_conditions(old, piece, condition)[0].error == "not compared: they differ in run time, blocks"
