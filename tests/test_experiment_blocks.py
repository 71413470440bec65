"""A round in blocks: what Locust is told, deployments that fail in a group, and what is removed when. The services are
small HTTP servers of this process; Locust and its load are real."""

from __future__ import annotations

import csv
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import OWN, OWN_RECORD
from rich.console import Console
from test_rounds import answering

from infra.deployments.service import Service
from infra.deployments.settings import Settings
from infra.deployments.table import PORTS, Running
from infra.errors import DeploymentError
from infra.experiment import bench as bench_module
from infra.experiment import blocks
from infra.experiment.bench import Bench
from infra.experiment.blocks import blocks_of, measure_group
from infra.experiment.circumstances import Circumstances
from infra.experiment.enough import Budget
from infra.experiment.journal import Journal, Step
from infra.experiment.load import ServiceGone
from infra.experiment.plan import Plan
from infra.experiment.progress import View
from runfiles.events import CUT_OFF, MEASURED
from runfiles.machines import Machine
from runfiles.records import BlankRecord, Limits, Options, RoundRecord

BLANK = BlankRecord(status="measured", folder="blank", answer_bytes=300)
BOTH = Step(1, ("host", "docker"), 1)


def test_locust_is_told_of_the_whole_load(tmp_path: Path) -> None:
    plan = Plan(seconds=10, warm_up_s=3, block_s=0.5, requests=400, seed=7)
    targets = {
        "docker": ("http://127.0.0.1:5010", "container:llm-inference-container", tmp_path / "docker/round-3/load"),
        "host": ("http://127.0.0.1:5000", "process:12", tmp_path / "host/round-3/load_group2"),
    }
    said = blocks_of(plan, Step(3, ("docker", "host"), 2), targets)
    assert said == {
        "group": 2,
        "block_s": 0.5,
        "settle_s": 0.2,
        "warm_up_blocks": 6,
        "blocks": 20,
        "most_repeats": 10,
        "requests": 400,
        "order_seed": 7_000_302,
        "rates": (),
        "capacity": None,
        "targets": [
            {
                "deployment": "docker",
                "host": "http://127.0.0.1:5010",
                "replicas": "container:llm-inference-container",
                "csv": str(tmp_path.resolve() / "docker/round-3/load"),
                "first_per_s": None,
            },
            {
                "deployment": "host",
                "host": "http://127.0.0.1:5000",
                "replicas": "process:12",
                "csv": str(tmp_path.resolve() / "host/round-3/load_group2"),
                "first_per_s": None,
            },
        ],
    }
    steps = [Step(number, BOTH.names, group) for number in (1, 2, 3) for group in (1, 2)]
    seeds = {blocks_of(plan, step, targets)["order_seed"] for step in steps}
    assert len(seeds) == len(steps)


@dataclass
class Deployments:
    """Stands for ``deployed``: services of this process. A test says what becomes of each."""

    gone: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    stuck: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    @contextmanager
    def deployed(self, name: str, _settings: Settings, folder: Path) -> Iterator[Running]:
        if name in self.broken:
            raise DeploymentError(self.broken[name])
        folder.mkdir(parents=True, exist_ok=True)
        self.log.append(f"started {name}")

        def copy(to: Path) -> list[Path]:
            self.log.append(f"copied {name}")
            (to / "metrics.csv").write_text("Inference Latency\n" + "1\n" * 160)
            return [to / "metrics.csv"]

        try:
            with answering(lambda _: self.statuses.get(name, 200), seconds=0.002) as url:
                service = Service("none", copy, "", Limits(), lambda: self.gone.get(name), lambda: "bye")
                yield Running(name, url, 0.5, service)
        finally:
            self.log.append(f"removed {name}")
        if name in self.stuck:
            raise DeploymentError(self.stuck[name])


@pytest.fixture
def deployments(monkeypatch: pytest.MonkeyPatch) -> Deployments:
    deployments = Deployments()
    monkeypatch.setattr(blocks, "deployed", deployments.deployed)
    monkeypatch.setattr(bench_module, "repeat_s", lambda plan: 0.01)  # a second pass is of no use here
    monkeypatch.setattr(bench_module, "measure_blank", lambda *_: BLANK)
    return deployments


@pytest.fixture
def without_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The single passes succeed, and take no time."""

    def note(bench: Bench, running: Running, number: int) -> None:
        bench.journal.note_round(running.name, number, runs=("single_pass",))

    monkeypatch.setattr(Bench, "single_pass", note)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An experiment of one round of host and docker, side by side."""
    return bench_of(tmp_path, ("host", "docker"))


def bench_of(folder: Path, *groups: tuple[str, ...]) -> Bench:
    names = tuple(dict.fromkeys(name for group in groups for name in group))
    plan = Plan(deployments=names, rounds=1, users=2, seconds=1, warm_up_s=1, block_s=0.3)
    options = Options(service=str(OWN.path), image="i", build=False, ports=PORTS, reach={}, start_timeout_s=5.0)
    journal = Journal.begin(folder, plan, "x", Circumstances(Machine()), options, OWN_RECORD)
    journal.note(groups=groups)
    return Bench(folder, journal, Settings(), View(journal, Console(width=500), Budget(6)))


