"""Real Locust visits two real services in blocks, and repeats a single pass: what is sent and what is recorded."""

from __future__ import annotations

import csv
import fcntl
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from conftest import ROOT, free_port, is_open
from test_row_file import small_disk

from infra.deployments.waiting import until_true
from runfiles.columns import BLOCK_COLUMNS, column_names
from runfiles.events import DISTURBED, MEASURED, RECORDING_FAILED_EXIT_CODE, SETTLING, STOPPED, WAITING, WARM_UP
from runfiles.files import (
    BLOCKS_SUFFIX,
    FIRST_PASS_DONE_SUFFIX,
    MACHINE_STATS_SUFFIX,
    REPLICA_STATS_SUFFIX,
    REQUESTS_SUFFIX,
    RUN_RECORD_SUFFIX,
)
from runfiles.records import RunRecord

NAMES = ("host", "docker")
PAUSE_S = 0.005
BUSY = "while True: pass"


@dataclass(frozen=True)
class Named:
    """A service that answers with its own name."""

    name: str
    url: str
    process: subprocess.Popen[bytes]

    def target(self, folder: Path) -> dict[str, Any]:
        return {
            "deployment": self.name,
            "host": self.url,
            "replicas": f"process:{self.process.pid}",
            "csv": str(folder / self.name / "load"),
        }


@contextmanager
def services(*names: str, pause_s: float = PAUSE_S) -> Iterator[list[Named]]:
    found = []
    try:
        for name in names:
            port = free_port()
            command = [sys.executable, str(Path(__file__).with_name("named_service.py")), name, str(port), str(pause_s)]
            found.append(Named(name, f"http://127.0.0.1:{port}", subprocess.Popen(command)))
            assert until_true(partial(is_open, "127.0.0.1", port), 20)
        yield found
    finally:
        for service in found:
            service.process.kill()
            service.process.wait()


@pytest.fixture
def two() -> Iterator[list[Named]]:
    with services(*NAMES) as found:
        yield found


def write_blocks(folder: Path, services: list[Named], **changed: Any) -> Path:
    load = {
        "group": 1,
        "block_s": 0.4,
        "settle_s": 0.1,
        "warm_up_blocks": 1,
        "blocks": 4,
        "most_repeats": 0,
        "requests": None,
        "order_seed": 5,
        "targets": [service.target(folder) for service in services],
    }
    path = folder / "blocks.json"
    path.write_text(json.dumps(load | changed))
    return path


def start(folder: Path, *arguments: str, locustfile: str = "keep_alive") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / f"{locustfile}.py"), "--headless"]
    command += ["--csv", str(folder / "all" / "load"), "-u", "4", "-r", "4", "--only-summary", *arguments]
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def with_blocks(folder: Path, services: list[Named], *arguments: str, **changed: Any) -> subprocess.Popen[str]:
    return start(folder, "--blocks", str(write_blocks(folder, services, **changed)), *arguments)


def log_of(folder: Path) -> str:
    return (folder / "log").read_text()


