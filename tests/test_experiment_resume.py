"""An experiment that is killed in the middle and continued: what it leaves is what one that ran through leaves."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest
from conftest import OWN, OWN_RECORD, free_port
from test_infra import infra, said_by

from infra.deployments.table import PORTS
from infra.deployments.waiting import until_true
from infra.errors import ResumeError
from infra.experiment.circumstances import Circumstances, differences
from infra.experiment.experiment import make_folder
from infra.experiment.journal import Journal, Step
from infra.experiment.load import end_leftovers
from infra.experiment.plan import Plan
from runfiles.events import CUT_OFF, ENOUGH_REQUESTS, MEASURED
from runfiles.machines import DockerEngine, Machine, this_machine
from runfiles.records import GitState, Model, Options
from runfiles.strict_json import read_record

TIMES = {"started_at", "ended_at", "resumed_at", "command", "seconds_to_healthy", "answer_bytes"}
"""Of a record, what is not the same twice. The answer of the blank has times in it."""

QUICK = ["--set", "rounds=3", "users=1", "seconds=10", "requests=800", "warm_up_s=1", "rest_s=0"]

OPTIONS = Options(service=str(OWN.path), image="i", build=False, ports=PORTS, reach={}, start_timeout_s=5.0)
UNKNOWN = Circumstances(Machine())


def record(folder: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((folder / "experiment.json").read_text())
    return said


def but_for_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: but_for_times(item) for key, item in value.items() if key not in TIMES}
    return [but_for_times(item) for item in value] if isinstance(value, list) else value


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def sent(folder: Path) -> list[str]:
    """The texts of a load in the order in which they were sent, warm-up aside."""
    with (folder / "load_requests.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["phase"] == MEASURED]
    return [row["text_id"] for row in sorted(rows, key=lambda row: float(row["started_at_unix_s"]))]


def page_but_for_figures(folder: Path) -> list[str]:
    """The page's headings, table heads and findings without their numbers, and the ids of all that it holds.

    Without the small print too: what n is, is said only where there were enough samples.
    """
    page = re.sub(r"<script.*?</script>", "", (folder / "report.html").read_text(encoding="utf-8"), flags=re.DOTALL)
    page = re.sub(r"<small>.*?</small>", "", page, flags=re.DOTALL)
    texts = re.findall(r"<(?:h[1-6]|th|dt|p id=)[^>]*>(.*?)</(?:h[1-6]|th|dt|p)>", page, re.DOTALL)
    return [re.sub(r"<[^>]+>|[\d.,]+", "", text) for text in texts] + re.findall(r'\bid="([^"]+)"', page)


def kill_in_round(run: subprocess.Popen[str], folder: Path, round_folder: str) -> None:
    """SIGKILL the experiment while the load of a round goes on."""
    until = time.monotonic() + 120
    while not list(folder.glob(f"*/{round_folder}/load_run.json")):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    run.kill()
    run.communicate()


@pytest.mark.slow  # test_experiment_engine has the same with containers, and the fault `signals` many moments
def test_one_that_was_killed_and_continued_is_as_one_that_ran_through(tmp_path: Path) -> None:
    options = ["run", "--only", "host", *QUICK, "--port", f"host={free_port()}", "--results"]
    through = infra(*options, str(tmp_path / "through"))
    assert through.wait(240) in (0, 3), said_by(through)  # 3: too little for the analysis' taste
    said_by(through)
    killed = infra(*options, str(tmp_path / "killed"))
    kill_in_round(killed, tmp_path / "killed", "host/round-2")
    (whole,), (half,) = (tmp_path / "through").iterdir(), (tmp_path / "killed").iterdir()

    rounds = record(half)["deployments"][0]["rounds"]
    assert [each["status"] for each in rounds] == ["measured", "failed", "not run"]
    assert rounds[1]["reason"] == CUT_OFF
    first = (half / "host/round-1/load_requests.csv").read_bytes()
    try:
        continued = infra("run", "--resume", str(half))
        said = said_by(continued)
    finally:
        said_by(infra("down", "host"))
    assert continued.returncode in (0, 3), said
    assert "removed what was left: host process" in said

    assert but_for_times(record(half)) == but_for_times(record(whole))
    assert len(record(half)["resumed_at"]) == 1
    assert files(half) == files(whole)
    assert (half / "host/round-1/load_requests.csv").read_bytes() == first
    loads = [folder / f"host/round-{number}" for folder in (half, whole) for number in (1, 2, 3)]
    ends = {read_record(load / "load_run.json")["ended_by"] for load in loads}
    assert ends == {ENOUGH_REQUESTS}
    counts = [len(sent(load)) for load in loads]
    assert min(counts) >= 800, counts  # some more are answered while Locust ends the run
    shown = page_but_for_figures(whole)
    if continued.returncode == through.returncode:  # a busy machine may make one invalid: such a page has no findings
        assert page_but_for_figures(half) == shown
    assert {"key", "doubts", "chart-latency-load", "chart-cpu-mean", "load-host-median_ms"} <= set(shown)

    again = infra("run", "--resume", str(half))
    assert "nothing is left to measure" in said_by(again)
    assert again.returncode in (0, 3)


def command_lines() -> list[str]:
    """Of all processes that run."""
    return [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]


def stand_in(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *arguments])


def test_a_load_generator_that_nobody_ended_is_ended_and_no_other(tmp_path: Path) -> None:
    ours = stand_in("-m", "locust", "--csv", str(tmp_path / "ours" / "host/round-1/load"))
    others = [stand_in("-m", "locust", "--csv", str(tmp_path / "ours-2/load")), stand_in(str(tmp_path / "ours"))]
    try:
        assert end_leftovers(tmp_path / "ours") == [ours.pid]
        assert ours.poll() is not None
        assert [process.poll() for process in others] == [None, None]
    finally:
        for process in [ours, *others]:
            process.kill()
            process.wait()


def test_a_load_ends_with_the_experiment_that_is_killed(tmp_path: Path) -> None:
    options = ["--set", "rounds=1", "seconds=60", "--port", f"host={free_port()}", "--results", str(tmp_path)]
    run = infra("run", "--only", "host", *options)
    try:
        kill_in_round(run, tmp_path, "host/round-1")
        (folder,) = tmp_path.iterdir()
        written = folder / "host/round-1/load_run.json"
        assert until_true(lambda: read_record(written)["ended_by"] == "interrupted", 30)
        assert until_true(lambda: not any(str(folder) in line for line in command_lines()), 30)
    finally:
        said_by(infra("down", "host"))


def test_only_one_experiment_runs_at_a_time(tmp_path: Path) -> None:
    first = infra(
        "run", "--only", "host", "--set", "seconds=60", "--port", f"host={free_port()}", "--results", str(tmp_path)
    )
    until = time.monotonic() + 60
    while not list(tmp_path.glob("*/host/round-1/*")) and time.monotonic() < until:
        time.sleep(0.05)
    second = infra("run", "--resume", str(next(tmp_path.iterdir())))
    said = said_by(second)
    first.terminate()
    assert "To measure what is left: " in said_by(first)
    assert first.returncode == 130
    assert "another experiment runs from this folder" in said
    assert second.returncode == 1


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """An experiment of one round, of another machine."""
    known = Circumstances(replace(this_machine(), cpu_model="Another CPU"))
    Journal.begin(tmp_path, Plan(deployments=("host",), rounds=1), "x", known, OPTIONS, OWN_RECORD)
    return tmp_path


def test_on_another_machine_it_is_not_continued_and_nothing_changes(begun: Path) -> None:
    before = (begun / "experiment.json").read_bytes()
    left = stand_in("-m", "locust", "--csv", str(begun / "host/round-1/load"))
    Thread(target=left.wait).start()  # as init does for a process whose parent was killed
    run = infra("run", "--resume", str(begun))
    said = said_by(run)
    assert run.returncode == 1
    assert f"ended what was left: load generator {left.pid}" in said
    assert left.wait(30) != 0
    assert "can't be continued, as its rounds would not be comparable (machine cpu_model: Another CPU then, " in said
    assert "bring that back, or begin a new experiment" in said
    assert (begun / "experiment.json").read_bytes() == before
    assert files(begun) == {"experiment.json"}


def test_what_can_be_told_apart_is_named() -> None:
    machine = Machine(cpu_count=2, memory_bytes=8_000_000_000)
    before = Circumstances(
        machine, GitState(commit="a", dirty=False), {"torch": "2.13"}, {}, None, Model(name="m", sha256="1" * 64)
    )
    assert differences(before, replace(before, machine=replace(machine, memory_bytes=7_990_000_000))) == []
    after = Circumstances(
        replace(machine, memory_bytes=4_000_000_000),
        GitState(commit="a", dirty=True, changes_sha256="b"),
        {"torch": "2.14"},
        {"INFERENCE_MODEL": "x"},
        DockerEngine(version="26"),
        Model(name="m", sha256="2" * 64),
    )
    assert differences(before, after) == [
        "machine memory_bytes: 8000000000 then, 4000000000 now",
        "code: changes_sha256: None then, b now",
        "code: dirty: False then, True now",
        "version of torch: 2.13 then, 2.14 now",
        "variable INFERENCE_MODEL: None then, x now",
        "model: m (111111111111) then, m (222222222222) now",
    ]
    with_engine = Circumstances(Machine(), engine=DockerEngine(version="26"))
    assert differences(with_engine, Circumstances(Machine())) == ["engine: there is none now"]


def test_what_an_earlier_version_did_not_record_is_not_compared() -> None:
    before = Circumstances(Machine(cpu_count=2), engine=DockerEngine(version="26", kernel="6.1"))
    engine = DockerEngine(version="26", kernel="6.1", cpu_count=2, memory_bytes=8_000_000_000)
    now = Circumstances(Machine(cpu_count=2, cpu_model="x", architecture="x86_64"), engine=engine)
    assert differences(before, now) == []
    assert differences(now, before) == [
        "machine architecture: x86_64 then, None now",
        "machine cpu_model: x then, None now",
        "engine cpu_count: 2 then, None now",
        "engine memory_bytes: 8000000000 then, None now",
    ]
    assert differences(now, replace(now, engine=replace(engine, cpu_count=1))) == ["engine cpu_count: 2 then, 1 now"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "holds no experiment.json; name a folder such as results/<time>"),
        ("", "can't be read"),
        ("[]", "can't be read (it is [], which is no table); begin a new experiment"),
        ('{"form": 1}', "can't be read (it is of form 1, this version reads forms 2 and 3); begin a new experiment"),
        ('{"form": 2}', "can't be read (started_at is missing); begin a new experiment"),
    ],
)
def test_a_folder_that_holds_no_experiment_is_told(tmp_path: Path, content: str | None, expected: str) -> None:
    if content is not None:
        (tmp_path / "experiment.json").write_text(content)
    with pytest.raises(ResumeError, match=re.escape(expected)):
        Journal.reopen(tmp_path)


def test_a_deployment_is_what_its_rounds_are(tmp_path: Path) -> None:
    plan = Plan(deployments=("host", "docker"), rounds=2, layout="turns")
    journal = Journal.begin(tmp_path, plan, "x", UNKNOWN, OPTIONS, OWN_RECORD)
    assert [deployment["status"] for deployment in record(tmp_path)["deployments"]] == ["not run"] * 5
    assert record(tmp_path)["deployments"][2]["reason"] == "not in the plan"
    steps = [Step(1, ("host",)), Step(1, ("docker",)), Step(2, ("docker",)), Step(2, ("host",))]
    assert list(journal.left()) == steps
    journal.note_round("host", 1, status="measured", reason=None, runs=("single_pass", "load"))
    journal.note_round("host", 2, status="failed", reason="it broke")
    journal.note_round("docker", 1, status="failed", reason=CUT_OFF)
    host, docker = record(tmp_path)["deployments"][:2]
    assert (host["status"], host["reason"]) == ("measured", "it broke")
    assert (docker["status"], docker["reason"]) == ("failed", CUT_OFF)
    assert journal.cut_off() == ["docker"]
    assert list(Journal.reopen(tmp_path).left()) == steps[1:]
    assert files(tmp_path) == {"experiment.json"}


def test_options_are_not_taken_beside_resume() -> None:
    for options in (["--set", "users=3"], ["--only", "host"], ["--image", "other"], ["plans/default.toml"]):
        run = infra("run", *options, "--resume", "results/x")
        assert "--resume takes plan, image, ports and all else from the experiment's folder" in said_by(run)
        assert run.returncode == 2


def test_experiments_that_begin_in_the_same_second_have_folders_of_their_own(tmp_path: Path) -> None:
    made = [make_folder(tmp_path) for _ in range(3)]
    assert len(set(made)) == 3
    assert all(folder.is_dir() for folder in made)
