"""The command line of infra, and the host process, on a machine without an engine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from conftest import ROOT, free_port

from infra.__main__ import _parser
from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME
from infra.install import names_in

NOWHERE = "unix:///nowhere/docker.sock"


def infra(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    own = {"DOCKER_HOST": NOWHERE, "INFERENCE_MODEL": str(ROOT / "inference" / "bundled_model")}
    return subprocess.Popen(
        [sys.executable, "-m", "infra", *arguments],
        cwd=ROOT,
        env=os.environ | own | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said_by(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=120)
    assert "Traceback" not in said
    return said


def deployments(results: Path) -> dict[str, dict[str, Any]]:
    (path,) = results.glob("*/experiment.json")
    return {deployment["name"]: deployment for deployment in json.loads(path.read_text())["deployments"]}


def test_doctor_says_what_can_run_and_why_not() -> None:
    said = said_by(infra("doctor", "--port", f"host={free_port()}"))
    assert "host                Host process: can run" in said
    assert said.count(f"can't run: no Docker engine at {NOWHERE}, start one and run again") == 5
    assert f"docker-host-network docker run (host network): can't run: no Docker engine at {NOWHERE}" in said
    starts = {len(line) - len(line.split(maxsplit=1)[1]) for line in said.splitlines()}
    assert starts == {len("docker-host-network ")}


def test_doctor_needs_only_its_own_requirements_and_names_what_bench_installs() -> None:
    own = set(names_in(ROOT / "infra" / "requirements-doctor.txt"))
    missing = [name for name in dict.fromkeys(names_in(ROOT / "requirements.txt")) if name not in own]
    assert {"torch", "locust", "rich"} <= set(missing)
    script = f"""
import importlib.metadata, runpy, sys
known = importlib.metadata.version
def version(name):
    if name in {missing!r}:
        raise importlib.metadata.PackageNotFoundError(name)
    return known(name)
