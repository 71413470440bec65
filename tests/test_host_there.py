"""The host process on the engine's machine: a real sshd on loopback stands for that machine."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
from _read_there import ProcessThere, ThereFailure
from conftest import ROOT, free_port, is_open
from recorded_runs import measured, steady_requests, write_experiment, write_run

from analysis.analyse import analyse
from analysis.read.results import read_results
from infra.deployments import host_there
from infra.deployments.settings import Settings
from infra.deployments.table import deployed, remove, start, why_not
from infra.deployments.waiting import until_true
from infra.experiment.circumstances import circumstances_here
from infra.experiment.experiment import Experiment, begin_journal
from infra.experiment.load import Load, Target, run_locust
from infra.experiment.plan import read_plan
from runfiles.files import EXPERIMENT_FILE
from runfiles.records import ExperimentRecord
from servicefile.service_file import read_service

from _read_docker import explained
from _read_process import ProcessReader

APP = """
import os, subprocess, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        with open(os.environ["METRICS_LOG_FILE"], "ab") as file:
            file.write(b"row\\r\\n")
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("folder", os.getcwd(), "variables", " ".join(sorted(os.environ)), flush=True)
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
KEPT = "FOURFOLD_STARTED"
SERVICE = 'command = "python app.py {port}"\n[request]\ntexts = "texts.jsonl"\n[metrics]\nfolder = "/app"\n'