def rows(path: Path | str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class Recorded:
    """The files of one target."""

    requests: list[dict[str, str]]
    samples: list[dict[str, str]]
    machine: list[dict[str, str]]
    blocks: list[dict[str, str]]
    record: RunRecord


def recorded(folder: Path, name: str, prefix: str = "load") -> Recorded:
    path = folder / name / prefix
    suffixes = (REQUESTS_SUFFIX, REPLICA_STATS_SUFFIX, MACHINE_STATS_SUFFIX, BLOCKS_SUFFIX)
    requests, samples, machine, blocks = (rows(f"{path}{suffix}") for suffix in suffixes)
    for row in (*requests, *samples, *machine, *blocks):
        assert None not in row
        assert None not in row.values()
    return Recorded(requests, samples, machine, blocks, RunRecord.read(Path(f"{path}{RUN_RECORD_SUFFIX}")))


def at(row: Mapping[str, str], name: str) -> float:
    return float(row[f"{name}_unix_s"])


def is_measured_part(block: Mapping[str, str], at_unix_s: float) -> bool:
    return at(block, "measured_from") <= at_unix_s <= at(block, "measured_to")


def check_requests(found: Recorded, name: str) -> None:
    """Each row is of this target and has the phase of its place in its block; none is lost. A request of a block may be
    begun after its end, but not once the next block is measured."""
    blocks = {block["block"]: block for block in found.blocks}
    measured_from = {int(block["block"]): at(block, "measured_from") for block in found.blocks}
    assert {row["replica"] for row in found.requests if row["status"] == "200"} <= {name}
    for row in found.requests:
        block, sent = blocks[row["block"]], at(row, "started_at")
        assert row["phase"] == (block["phase"] if is_measured_part(block, sent) else SETTLING)
        following = (since for number, since in measured_from.items() if number > int(row["block"]))
        assert at(block, "began_at") - 0.05 <= sent <= min(following, default=math.inf)
    assert found.record.requests == len(found.requests)
    assert found.record.failures == sum(bool(row["error"]) for row in found.requests)


def check_samples(found: Recorded) -> None:
    """Phases of samples, and one at each edge of each block that belongs to its measured part. Those of replicas are
    known by their lack of rates. The machine is otherwise sampled once a second."""
    for row in (*found.samples, *found.machine):
        sampled = at(row, "sampled_at")
        inside = [block for block in found.blocks if at(block, "began_at") <= sampled < at(block, "ended_at")]
        if not inside:
            assert row["phase"] == WAITING
        else:
            assert row["phase"] == (inside[0]["phase"] if is_measured_part(inside[0], sampled) else SETTLING)
    for file in (found.samples, found.machine):
        times = [at(row, "sampled_at") for row in file]
        assert times == sorted(times)
        for block in found.blocks:
            of_block = [row for row in file if is_measured_part(block, at(row, "sampled_at"))]
            assert len(of_block) >= 2
            assert of_block[0].get("cpu_percent", "") == of_block[-1].get("cpu_percent", "") == ""


def check_blocks(found: list[Recorded]) -> list[dict[str, str]]:
    """All blocks in their order: they do not overlap, and each has its times in order. Returns them."""
    blocks = sorted((block for one in found for block in one.blocks), key=lambda block: int(block["block"]))
    assert [int(block["block"]) for block in blocks] == list(range(1, len(blocks) + 1))
    assert list(blocks[0]) == column_names(BLOCK_COLUMNS)
    edges = ("began_at", "measured_from", "measured_to", "ended_at")
    times = [at(block, edge) for block in blocks for edge in edges]
    assert times == sorted(times)
    return blocks


def test_each_deployment_gets_its_blocks_and_its_own_run(two: list[Named], tmp_path: Path) -> None:
    assert with_blocks(tmp_path, two, "--seed", "3").wait(60) == 0
    found = [recorded(tmp_path, name) for name in NAMES]
    blocks = check_blocks(found)
    assert [block["phase"] for block in blocks] == [WARM_UP] * 2 + [MEASURED] * 8
    assert [int(block["cycle"]) for block in blocks] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert all(float(block["others_cpu_percent"]) >= 0 for block in blocks)
    assert all(at(block, "measured_from") - at(block, "began_at") >= 0.1 for block in blocks)
    measured_s = [at(block, "measured_to") - at(block, "measured_from") for block in blocks]
    assert min(measured_s) >= 0.39
    assert statistics.median(measured_s) < 0.7
    assert statistics.median(at(block, "ended_at") - at(block, "measured_to") for block in blocks) < 1
    for name, one in zip(NAMES, found, strict=True):
        check_requests(one, name)
        check_samples(one)
        assert len(one.blocks) == 5
        # Settling is shorter than the time between two samples, so that there need not be one in it.
        assert {row["phase"] for row in one.samples} - {SETTLING} == {WARM_UP, MEASURED, WAITING}
        assert sum(row["phase"] == MEASURED for row in one.requests) > 100
        assert {row["inference_ms"] for row in one.requests} == {"1.5"}
        said = one.record
        assert (said.ended_by, said.run_time_s, said.warm_up_s) == ("all blocks", None, 0.4)
        assert (said.seed, said.users) == (3, 4)
        assert said.host == next(service.url for service in two if service.name == name)
        assert said.blocks is not None
        assert (said.blocks.deployment, said.blocks.deployments, said.blocks.planned) == (name, NAMES, 4)
        assert (said.blocks.repeated, said.blocks.group, said.faults) == (0, 1, ())
    totals = {row["Name"]: int(row["Request Count"]) for row in rows(tmp_path / "all" / "load_stats.csv")}
    assert totals == {f"/infer ({name})": len(one.requests) for name, one in zip(NAMES, found, strict=True)} | {
        "Aggregated": sum(len(one.requests) for one in found)
    }
    assert "Traceback" not in log_of(tmp_path)


def test_no_request_is_sent_to_one_while_another_is_measured(two: list[Named], tmp_path: Path) -> None:
    """And each is the first of its cycle equally often."""
    assert with_blocks(tmp_path, two, block_s=0.2, settle_s=0.05, blocks=6, warm_up_blocks=0).wait(60) == 0
    found = [recorded(tmp_path, name) for name in NAMES]
    for one, other in (found, reversed(found)):
        for block in one.blocks:
            assert not any(is_measured_part(block, at(row, "started_at")) for row in other.requests)
            for row in other.requests:
                ended = at(row, "started_at") + float(row["response_time_ms"]) / 1000
                assert not is_measured_part(block, ended - 0.01)
    first = [min(found, key=lambda one: at(one.blocks[cycle], "began_at")) for cycle in range(6)]
    assert first.count(found[0]) == first.count(found[1]) == 3


def test_a_load_in_blocks_ends_when_each_has_as_many_requests_as_asked_for(two: list[Named], tmp_path: Path) -> None:
    assert with_blocks(tmp_path, two, blocks=1000, requests=150).wait(60) == 0
    found = [recorded(tmp_path, name) for name in NAMES]
    blocks = check_blocks(found)
    assert len(found[0].blocks) == len(found[1].blocks) < 50
    for one in found:
        assert sum(row["phase"] == MEASURED for row in one.requests) >= 150
        assert (one.record.ended_by, one.record.end_after_requests) == ("number of requests", 150)
    before = {block["block"] for block in blocks if int(block["cycle"]) < int(blocks[-1]["cycle"])}
    counts = [sum(row["phase"] == MEASURED and row["block"] in before for row in one.requests) for one in found]
    assert min(counts) < 150


def test_two_workers_send_one_load_in_blocks(two: list[Named], tmp_path: Path) -> None:
    port = str(free_port())
    arguments = ["--processes", "2", "--master-bind-port", port, "--master-port", port]
    assert with_blocks(tmp_path, two, *arguments).wait(60) == 0
    found = [recorded(tmp_path, name) for name in NAMES]
    assert [block["phase"] for block in check_blocks(found)] == [WARM_UP] * 2 + [MEASURED] * 8
    for name, one in zip(NAMES, found, strict=True):
        check_requests(one, name)
        check_samples(one)
        assert sum(row["phase"] == MEASURED for row in one.requests) > 100
        assert (one.record.generator.processes, one.record.faults) == (3, ())
    (total,) = [row for row in rows(tmp_path / "all" / "load_stats.csv") if row["Name"] == "Aggregated"]
    assert sum(len(one.requests) for one in found) == int(total["Request Count"])


def in_measured_part(file: list[dict[str, str]], column: str, block: Mapping[str, str]) -> float:
    """By how much a counter grew, in % of a core."""
    inside = [row for row in file if is_measured_part(block, at(row, "sampled_at"))]
    seconds = at(block, "measured_to") - at(block, "measured_from")
    return (float(inside[-1][column] or 0) - float(inside[0][column] or 0)) / seconds * 100


@pytest.mark.parametrize("workers", [0, 2])
def test_other_programs_are_all_but_the_load_and_what_is_loaded(two: list[Named], tmp_path: Path, workers: int) -> None:
    port = str(free_port())
    arguments = ["--processes", "2", "--master-bind-port", port, "--master-port", port] if workers else []
    assert with_blocks(tmp_path, two, *arguments, block_s=2.0, blocks=1, warm_up_blocks=0).wait(60) == 0
    found = [recorded(tmp_path, name) for name in NAMES]
    for one in found:
        (block,) = one.blocks
        known = sum(in_measured_part(each.samples, "cpu_seconds", block) for each in found)
        for column in ("softirq", "generator", "docker_proxy", "dockerd", "containerd"):
            known += in_measured_part(one.machine, f"{column}_cpu_seconds", block)
        others = in_measured_part(one.machine, "busy_cpu_seconds", block) - known
        said = float(block["others_cpu_percent"])
        if workers:
            of_workers = (one.record.generator.cpu_percent_all or 0) - (one.record.generator.cpu_percent or 0)
            assert of_workers > 5
            assert others - said > of_workers / 3  # the record's is a mean over the whole run
        else:
            assert said == pytest.approx(max(0, others), abs=3, rel=0.1)


def test_a_disturbed_block_is_repeated_and_counted(two: list[Named], tmp_path: Path) -> None:
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(os.cpu_count() or 1)]
    try:
        assert with_blocks(tmp_path, two, blocks=2, warm_up_blocks=0, most_repeats=3).wait(90) == 0
    finally:
        for other in others:
            other.kill()
            other.wait()
    found = [recorded(tmp_path, name) for name in NAMES]
    blocks = check_blocks(found)
    assert [block["phase"] for block in blocks] == [DISTURBED] * 3 + [MEASURED] * 4
    assert [int(block["cycle"]) for block in blocks] == [1] * 5 + [2] * 2
    assert all(float(block["others_cpu_percent"]) > 30 for block in blocks)
    first, second = sorted(found, key=lambda one: at(one.blocks[0], "began_at"))
    assert first.record.blocks is not None
    assert second.record.blocks is not None
    assert (first.record.blocks.repeated, first.record.blocks.disturbed) == (3, 2)
    assert (second.record.blocks.repeated, second.record.blocks.disturbed) == (0, 2)
    for name, one in zip(NAMES, found, strict=True):
        check_requests(one, name)
        check_samples(one)
    assert sum(row["phase"] == DISTURBED for row in first.requests) > 20


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_in_a_block_leaves_whole_files(two: list[Named], tmp_path: Path, workers: int) -> None:
    port = str(free_port())
    arguments = ["--processes", "2", "--master-bind-port", port, "--master-port", port] if workers else []
    run = with_blocks(tmp_path, two, *arguments, blocks=1000)
    paths = [Path(f"{tmp_path}/{name}/load{BLOCKS_SUFFIX}") for name in NAMES]
    assert until_true(lambda: all(path.exists() and len(rows(path)) >= 2 for path in paths), 30)
    time.sleep(0.25)
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(30) == 0
    found = [recorded(tmp_path, name) for name in NAMES]
    ended = {block["block"] for one in found for block in one.blocks}
    last = str(max(map(int, ended)) + 1)
    for one in found:
        assert one.record.ended_by == "interrupted"
        assert one.record.ended_at_unix_s is not None
        assert one.record.requests == len(one.requests)
        assert {row["block"] for row in one.requests} <= ended | {last}
        assert {row["phase"] for row in one.requests if row["block"] == last} <= {SETTLING}
        assert one.record.faults == ()
    (total,) = [row for row in rows(tmp_path / "all" / "load_stats.csv") if row["Name"] == "Aggregated"]
    assert sum(len(one.requests) for one in found) == int(total["Request Count"])
    assert "Traceback" not in log_of(tmp_path)