def rounds(bench: Bench) -> dict[str, RoundRecord]:
    return {name: Journal.reopen(bench.folder).round(name, 1) for name in bench.plan.deployments}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def meanwhile(bench: Bench, monkeypatch: pytest.MonkeyPatch, what: Callable[[], None]) -> None:
    """Do something each time that a person is shown how far the load is, once it has sent some blocks."""
    show = View.do

    def do(view: View, text: str) -> None:
        show(view, text)
        if "load of" in text and list(bench.folder.glob("*/round-1/load_blocks.csv")):
            what()

    monkeypatch.setattr(View, "do", do)


def test_deployments_are_measured_side_by_side(deployments: Deployments, bench: Bench) -> None:
    measure_group(bench, BOTH)
    for name, each in rounds(bench).items():
        assert (each.status, each.reason, each.group) == ("measured", None, 1)
        assert each.runs == ("single_pass", "load")
        assert each.metrics_files == (f"{name}/round-1/metrics.csv",)
        folder = bench.folder / each.folder
        assert len(rows(folder / "single_pass_requests.csv")) == 160
        measured = [row for row in rows(folder / "load_blocks.csv") if row["phase"] == MEASURED]
        assert len(measured) == bench.plan.blocks == 3
        assert json.loads((folder / "load_run.json").read_text())["blocks"]["deployment"] == name
        assert not list(folder.glob("*_done"))
    expected = ["started host", "started docker", "copied host", "copied docker", "removed host", "removed docker"]
    assert deployments.log == expected
    assert bench.journal.record.blank == BLANK


@pytest.mark.usefixtures("without_passes")
def test_one_that_does_not_start_leaves_the_others_to_themselves(deployments: Deployments, bench: Bench) -> None:
    deployments.broken["docker"] = "no model here"
    measure_group(bench, BOTH)
    found = rounds(bench)
    assert (found["docker"].status, found["docker"].reason) == ("failed", "no model here")
    assert found["host"].status == "measured"
    assert deployments.log == ["started host", "removed host"]


def test_one_that_fails_in_its_single_pass_is_removed_before_the_load(deployments: Deployments, bench: Bench) -> None:
    deployments.statuses["host"] = 503
    measure_group(bench, BOTH)
    found = rounds(bench)
    assert found["host"].status == "failed"
    assert "status 503" in str(found["host"].reason)  # of the first answers, or of all if they were quick
    assert str(found["host"].reason).endswith(": bye")  # its last words
    assert (found["docker"].status, found["docker"].runs) == ("measured", ("single_pass", "load"))
    log = deployments.log
    assert log.index("removed host") < log.index("copied docker")
    (target,) = json.loads((bench.folder / "group-1/round-1/blocks.json").read_text())["targets"]
    assert target["deployment"] == "docker"
    assert not (bench.folder / "host/round-1/load_run.json").exists()


