"""The benchmarks: what is missing is told before anything is measured, and what was measured is kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE

import pandas as pd
import pytest
from conftest import ROOT

from benchmarks.rounds import write_rounds
from benchmarks.scale import why_no_browser
from infra.deployments.waiting import until_true

BENCHMARKS = (
    "monitor",
    "serving",
    "verdicts",
    "stopping",
    "capacity",
    "capacity_real",
    "recovery",
    "instrument",
    "queueing",
    "open_peer",
    "scale",
    "intake",
    "rounds",
    "checkpoint",
    "engine_alone",
)


def run(name: str, *arguments: str, bare: bool = False, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a benchmark; ``bare``: without any installed package."""
    command = [sys.executable, *(["-S"] if bare else []), "-m", f"benchmarks.{name}", *arguments]
    environment = os.environ | ({} if path is None else {"PATH": path})
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)


def interrupt(name: str, *arguments: str, when: Callable[[], bool]) -> int:
    """Interrupt a benchmark as Ctrl-C does, at a certain time; its exit code."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True) as process:
        try:
            assert until_true(lambda: when() or process.poll() is not None, 120)
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
        finally:
            os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    return process.returncode


@pytest.mark.parametrize("name", BENCHMARKS)
def test_help_needs_no_installed_package(name: str) -> None:
    done = run(name, "--help", bare=True)
    assert done.returncode == 0, done.stderr
    assert f"python -m benchmarks.{name}" in done.stdout


@pytest.mark.parametrize(
    ("name", "packages", "requirements"),
    [
        ("monitor", ("locust", "numpy", "docker"), "requirements.txt"),
        ("serving", ("onnxruntime", "torch", "litserve", "mosec"), "benchmarks/requirements.txt"),
        ("verdicts", ("numpy", "pandas", "scipy"), "requirements.txt"),
        ("stopping", ("numpy", "scipy"), "requirements.txt"),
        ("capacity", ("numpy", "scipy", "pandas"), "requirements.txt"),
        ("queueing", ("pandas", "locust", "httptools"), "requirements.txt"),
        ("capacity_real", ("scipy", "locust", "httptools"), "requirements.txt"),
        ("recovery", ("pandas", "docker"), "requirements.txt"),
        ("scale", ("pandas", "plotly", "playwright"), "benchmarks/requirements.txt"),
        ("intake", ("locust", "numpy", "psutil"), "requirements.txt"),
        ("rounds", ("pandas", "locust", "uvicorn"), "requirements.txt"),
        ("checkpoint", ("torch", "transformers"), "requirements.txt"),
    ],
)
def test_missing_packages_are_named_with_the_command_that_installs_them(
    tmp_path: Path, name: str, packages: tuple[str, ...], requirements: str
) -> None:
    done = run(name, *([str(tmp_path / "made")] if name == "checkpoint" else []), bare=True)
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert all(line.startswith("error: the Python package") for line in lines)
    assert f"run infra/setup.sh {requirements}, " in done.stderr
    for package in packages:
        assert package in done.stderr


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("serving", (), "error: wrk is not installed; install it (Debian, Ubuntu: sudo apt install wrk)"),
        ("instrument", (), "error: wrk is not installed; install it (Debian, Ubuntu: sudo apt install wrk)"),
        ("scale", (), "error: chromium or google-chrome is not installed; install it "),
        (
            "open_peer",
            (),
            "error: h2load and vegeta can't be found on the PATH; install h2load (Debian, Ubuntu: sudo apt ",
        ),
        ("open_peer", ("--peer", "vegeta"), "error: vegeta can't be found on the PATH; install vegeta ("),
        ("monitor", (), "error: there is no docker command on the PATH; install Docker's command line"),
        ("serving", ("--parts", "docker"), "error: there is no docker command on the PATH; install Docker's"),
    ],
)
def test_missing_programs_are_named_before_anything_is_measured(
    name: str, arguments: tuple[str, ...], expected: str
) -> None:
    if name == "serving":
        arguments += ("--only", "fourfold (onnx)")  # what it is compared with need not be installed here
    done = run(name, *arguments, path="")
    assert done.returncode == 1
    assert done.stdout == ""
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "name",
    ["monitor", "serving", "verdicts", "stopping", "instrument", "queueing", "open_peer", "scale", "intake", "rounds"],
)
def test_an_output_that_can_not_be_written_is_refused_first(tmp_path: Path, name: str) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    option = "--output" if name == "rounds" else "--json"
    for path in (tmp_path, fifo, tmp_path / "nowhere" / "figures.json"):
        done = run(name, option, str(path), bare=True)  # before what is missing is told
        assert done.returncode == 2
        assert f"argument {option}: {path} " in done.stderr


def test_a_file_of_something_else_is_not_overwritten_by_the_serving_benchmark(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    figures.write_text("something else")
    assert "is not a file of this benchmark" in run("serving", "--json", str(figures)).stderr
    assert figures.read_text() == "something else"


def test_an_interrupted_run_keeps_the_turns_that_were_measured(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    arguments = ("--requests", "500", "--samples", "20", "--parts", "analysis", "--json", str(figures))
    assert interrupt("scale", *arguments, when=figures.is_file) == 130
    found = json.loads(figures.read_text())
    assert 1 <= found["turns"] <= 5
    assert found["seconds"] > 0
    assert found["page_mb"] > 1
    assert list(tmp_path.iterdir()) == [figures]


def test_the_growth_of_the_analysis_is_told_by_its_slopes(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    arguments = ("--parts", "growth", "--sizes", "2000,400", "--samples", "20", "--json", str(figures))
    done = run("scale", *arguments)
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())
    assert [row["requests"] for row in found["growth"]] == [400, 2000]
    assert all(row["seconds"] > 0 and 50 < row["mb"] < 1000 for row in found["growth"])
    few, many = found["growth"]
    assert found["mb_per_million"] == pytest.approx((many["mb"] - few["mb"]) / 1600e-6)


def test_the_recording_takes_in_the_rows_of_simulated_workers(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    arguments = ("--workers", "2", "--rate", "600", "--replicas", "5", "--seconds", "10", "--json", str(figures))
    done = run("intake", *arguments)
    assert figures.is_file(), done.stderr
    found = json.loads(figures.read_text())
    assert (found["rows_lost"], found["rows_twice"], found["faults"]) == (0, 0, 0)
    assert found["rows"] >= 2 * 900  # a report of each worker, of three seconds
    assert found["rows"] % 900 == 0
    assert found["samples"] >= 5 * 5


def test_interrupted_verdicts_keep_the_experiments(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"

    def has_experiments() -> bool:
        return figures.is_file() and "ab5_found" in json.loads(figures.read_text())

    assert interrupt("verdicts", "--experiments", "1", "--json", str(figures), when=has_experiments) == 130
    found = json.loads(figures.read_text())
    assert found["experiments"] == 1
    assert {found[key] for key in ("aa_false", "ab_found", "ab_covered", "ab5_found")} <= {0, 1}
    assert "coverage" not in found


def test_interrupted_rounds_are_kept_beside_the_rounds_of_before(tmp_path: Path) -> None:
    recorded, unfinished = tmp_path / "rounds.csv.gz", tmp_path / "unfinished-rounds.csv.gz"
    shutil.copy(ROOT / "benchmarks" / "rounds.csv.gz", recorded)
    before = recorded.read_bytes()
    arguments = ("--rounds", "9", "--seconds", "1", "--output", str(recorded))
    assert interrupt("rounds", *arguments, when=unfinished.is_file) == 130
    assert recorded.read_bytes() == before
    assert set(pd.read_csv(unfinished)["round"]) >= {1}
    assert {*tmp_path.iterdir()} == {recorded, unfinished}


def test_rounds_that_are_interrupted_while_they_are_written_are_those_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "unfinished-rounds.csv.gz"
    first = pd.DataFrame({"round": [1, 1], "sent_s": [0.1, 0.2], "response_time_ms": [1.25, 1.5]})
    write_rounds([first], path)

    def half_written(_: pd.DataFrame, place: Path, **__: object) -> None:
        place.write_bytes(path.read_bytes()[:20])
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", half_written)
    with pytest.raises(KeyboardInterrupt):
        write_rounds([first, first.assign(round=2)], path)
    pd.testing.assert_frame_equal(pd.read_csv(path), first)
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.browser
def test_the_page_is_measured_alone_if_asked(tmp_path: Path) -> None:
    if reason := why_no_browser():
        pytest.skip(reason)
    figures = tmp_path / "figures.json"
    done = run("scale", "--requests", "500", "--samples", "20", "--parts", "page", "--json", str(figures))
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())
    assert found["open_seconds"] > 0
    assert done.stdout.split() == ["open_seconds", str(found["open_seconds"])]