def test_ctrl_c_while_a_service_is_asked_who_it_is_leaves_whole_files(two: list[Named], tmp_path: Path) -> None:
    for service in two:
        service.process.send_signal(signal.SIGSTOP)
    run = with_blocks(tmp_path, two)
    port = urlsplit(two[0].url).port
    connections = psutil.Process(run.pid).net_connections
    assert until_true(lambda: any(each.raddr and each.raddr.port == port for each in connections()), 30)
    os.killpg(run.pid, signal.SIGINT)
    for service in two:  # they answer while the run is finished
        service.process.send_signal(signal.SIGCONT)
    assert run.wait(30) == 0
    assert "Traceback" not in log_of(tmp_path)
    for name in NAMES:
        found = recorded(tmp_path, name)
        assert (found.record.ended_by, found.record.requests) == ("interrupted", 0)
        assert found.record.ended_at_unix_s is not None


def test_a_worker_that_is_lost_is_told_in_each_run_and_the_visits_go_on(two: list[Named], tmp_path: Path) -> None:
    port = str(free_port())
    arguments = ["--processes", "2", "--master-bind-port", port, "--master-port", port]
    run = with_blocks(tmp_path, two, *arguments, blocks=8)
    path = Path(f"{tmp_path}/host/load{BLOCKS_SUFFIX}")
    assert until_true(lambda: path.exists() and len(rows(path)) >= 2, 30)
    psutil.Process(run.pid).children()[0].kill()
    run.wait(60)
    for name in NAMES:
        one = recorded(tmp_path, name)
        assert (len(one.blocks), one.record.ended_by) == (9, "all blocks")
        (fault,) = one.record.faults
        assert fault.kind == "rows lost"
        assert "was lost" in fault.text
        assert [row for row in one.requests if row["block"] == one.blocks[-1]["block"] and row["phase"] == MEASURED]