@pytest.mark.usefixtures("without_passes")
def test_one_that_ends_in_mid_load_fails_and_the_others_are_loaded_again_from_the_beginning(
    deployments: Deployments,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended_at: list[float] = []

    def end() -> None:
        deployments.gone.setdefault("docker", "it ended: killed")
        ended_at.append(time.time())

    meanwhile(bench, monkeypatch, end)
    measure_group(bench, BOTH)
    found = rounds(bench)
    assert (found["docker"].status, found["docker"].reason) == ("failed", "it ended: killed")
    assert found["docker"].runs == ("single_pass",)
    assert found["host"].status == "measured"
    load = bench.folder / "host/round-1"
    assert json.loads((load / "load_run.json").read_text())["blocks"]["deployments"] == ["host"]
    first = min(float(row["started_at_unix_s"]) for row in rows(load / "load_requests.csv"))
    assert first > ended_at[0]
    assert deployments.log[-2:] == ["removed docker", "removed host"]
    assert "Round 1 of 1: the load begins anew, without docker run" in capsys.readouterr().out


@pytest.mark.usefixtures("without_passes")
def test_a_load_begins_anew_only_once(deployments: Deployments, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def end() -> None:
        deployments.gone["host" if "docker" in deployments.gone else "docker"] = "it ended"

    meanwhile(bench, monkeypatch, end)
    measure_group(bench, BOTH)
    assert {each.status for each in rounds(bench).values()} == {"failed"}
    assert sorted(deployments.log[-2:]) == ["removed docker", "removed host"]


@pytest.mark.usefixtures("without_passes")
def test_those_who_did_not_end_are_told_who_did(tmp_path: Path, deployments: Deployments) -> None:
    bench = bench_of(tmp_path, ("host", "docker", "compose"))
    gone = iter(["docker", "compose"])

    def send(*_: Any) -> None:
        name = next(gone)
        raise ServiceGone(name, f"{name} ended")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(blocks, "run_locust", send)
        measure_group(bench, Step(1, ("host", "docker", "compose"), 1))
    found = rounds(bench)
    assert found["compose"].reason == "compose ended"
    assert found["host"].reason == "Docker Compose ended too, when the load had begun anew: compose ended"
    assert sorted(deployments.log[-3:]) == ["removed compose", "removed docker", "removed host"]


@pytest.mark.usefixtures("without_passes")
def test_one_that_can_t_be_removed_is_not_measured(deployments: Deployments, bench: Bench) -> None:
    deployments.stuck["host"] = "it stays"
    measure_group(bench, BOTH)
    found = rounds(bench)
    assert (found["host"].status, found["host"].reason) == ("failed", "it stays")
    assert found["docker"].status == "measured"


def test_the_reference_of_a_further_group_gets_the_load_alone(tmp_path: Path, deployments: Deployments) -> None:
    bench = bench_of(tmp_path, ("host", "swarm-1"), ("host", "swarm-3"))
    first, second = bench.journal.steps(1)
    measure_group(bench, first)
    single_pass = (bench.folder / "host/round-1/single_pass_requests.csv").read_bytes()
    load = (bench.folder / "host/round-1/load_requests.csv").read_bytes()
    deployments.log.clear()
    measure_group(bench, second)
    assert deployments.log == ["started host", "started swarm-3", "copied swarm-3", "removed host", "removed swarm-3"]
    found = rounds(bench)
    assert (found["host"].group, found["host"].reference_in) == (1, (2,))
    assert (found["swarm-3"].group, found["swarm-3"].status) == (2, "measured")
    folder = bench.folder / "host/round-1"
    record = json.loads((folder / "load_group2_run.json").read_text())
    assert record["blocks"]["deployments"] == ["host", "swarm-3"]
    assert (folder / "single_pass_requests.csv").read_bytes() == single_pass
    assert (folder / "load_requests.csv").read_bytes() == load
    assert list(bench.journal.left()) == []

    before = (folder / "load_group2_requests.csv").read_bytes()
    measure_group(bench, first)  # as --resume does if one of the first group was not measured
    assert (folder / "load_group2_requests.csv").read_bytes() == before
    assert (folder / "load_requests.csv").read_bytes() != load
    assert rounds(bench)["host"].reference_in == (2,)


@pytest.mark.usefixtures("without_passes")
def test_without_the_deployment_that_it_is_for_a_reference_is_not_loaded(
    tmp_path: Path, deployments: Deployments
) -> None:
    bench = bench_of(tmp_path, ("host", "swarm-1"), ("host", "swarm-3"))
    deployments.broken["swarm-3"] = "no swarm here"
    measure_group(bench, bench.journal.steps(1)[1])
    assert rounds(bench)["host"].reference_in == ()
    assert rounds(bench)["swarm-3"].reason == "no swarm here"
    assert deployments.log == ["started host", "removed host"]


@pytest.mark.usefixtures("without_passes")
def test_ctrl_c_in_mid_load_removes_all_and_ends_locust(
    deployments: Deployments, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    meanwhile(bench, monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        measure_group(bench, BOTH)
    assert deployments.log[-2:] == ["removed docker", "removed host"]
    for each in rounds(bench).values():
        assert (each.status, each.reason, each.runs) == ("failed", CUT_OFF, ("single_pass",))
    assert json.loads((bench.folder / "host/round-1/load_run.json").read_text())["ended_by"] == "interrupted"
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            assert str(bench.folder) not in " ".join(child.cmdline())
    assert threading.active_count() < 50


@pytest.mark.usefixtures("without_passes")
@pytest.mark.parametrize("processes", [1, 2])
def test_locust_may_have_workers_and_processors_of_its_own(
    tmp_path: Path, deployments: Deployments, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(psutil.Process, "cpu_affinity"):
        pytest.skip("this system can't pin a process")
    (first, *_) = psutil.Process().cpu_affinity()
    bench = bench_of(tmp_path, ("host", "docker"))
    journal = bench.journal
    journal.plan = Plan(**{**vars(journal.plan), "processes": processes, "generator_cpus": str(first)})
    seen: dict[int, list[int]] = {}

    def look() -> None:
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if "--blocks" in child.cmdline():
                    seen[child.pid] = child.cpu_affinity()

    meanwhile(bench, monkeypatch, look)
    measure_group(bench, BOTH)
    assert {each.status for each in rounds(bench).values()} == {"measured"}
    assert set(map(tuple, seen.values())) == {(first,)}
    assert len(seen) == (1 if processes == 1 else processes + 1)
    for name in ("host", "docker"):
        record = json.loads((bench.folder / name / "round-1/load_run.json").read_text())
        assert record["requests"] == len(rows(bench.folder / name / "round-1/load_requests.csv")) > 20
        assert record["faults"] == []
        assert record["generator"]["processes"] == len(seen)
