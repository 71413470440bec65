"""``python -m analysis precision``: how precise each pair is, also while the experiment still runs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from recorded_runs import Target, in_blocks, measured, not_run, steady_requests, write_experiment, write_run

from analysis.analyse import analyse
from analysis.read.results import read_results


def precision(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "analysis", "precision", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def printed(folder: Path) -> dict[str, Any]:
    done = precision(folder)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def in_turns(folder: Path, medians: Mapping[str, Sequence[float]], **values: Any) -> Path:
    """Deployments whose rounds have these medians."""
    write_experiment(folder, [measured(name, len(own)) for name, own in medians.items()], **values)
    for name, own in medians.items():
        for number, median in enumerate(own, 1):
            rows = steady_requests(30, response_time_ms=median, queue_ms=0.0, inference_ms=0.5)
            write_run(folder / name, "load", rows, number=number)
    return folder


def test_it_is_the_interval_of_the_verdicts(tmp_path: Path) -> None:
    in_turns(tmp_path, {"host": [10, 11, 12, 10], "docker": [12, 12, 14, 13], "compose": [10, 10, 10, 10]})
    found = printed(tmp_path)
    assert found["rounds"] == 4
    verdicts = [verdict for verdict in analyse(read_results(tmp_path)).verdicts if verdict.key == "median_ms"]
    assert len(found["pairs"]) == len(verdicts) == 3
    for pair, verdict in zip(found["pairs"], verdicts, strict=True):
        known = verdict.comparison
        assert (pair["baseline"], pair["subject"]) == (verdict.baseline.name, verdict.subject.name)
        assert (pair["ratio"], pair["low"], pair["high"]) == (known.ratio, known.low, known.high)
        half = math.log(known.high / known.low) / 2
        assert pair["half_width_percent"] == pytest.approx(math.expm1(half) * 100)


def test_a_load_in_blocks_is_judged_by_its_cycles(tmp_path: Path) -> None:
    slower = Target("docker", response_ms=lambda cycle: 30.0 if cycle == 2 else 8.0 * 1.1)
    in_blocks(tmp_path, [Target("host"), slower], rounds=3)
    (pair,) = printed(tmp_path)["pairs"]
    assert pair["ratio"] == pytest.approx(1.1)
    assert pair["half_width_percent"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("rounds", [1, 2])
def test_an_experiment_that_still_runs_has_no_interval_before_its_third_round(tmp_path: Path, rounds: int) -> None:
    in_turns(tmp_path, {"host": [10, 11][:rounds], "docker": [12, 12][:rounds]}, ended_at=None)
    found = printed(tmp_path)
    (pair,) = found["pairs"]
    assert found["rounds"] == rounds
    assert pair["ratio"] > 1
    assert (pair["low"], pair["high"], pair["half_width_percent"]) == (None, None, None)


def test_what_no_round_can_make_known_is_left_out(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host"), measured("docker"), not_run("compose", "no Docker engine")])
    write_run(tmp_path / "host", "load", steady_requests(30))
    write_run(tmp_path / "docker", "load", steady_requests(30), users=9)
    assert printed(tmp_path) == {"rounds": 1, "pairs": []}


def test_a_deployment_that_answered_nothing_has_no_ratio_yet(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host"), measured("docker")])
    write_run(tmp_path / "host", "load", steady_requests(30))
    write_run(tmp_path / "docker", "load", steady_requests(30, error="refused", status=0))
    (pair,) = printed(tmp_path)["pairs"]
    assert pair == {"baseline": "host", "subject": "docker"} | dict.fromkeys(
        ("ratio", "low", "high", "half_width_percent")
    )


def test_a_folder_that_holds_no_experiment_is_an_error(tmp_path: Path) -> None:
    done = precision(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "holds no experiment.json" in done.stderr