def test_a_disk_that_stays_full_is_told_by_the_run_that_it_concerns(two: list[Named], tmp_path: Path) -> None:
    with small_disk(tmp_path / "docker", "64k") as disk:
        run = with_blocks(tmp_path, two)
        path = Path(f"{tmp_path}/docker/load{BLOCKS_SUFFIX}")
        assert until_true(lambda: path.exists() and len(rows(path)) >= 1, 30)
        subprocess.run(["dd", "if=/dev/zero", f"of={disk}/filler", "bs=4k"], stderr=subprocess.DEVNULL, check=False)
        assert run.wait(60) == RECORDING_FAILED_EXIT_CODE
        host, docker = (recorded(tmp_path, name) for name in NAMES)
    check_requests(host, "host")
    assert (len(host.blocks), host.record.faults) == (5, ())
    assert docker.record.ended_by == "all blocks"
    assert {fault.kind for fault in docker.record.faults} == {"rows lost"}
    lost = (docker.record.requests or 0) - len(docker.requests)
    text = f"{lost} of {docker.record.requests} rows of load_requests.csv are not in it"
    assert text in [fault.text for fault in docker.record.faults]
    assert "Traceback" not in log_of(tmp_path)


def test_no_run_begins_if_one_of_them_can_not_be_recorded(two: list[Named], tmp_path: Path) -> None:
    path = tmp_path / "docker" / f"load{REQUESTS_SUFFIX}"
    path.parent.mkdir()
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert with_blocks(tmp_path, two).wait(60) == RECORDING_FAILED_EXIT_CODE
    text = f"{path} can't be written (another Locust is writing it), so the run ends before it begins"
    assert text in log_of(tmp_path)
    assert rows(f"{tmp_path}/host/load{REQUESTS_SUFFIX}") == []
    assert not list(tmp_path.glob("*/*.reserve"))
    assert "Traceback" not in log_of(tmp_path)