@pytest.fixture
def settings(there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Of a small service whose files are here and there."""
    monkeypatch.setenv("DOCKER_HOST", f"{there}/no/engine.sock")
    here = tmp_path / "here"
    here.mkdir()
    (here / "app.py").write_text(APP)
    (here / "service.toml").write_text(SERVICE)
    (here / "texts.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n{"text": "c"}\n')
    shutil.copytree(here, tmp_path / "there")
    service = read_service(here / "service.toml")
    from_home = os.path.relpath(tmp_path / "there", pwd.getpwuid(os.getuid()).pw_dir)
    chosen = Settings(service, ports={"host": free_port()}, host_folder=from_home)
    yield chosen
    remove("host", chosen)  # if a test has failed


def runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def slow_ssh(folder: Path) -> Path:
    """A folder with an ssh command that takes a second longer."""
    (folder / "slow").mkdir()
    command = folder / "slow" / "ssh"
    command.write_text(f'#!/bin/sh\nsleep 1\nexec {shutil.which("ssh")} "$@"\n')
    command.chmod(0o755)
    return folder / "slow"


def folder_there(metrics_place: str | None) -> Path:
    """The temporary folder of a service, by the command that copies its metrics file."""
    return Path(str(metrics_place).rpartition(" ")[2]).parent


def connections(has: str) -> list[psutil.Process]:
    """The SSH connections of this program whose command has a word. That to the keeper of a service: ``KEPT``."""
    there = [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE]
    return [each for each in there if each.name() == "ssh" and has in " ".join(each.cmdline())]


def test_it_is_measured_there_and_its_file_comes_back_whole(settings: Settings, tmp_path: Path) -> None:
    assert why_not("host", settings) is None
    with deployed("host", settings, tmp_path / "round") as running:
        pid, _, url = running.service.replicas.removeprefix("process:").partition("@")
        assert url.startswith("ssh://")
        service = psutil.Process(int(pid))
        assert service.cwd() == str(tmp_path / "there")
        assert "OMP_NUM_THREADS" not in service.environ()  # nor any other that is not passed to the service here
        for _ in range(20):
            assert requests.post(running.url, data="{}", timeout=10).text == "ok"
        (copied,) = running.service.copy_metrics(tmp_path)
        assert copied.read_bytes() == b"row\r\n" * 21  # one was asked until it was ready
        assert f"host process on {url.removeprefix('ssh://').rpartition(':')[0]} is still" in str(
            why_not("host", settings)
        )
        own = folder_there(running.service.metrics_place)
        assert own.stat().st_mode & 0o777 == 0o700
        family = [service, *service.children()]
        assert len(family) == 2
    assert (tmp_path / "round/live" / copied.name).read_bytes() == copied.read_bytes()
    assert f"folder {tmp_path / 'there'}" in (tmp_path / "round/service.log").read_text()
    assert not any(map(runs, family))
    assert not own.exists()
    assert connections(KEPT) == []


def test_it_lasts_when_the_command_is_killed_and_is_ended_by_the_next(settings: Settings, tmp_path: Path) -> None:
    service = settings.service.path
    program = f"""
import time
from pathlib import Path
from infra.deployments import host_there, reach
from infra.deployments.settings import Settings
from infra.deployments.table import start
from servicefile.service_file import read_service
host_there.STATE = reach.STATE = Path({str(tmp_path / ".fourfold")!r})
service = read_service(Path({str(service)!r}))
settings = Settings(service, ports={settings.ports!r}, host_folder={settings.host_folder!r})
running = start("host", settings, Path({str(tmp_path)!r}))
print(running.url, running.service.metrics_place, flush=True)
time.sleep(60)
"""
    python = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert python.stdout is not None
    url, _, metrics_place = python.stdout.readline().strip().partition(" ")
    python.kill()
    python.communicate()
    time.sleep(0.5)
    assert requests.post(url, data="{}", timeout=10).text == "ok"
    removed = remove("host", settings)
    assert [what.partition(" (")[0] for what in removed][1:] == ["SSH tunnel"]
    assert removed[0].startswith("host process on ")
    assert not is_open("127.0.0.1", settings.ports["host"])
    assert not folder_there(metrics_place).exists()
    assert remove("host", settings) == []


def test_it_ends_with_its_connection(settings: Settings, tmp_path: Path) -> None:
    running = start("host", settings, tmp_path)
    service = psutil.Process(int(running.service.replicas.removeprefix("process:").partition("@")[0]))
    own = folder_there(running.service.metrics_place)
    assert running.service.gone() is None
    (keeper,) = host_there._children.values()
    keeper.kill()
    keeper.wait(10)
    assert until_true(lambda: not runs(service) and not own.exists(), 10)
    assert "which keeps the service there, broke off" in str(running.service.gone())
    remove("host", settings)


def test_if_it_dies_its_file_still_comes_back(settings: Settings, tmp_path: Path) -> None:
    running = start("host", settings, tmp_path)
    service = psutil.Process(int(running.service.replicas.removeprefix("process:").partition("@")[0]))
    family = [service, *service.children()]
    service.kill()
    assert until_true(lambda: running.service.gone() is not None, 10)
    assert str(running.service.gone()).startswith("the service ended by signal 9 (Killed): ")
    (copied,) = running.service.copy_metrics(tmp_path)
    assert copied.read_bytes() == b"row\r\n"
    remove("host", settings)
    assert not folder_there(running.service.metrics_place).exists()
    assert not any(map(runs, family))


def test_other_files_there_are_a_reason_not_to_start(settings: Settings, tmp_path: Path) -> None:
    there = tmp_path / "there"
    (there / "more.py").touch()  # as a cache or a result: what is there alone is not compared
    assert why_not("host", settings) is None
    (there / "app.py").write_text(APP + "\n")
    assert f"app.py in {there} is not the same as here" in str(why_not("host", settings))
    (there / "app.py").unlink()
    assert f"app.py is not in {there}" in str(why_not("host", settings))
    shutil.rmtree(there)
    assert f"there is no folder {there}" in str(why_not("host", settings))


@pytest.fixture
def process() -> Iterator[psutil.Process]:
    """A process with a child that uses CPU and memory."""
    child = "import sys; x = bytearray(30_000_000); [0 for _ in range(6_000_000)]; print(flush=True); sys.stdin.read()"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        started.stdout.readline()
        yield psutil.Process(started.pid)
        if started.stdin is not None:
            started.stdin.close()


def test_a_process_there_is_read_as_one_here(there: str, process: psutil.Process) -> None:
    reader = ProcessThere(process.pid, there, lambda: {"replica": "web", "pid": process.children()[0].pid})
    try:
        replica = reader.replica()
        assert (replica.name, replica.doubt, replica.node) == ("web", None, os.uname().nodename)
        assert replica.read is not None
        far, near = replica.read(), ProcessReader(process).read()
        assert far is not None
        assert near is not None
        assert far.cpu_seconds == pytest.approx(near.cpu_seconds, abs=0.05)
        assert far.cpu_seconds > 0.1  # the child's
        assert far.memory_bytes == pytest.approx(near.memory_bytes, rel=0.1)
        assert far.pids == near.pids == 2
        assert abs(far.read_at_unix_s - time.time()) < 1
        assert reader.clocks()[replica.node].uncertainty_s < 0.1
        (connection,) = connections("ssh")
        connection.kill()
        with pytest.raises(ThereFailure) as raised:
            replica.read()
        assert explained(raised.value).startswith("the SSH connection to ")
        assert replica.read() is not None  # by a new connection
        for each in process.children():
            each.kill()
        process.wait(10)
        assert replica.read() is None
    finally:
        reader.close()


@pytest.mark.parametrize("is_there", [True, False])
def test_it_is_compared_with_the_containers_of_its_machine(tmp_path: Path, is_there: bool) -> None:
    for name in ("host", "docker"):
        write_run(tmp_path / name, "load", steady_requests(20), host="http://127.0.0.1:40000")
    other = {"node": "server", "kernel": "6.9", "cpu_count": 4, "memory_bytes": 16 << 30}
    more = {"host_machine": other} if is_there else {}
    engine = {"endpoint": "ssh://server", **other}
    write_experiment(tmp_path, [measured("host"), measured("docker")], engine=engine, **more)
    analysis = analyse(read_results(tmp_path))
    (verdict,) = (each for each in analysis.verdicts if each.key == "median_ms")
    assert verdict.is_elsewhere is not is_there
    said = " ".join(doubt.text for doubt in analysis.validity.caveats)
    assert ("ran on two machines" in said) is not is_there
    assert ("All requests to Host process, docker run went through an SSH tunnel" in said) is is_there


def test_an_experiment_records_its_machine_and_locust_samples_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = read_plan(None, ["rounds=1"], "host")
    (tmp_path / "record").mkdir()
    journal = begin_journal(tmp_path / "record", plan, settings, circumstances_here())
    Experiment(tmp_path / "record", journal, settings.service)._prepare_python()
    record = ExperimentRecord.read(tmp_path / "record" / EXPERIMENT_FILE)
    assert record.host_machine is not None
    assert record.host_machine.node == os.uname().nodename
    assert record.options is not None
    assert record.options.host_folder == settings.host_folder
    with deployed("host", settings, tmp_path / "round") as running:
        where = ["--host", running.url, "--replicas", running.service.replicas, "--users", "1", "--run-time", "2"]
        load = Load("keep_alive", tmp_path / "load", ["--service", str(settings.service.path), *where])
        with monkeypatch.context() as slow:
            slow.setenv("PATH", f"{slow_ssh(tmp_path)}:{os.environ['PATH']}")
            (outcome,) = run_locust(load, [Target("host", load.prefix, running.service)]).values()
        assert (outcome.reason, outcome.faults, outcome.failures) == (None, [], 0)
    said = json.loads((tmp_path / "load_run.json").read_text())
    assert (
        said["ended_at_unix_s"] - said["started_at_unix_s"] > 1.4
    )  # the connection was made before the run time began
    assert said["replicas"]["problems"] == []
    assert [each["sampled"] for each in said["replicas"]["list"]] == [True]
    assert len((tmp_path / "load_replica_stats.csv").read_text().splitlines()) > 1 + 4