importlib.metadata.version = version
sys.modules |= dict.fromkeys({missing!r})  # None: to import it is an error
sys.argv = ["infra", "doctor", "--port", "host={free_port()}"]
runpy.run_module("infra", run_name="__main__", alter_sys=True)
"""
    environment = os.environ | {"DOCKER_HOST": NOWHERE}
    done = subprocess.run(
        [sys.executable, "-E", "-X", "utf8", "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "host                Host process: can run" in done.stdout
    assert (
        f"setup               make bench first installs into .venv: {', '.join(missing)} (some minutes)" in done.stdout
    )


def test_without_an_engine_the_host_is_measured_and_the_rest_is_explained(tmp_path: Path) -> None:
    quick = ["--set", "rounds=1", "seconds=3", "warm_up_s=1"]
    run = infra("run", "--results", str(tmp_path), *quick, "--port", f"host={free_port()}")
    said = said_by(run)
    assert run.returncode in (0, 3), said  # 3: so short a run is nothing to rely on
    known = deployments(tmp_path)
    assert known["host"]["status"] == "measured"
    assert known["swarm-3"]["reason"] == f"no Docker engine at {NOWHERE}, start one and run again"
    assert known["swarm-3"]["rounds"][0]["reason"] == known["swarm-3"]["reason"]
    (folder,) = tmp_path.iterdir()
    (measured,) = known["host"]["rounds"]
    assert measured["runs"] == ["single_pass", "load"]
    assert measured["metrics_files"] == ["host/round-1/system_inference_metrics.csv"]
    assert measured["limits"] == {"cpus": None, "memory_bytes": None, "cpuset": None}
    assert (folder / "host" / "round-1" / "system_inference_metrics.csv").read_bytes().count(b"\n") == 161
    page = folder / "report.html"
    assert f"The page: {page.as_uri()}" in said
    assert "start one and run again" in page.read_text()


def test_a_port_that_is_taken_is_a_reason_that_names_who_has_it(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        run = infra("run", "--only", "host", "--results", str(tmp_path), "--port", f"host={port}")
        said_by(run)
    assert run.returncode == 1
    reason = deployments(tmp_path)["host"]["reason"]
    assert reason.startswith(f"port {port} is taken by ")
    assert f"(process {os.getpid()})" in reason


def test_a_service_that_ends_at_once_is_a_failure_with_its_last_word(tmp_path: Path) -> None:
    broken = tmp_path / "model"
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "distilbert"}')
    (broken / "model.safetensors").write_bytes(b"no weights")
    results = tmp_path / "results"
    arguments = ["run", "--only", "host", "--set", "rounds=1", "--results", str(results)]
    run = infra(*arguments, "--port", f"host={free_port()}", INFERENCE_MODEL=str(broken))
    said = said_by(run)
    assert run.returncode == 1, said
    assert "the service ended with exit code 1: error: the model in" in deployments(results)["host"]["reason"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_service_and_locust(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    options = ["--only", "host", "--set", "seconds=60", "--port", f"host={port}"]
    run = infra("run", *options, "--results", str(tmp_path))
    until = time.monotonic() + 60
    while not list(tmp_path.glob("*/host/round-1/load_run.json")) and time.monotonic() < until:
        time.sleep(0.1)
    children = psutil.Process(run.pid).children(recursive=True)
    assert len(children) >= 2
    run.send_signal(number)
    said_by(run)
    assert run.returncode == 130
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert deployments(tmp_path)["host"]["rounds"][0]["runs"] == ["single_pass"]
    assert list(tmp_path.glob("*/report.html"))


def test_up_leaves_a_service_that_down_ends(tmp_path: Path) -> None:
    port = free_port()
    up = infra("up", "host", "--port", f"host={port}")
    try:
        said = said_by(up)
        assert f"http://127.0.0.1:{port} answers" in said
        (metrics,) = [line.partition(": ")[2] for line in said.splitlines() if line.startswith("its metrics file: ")]
        assert Path(metrics).read_bytes().startswith(b"Inference Latency")
        assert requests.get(f"http://127.0.0.1:{port}/health", timeout=30).json()["replica"] == "host"
        assert "; end it with .venv/bin/python -m infra down host\n" in said
        again = infra("up", "host", "--port", f"host={free_port()}")
        assert "is still there" in said_by(again)
        assert again.returncode == 1
    finally:
        down = infra("down", "host")
        assert "removed: host process" in said_by(down)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/health", timeout=5)
    assert "nothing of Fourfold's was there" in said_by(infra("down", "host"))


def test_up_names_no_metrics_file_of_a_service_that_writes_none(tmp_path: Path) -> None:
    file = tmp_path / "service.toml"
    app = ROOT / "tests" / "apps" / "small_app.py"
    file.write_text(f'command = "python {app}"\nport_variable = "PORT"\n[metrics]\nvariable = ""\n')
    try:
        said = said_by(infra("up", "host", "--service", str(file), "--port", f"host={free_port()}"))
        assert " answers after " in said
        assert "metrics" not in said
    finally:
        said_by(infra("down", "host"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["run", "--only", "host,pod"],
            'deployments = "host","pod" is not a list of host, docker, docker-host-network, compose',
        ),
        (["run", "--set", "users=0"], "users = 0 is not a whole number from 1 to 1000"),
        (["run", "plan.toml"], "there is no plan plan.toml"),
        (["run", "--port", "docker=x"], "'docker=x' is not KIND=PORT"),
        (["run", "--port", "docker=5745-5746"], "'5745-5746' is not a port; expected one number from 1 to 65535"),
        (["run", "--reach", "swarm=host"], "'swarm=host' is not KIND=HOST:PORT"),
        (["run", "--reach", "swarm=host:99999"], "'99999' is not a port"),
        (["run", "--reach", "swarm=fd00::1:8080"], "an IPv6 address with a port has brackets"),
        (["run", "--port", "docker=0"], "'docker=0' is not KIND=PORT"),
        (["run", "--port", "docker=65536"], "'docker=65536' is not KIND=PORT"),
        (["run", "--port", "docker=" + "9" * 5000], "is not KIND=PORT"),
        (["run", "--start-timeout", "nan"], "'nan' is not a number of seconds up to 86400"),
        (["run", "--start-timeout", "inf"], "'inf' is not a number of seconds"),
        (["up", "host", "--start-timeout=-1"], "'-1' is not a number of seconds"),
        (["run", "--start-timeout", "0"], "'0' is not a number of seconds"),
        (["up"], "the following arguments are required: NAME"),
        (["down"], "one of the arguments NAME --all is required"),
        (["up", "swarm"], "there is no deployment 'swarm'; swarm-N is possible for N from 1 to 32"),
        (
            ["down", "pod"],
            "there is no deployment 'pod'; choose from host, docker, docker-host-network, compose, compose-2 to",
        ),
        (["run", "--only", "swarm"], "swarm-1 to swarm-32 (swarm-N is possible for N from 1 to 32)"),
        (["run", "--only", "swarm"], 'error: --only: deployments = "swarm" is not a list of host'),
        (["run", "--set", "deployments=swarm"], 'error: --set: deployments = "swarm" is not a list of host'),
        (["run", "--only", ""], 'error: --only: deployments = "" is not a list of host, docker'),
        (["run", "--only", ""], "swarm-32 (it names no deployment)"),
        (["run", "--set", "deployments="], 'error: --set: deployments = "" is not a list of host, docker'),
        (["run", "--set", "deployments="], "swarm-32 (it names no deployment)"),
        (["run", "--port", "docker=5000"], "docker run and Host process run side by side, and both have port 5000"),
        (["run", "--set", "precision=0"], "precision = 0 is not a percentage from 0.5 to 100; the default is 5.0"),
        (["run", "--resume", "results", "--only", ""], "--resume takes plan, image, ports and all else"),
    ],
)
def test_a_slip_on_the_command_line_is_explained(arguments: list[str], expected: str) -> None:
    run = infra(*arguments)
    assert expected in said_by(run)
    assert run.returncode == 2


def test_a_processor_that_is_not_there_is_told_before_anything_is_made(tmp_path: Path) -> None:
    run = infra("run", "--only", "host", "--set", "generator_cpus=8000", "--results", str(tmp_path))
    said = said_by(run)
    assert run.returncode == 1
    assert said.startswith("error: ")
    assert "8000" in said
    assert list(tmp_path.iterdir()) == []


def test_results_that_can_t_be_written_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("theirs")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "loop").symlink_to("loop")
    for results in (tmp_path / "file", tmp_path / "link", tmp_path / "loop", Path("/proc/results")):
        run = infra("run", "--only", "host", "--results", str(results), "--port", f"host={free_port()}")
        said = said_by(run)
        assert run.returncode == 1
        assert said.startswith(f"error: {results}/")
        assert " can't be made (" in said
        assert said.endswith("; name another with --results\n")
    assert (tmp_path / "file").read_text() == "theirs"


def test_urls_are_of_loopback_unless_said_otherwise() -> None:
    settings = Settings(ports={"swarm": 9090, "docker": 5015}, reach={"swarm": "server:11080"})
    assert BY_NAME["docker"].facts.url(settings) == "http://127.0.0.1:5015"
    assert BY_NAME["swarm-3"].facts.url(settings) == "http://server:11080"


@pytest.mark.parametrize(
    ("reach", "url"),
    [
        ("server:8080", "http://server:8080"),
        ("[FD00::1]:8080", "http://[fd00::1]:8080"),
        ("http://server:8080/", "http://server:8080"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
    ],
)
def test_where_a_port_answers_has_all_forms_of_an_address(reach: str, url: str) -> None:
    arguments = _parser().parse_args(["doctor", "--reach", f"swarm={reach}"])
    for given in (dict(arguments.reach), {"swarm": reach}):
        assert BY_NAME["swarm-1"].facts.url(Settings(reach=given)) == url