def test_a_deployment_that_dies_does_not_keep_the_load_from_its_end(two: list[Named], tmp_path: Path) -> None:
    run = with_blocks(tmp_path, two)
    path = Path(f"{tmp_path}/docker/load{BLOCKS_SUFFIX}")
    assert until_true(lambda: path.exists() and len(rows(path)) >= 1, 30)
    two[1].process.kill()
    two[1].process.wait()
    assert run.wait(60) == 1
    host, docker = (recorded(tmp_path, name) for name in NAMES)
    assert len(host.blocks) == len(docker.blocks) == 5
    check_requests(host, "host")
    check_requests(docker, "docker")
    assert host.record.failures == 0
    assert docker.requests[-1]["error"]
    assert docker.record.failures
    assert docker.blocks[-1]["others_cpu_percent"] == ""


def test_a_deployment_that_hangs_is_left_after_a_while(two: list[Named], tmp_path: Path) -> None:
    run = with_blocks(tmp_path, two, block_s=0.3, warm_up_blocks=0, blocks=2)
    path = Path(f"{tmp_path}/docker/load{BLOCKS_SUFFIX}")
    two[1].process.send_signal(signal.SIGUSR1)
    began_s = time.monotonic()
    assert run.wait(60) == 0  # no request was answered, so none failed
    assert time.monotonic() - began_s > 10
    assert at(rows(path)[0], "ended_at") - at(rows(path)[0], "measured_to") > 9.9
    text = "docker left requests unanswered for 10 s; the load went on without their users"
    assert text in log_of(tmp_path)
    for name in NAMES:
        one = recorded(tmp_path, name)
        assert len(one.blocks) == 2
        assert [(fault.kind, fault.text) for fault in one.record.faults] == [("incomplete", text)]


BREAK = """
from _block_recording import BlockRecording
BlockRecording.read_cpu = lambda recording: 1 / 0
"""


def test_visits_that_fail_end_the_run(two: list[Named], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "locustfiles"))
    (tmp_path / "broken.py").write_text((ROOT / "locustfiles" / "keep_alive.py").read_text() + BREAK)
    with_blocks(tmp_path, two, "-f", str(tmp_path / "broken.py")).wait(30)
    assert "ZeroDivisionError" in log_of(tmp_path)
    assert [recorded(tmp_path, name).record.ended_by for name in NAMES] == [STOPPED, STOPPED]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--host", "http://127.0.0.1:1"], "would say; leave it out"),
        (["-t", "5", "--warm-up", "2"], "says what --run-time and --warm-up would say; leave them out"),
        (["--requests", "5", "--replicas", "none"], "says what --replicas and --requests would say"),
        (["--repeat-s", "5"], "--repeat-s is for the single pass"),
    ],
)
def test_options_that_contradict_the_blocks_are_refused(tmp_path: Path, arguments: list[str], expected: str) -> None:
    nobody = [Named(name, "http://127.0.0.1:1", subprocess.Popen(["true"])) for name in NAMES]
    for service in nobody:
        service.process.wait()
    assert with_blocks(tmp_path, nobody, *arguments).wait(30) == 2
    assert expected in log_of(tmp_path)
    assert not any(path.suffix == ".json" for path in (tmp_path / "host").iterdir())


def test_what_can_not_be_sent_in_blocks_is_refused(tmp_path: Path) -> None:
    path = str(write_blocks(tmp_path, []))
    assert start(tmp_path, "--blocks", path).wait(30) == 2
    assert f"argument --blocks: {path} can't be used: targets is empty" in log_of(tmp_path)
    assert start(tmp_path, "--blocks", "nowhere.json").wait(30) == 2
    assert "nowhere.json can't be used: No such file or directory" in log_of(tmp_path)
    target = {"deployment": "host", "host": "h:1", "replicas": "none", "csv": str(tmp_path / "log" / "load")}
    path = str(write_blocks(tmp_path, [], targets=[target]))
    assert start(tmp_path, "--blocks", path).wait(30) == 2
    assert "choose another prefix" in log_of(tmp_path)
    path = str(write_blocks(tmp_path, [], targets=[target | {"csv": str(tmp_path / "host" / "load")}]))
    assert start(tmp_path, "--blocks", path, locustfile="single_pass").wait(30) == 2
    assert "a single pass is not sent in blocks" in log_of(tmp_path)
    port, web = str(free_port()), [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / "keep_alive.py")]
    web += ["--blocks", path, "--web-host", "127.0.0.1", "--web-port", port]
    done = subprocess.run(web, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, "--blocks needs --headless" in done.stderr) == (2, True)


def single_pass(folder: Path, service: Named, *arguments: str) -> subprocess.Popen[str]:
    """Its files are those of the prefix ``all/load``."""
    replicas = f"process:{service.process.pid}"
    return start(folder, "--host", service.url, "--replicas", replicas, *arguments, locustfile="single_pass")


def check_passes(found: Recorded) -> None:
    for number, block in enumerate(found.blocks, 1):
        assert (block["block"], block["cycle"], block["phase"]) == (str(number), str(number), MEASURED)
        of_pass = [row for row in found.requests if row["block"] == str(number)]
        assert [int(row["text_id"]) for row in of_pass] == list(range(1, 161))
        assert {row["phase"] for row in of_pass} == {MEASURED}
        assert all(is_measured_part(block, at(row, "started_at")) for row in of_pass)
    check_samples(found)


def test_a_single_pass_is_repeated_once_its_first_pass_was_taken(tmp_path: Path) -> None:
    marker = Path(f"{tmp_path}/all/load{FIRST_PASS_DONE_SUFFIX}")
    with services("host", pause_s=0.002) as (service,):
        run = single_pass(tmp_path, service, "--repeat-s", "2.5")
        assert until_true(marker.exists, 30)
        samples = Path(f"{tmp_path}/all/load{REPLICA_STATS_SUFFIX}")
        had = len(rows(samples))
        assert until_true(lambda: len(rows(samples)) >= had + 3, 30)
        assert run.poll() is None
        removed_unix_s = time.time()
        marker.unlink()
        assert run.wait(60) == 0
    found = recorded(tmp_path, "all")
    check_passes(found)
    lasted = [at(block, "measured_to") - at(block, "measured_from") for block in found.blocks]
    assert sum(lasted) >= 2.5 > sum(lasted[:-1])
    assert len(found.requests) == 160 * len(lasted) >= 320
    assert at(found.blocks[1], "began_at") >= removed_unix_s
    waiting = [row for row in found.samples if row["phase"] == WAITING]
    assert len(waiting) >= 3
    log = log_of(tmp_path)
    assert [f"Query {number}\n" in log for number in (1, 160)] == [True, True]
    assert log.count("Query ") == 160
    assert (found.record.ended_by, found.record.blocks, found.record.faults) == ("all texts sent", None, ())
    assert not marker.exists()


def test_nobody_needs_to_take_the_first_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locust waits, but not for ever. A single pass that is cut off in its second pass says so."""
    patch = "\nimport _passes\n_passes.LONGEST_WAIT_S = 1.0\n"
    (tmp_path / "patience.py").write_text((ROOT / "locustfiles" / "single_pass.py").read_text() + patch)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "locustfiles"))
    with services("host", pause_s=0.05) as (service,):
        command = [sys.executable, "-m", "locust", "-f", str(tmp_path / "patience.py"), "--headless"]
        command += ["--host", service.url, "--csv", str(tmp_path / "all" / "load"), "--repeat-s", "60"]
        with (tmp_path / "log").open("w") as log:
            run = subprocess.Popen([*command, "--replicas", "none"], stdout=log, stderr=log)
        requested = Path(f"{tmp_path}/all/load{REQUESTS_SUFFIX}")
        assert until_true(lambda: "nobody removed" in log_of(tmp_path), 60)
        assert until_true(lambda: len(rows(requested)) > 160, 60)
        run.send_signal(signal.SIGINT)
        assert run.wait(30) == 0
    passes = [row["block"] for row in rows(requested)]
    assert passes.count("1") == 160
    sent = passes.count("2")
    assert 0 < sent < 160
    said = RunRecord.read(Path(f"{tmp_path}/all/load{RUN_RECORD_SUFFIX}"))
    assert [(fault.kind, fault.text) for fault in said.faults] == [
        ("incomplete", f"pass 2: {sent} of 160 texts were sent")
    ]
    assert not Path(f"{tmp_path}/all/load{FIRST_PASS_DONE_SUFFIX}").exists()


def test_a_single_pass_without_repeats_makes_no_further_file(tmp_path: Path) -> None:
    with services("host", pause_s=0.0) as (service,):
        assert single_pass(tmp_path, service).wait(60) == 0
    names = {path.name for path in (tmp_path / "all").iterdir()}
    assert f"load{BLOCKS_SUFFIX}" not in names
    assert f"load{FIRST_PASS_DONE_SUFFIX}" not in names
    assert {row["block"] for row in rows(f"{tmp_path}/all/load{REQUESTS_SUFFIX}")} == {""}


def test_workers_do_not_repeat_a_single_pass(tmp_path: Path) -> None:
    arguments = ["--host", "http://127.0.0.1:1", "--repeat-s", "5", "--master", "--expect-workers", "1"]
    port = str(free_port())
    assert start(tmp_path, *arguments, "--master-bind-port", port, locustfile="single_pass").wait(30) == 2
    assert "--repeat-s is for Locust without workers" in log_of(tmp_path)
