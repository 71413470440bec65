"""``docker run --network host``: where it can't run, and that nothing but the network sets it apart from docker run."""

from __future__ import annotations

import csv
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import OWN, OWN_RECORD, ROOT, free_port, is_open, names_on
from test_containers import confinement
from test_experiment_engine import experiment
from test_experiment_engine import infra as run_infra
from test_ownership import checkout_in, infra
from test_replicas import says

from infra.deployments.docker_engine import Engine
from infra.deployments.docker_host_network import NAME, why_no_host_network
from infra.deployments.ownership import is_ours
from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME, PORTS, why_not
from infra.deployments.waiting import until_true
from infra.experiment.circumstances import Circumstances
from infra.experiment.journal import Journal
from infra.experiment.plan import Plan
from runfiles.deployments import DEFAULT
from runfiles.machines import Machine
from runfiles.records import Options

from _find_replicas import Finder

KIND = "docker-host-network"
DEPLOYMENT = BY_NAME[KIND]


def engine_that(is_remote: bool = False, elsewhere: object = None, **about: Any) -> Engine:
    """An engine as it describes itself, on the kernel of this machine unless told otherwise."""
    client = SimpleNamespace(info=lambda: about)
    return SimpleNamespace(  # type: ignore[return-value]
        client=client, is_remote=is_remote, endpoint="tcp://server:2375", elsewhere=lambda: elsewhere
    )


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        (engine_that(is_remote=True), "that of the engine's machine (tcp://server:2375)"),
        (engine_that(elsewhere="in a virtual machine"), "the virtual machine in which the engine runs"),
        (engine_that(OperatingSystem="Docker Desktop"), "as with Docker Desktop; run Fourfold on Linux with an engine"),
        (engine_that(SecurityOptions=["name=seccomp", "name=rootless"]), "the engine is rootless"),
        (engine_that(SecurityOptions=["name=seccomp,profile=builtin"]), None),
        (engine_that(SecurityOptions=None, OperatingSystem="Debian GNU/Linux 12 (bookworm)"), None),
    ],
)
def test_where_the_host_network_is_not_that_of_this_machine(engine: Engine, expected: str | None) -> None:
    reason = why_no_host_network(engine)
    assert (reason is None) if expected is None else (expected in str(reason))


def test_on_another_system_than_linux_the_engine_is_in_a_virtual_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert "as with Docker Desktop" in str(why_no_host_network(engine_that()))


def test_only_a_plan_or_only_chooses_it() -> None:
    assert DEFAULT == ("host", "docker", "compose", "swarm-1", "swarm-3")
    assert [kind for kind, port in PORTS.items() if port == PORTS[KIND]] == [KIND]


@pytest.mark.engine
def test_a_port_that_is_taken_or_for_root_is_a_reason(
    engine: Engine, service_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        reason = why_not(KIND, Settings(ports={KIND: port}))
    assert str(reason).startswith(f"port {port} is taken by ")
    assert f"(process {os.getpid()})" in str(reason)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    assert why_not(KIND, Settings(ports={KIND: 80})) == (
        f"only root may use port 80; choose one above 1023 (--port {KIND}=PORT) and run again"
    )


@pytest.mark.engine
def test_it_is_confined_as_docker_run_and_labelled(
    engine: Engine, service_image: str, bystanders: list[str], tmp_path: Path
) -> None:
    settings = Settings(ports={KIND: free_port(), "docker": free_port()}, cpus=1.5)
    try:
        service = DEPLOYMENT.start(settings, tmp_path)
        BY_NAME["docker"].start(settings, tmp_path)
        container = engine.client.containers.get(NAME)
        bridged = engine.client.containers.get("llm-inference-container")
        assert confinement(container) == confinement(bridged)
        assert container.attrs["HostConfig"]["NetworkMode"] == "host"
        assert bridged.attrs["HostConfig"]["NetworkMode"] != "host"
        assert service.limits.cpus == 1.5
        assert is_ours(container.labels)
        (volume,) = [mount["Name"] for mount in container.attrs["Mounts"] if mount["Type"] == "volume"]
        assert is_ours(engine.client.volumes.get(volume).attrs["Labels"])

        def is_healthy() -> bool:
            container.reload()
            return bool(container.attrs["State"]["Health"]["Status"] == "healthy")

        assert until_true(is_healthy, 30)  # the image's health check asks the port that the service has here
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((own_address(), settings.ports[KIND]), timeout=5)
    finally:
        assert DEPLOYMENT.remove(settings) == [f"container {NAME}"]
        BY_NAME["docker"].remove(settings)
    assert names_on(engine) == bystanders


@pytest.mark.engine
def test_auto_samples_its_container_and_not_the_process_that_listens(
    engine: Engine, service_image: str, bystanders: list[str], tmp_path: Path
) -> None:
    settings = Settings(ports={KIND: free_port()})
    url = f"http://127.0.0.1:{settings.ports[KIND]}"
    try:
        DEPLOYMENT.start(settings, tmp_path)
        assert until_true(lambda: is_open("127.0.0.1", settings.ports[KIND]), 60)
        finder = Finder("auto", url, says(url))
        (replica,) = finder.replicas()
        assert (str(finder.target), replica.name) == (f"container:{NAME}", NAME)
        finder.close()
    finally:
        DEPLOYMENT.remove(settings)
    assert names_on(engine) == bystanders


def own_address() -> str:
    """An address of this machine that other machines could use."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        try:
            client.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(client.getsockname()[0])


@pytest.mark.engine
def test_up_tells_where_the_metrics_file_is_and_another_checkout_leaves_it(
    engine: Engine, service_image: str, bystanders: list[str], tmp_path: Path
) -> None:
    clone = checkout_in(tmp_path / "clone")
    belongs = f"container {NAME} belongs to the checkout {clone}; end it there: .venv/bin/python -m infra down {KIND}"
    try:
        code, said = infra(clone, "up", KIND, "--port", f"{KIND}={free_port()}")
        assert code == 0, said
        (copy,) = [line for line in said.splitlines() if line.startswith("its metrics file: ")]
        command = copy.partition("copy it with ")[2].split()
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        (copied,) = tmp_path.glob("*inference_metrics.csv")
        assert copied.read_text() == "Inference Latency (ms),Prediction,Input Text,Timestamp\n"
        assert belongs in infra(ROOT, "doctor")[1]
        assert infra(ROOT, "down", KIND) == (1, f"error: {belongs}\n")
    finally:
        assert infra(clone, "down", KIND) == (0, f"removed: container {NAME}\n")
    assert names_on(engine) == bystanders


@pytest.mark.engine
def test_it_is_measured_and_its_network_counters_are_missing(
    engine: Engine, service_image: str, bystanders: list[str], tmp_path: Path
) -> None:
    quick = ["--set", "rounds=1", "users=2", "seconds=4", "warm_up_s=1"]
    run = run_infra(tmp_path, "--only", KIND, "--image", service_image, *quick, "--port", f"{KIND}={free_port()}")
    said, _ = run.communicate(timeout=120)
    assert run.returncode in (0, 3), said  # 3: so short a run is nothing to rely on
    folder, deployments = experiment(tmp_path)
    assert list(deployments) == ["host", "docker", KIND, "compose", "swarm-1", "swarm-3"]
    (measured,) = deployments[KIND]["rounds"]
    (metrics,) = measured["metrics_files"]
    assert (folder / metrics).read_bytes().count(b"\n") == 161
    with (folder / KIND / "round-1" / "load_replica_stats.csv").open(newline="") as file:
        samples = list(csv.DictReader(file))
    assert len(samples) > 8
    assert any(float(sample["cpu_percent"] or 0) > 10 for sample in samples)
    for column in ("net_rx_bytes", "net_tx_bytes", "net_rx_packets", "interfaces"):
        assert {sample[column] for sample in samples} == {""}, column
    with (folder / KIND / "round-1" / "load_requests.csv").open(newline="") as file:
        assert {row["replica"] for row in csv.DictReader(file)} == {samples[0]["replica"]} == {NAME}
    assert "the container uses the machine" in (folder / "report.html").read_text()
    assert names_on(engine) == bystanders


@pytest.mark.engine
def test_ctrl_c_and_kill_leave_nothing_that_down_does_not_remove(
    engine: Engine, service_image: str, bystanders: list[str], tmp_path: Path
) -> None:
    options = ["--only", KIND, "--image", service_image, "--set", "seconds=60", "--port", f"{KIND}={free_port()}"]
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        results = tmp_path / number.name
        run = run_infra(results, *options)
        until = time.monotonic() + 60
        while not list(results.glob(f"*/{KIND}/round-1/load_run.json")):
            assert run.poll() is None, run.communicate()
            assert time.monotonic() < until
            time.sleep(0.2)
        run.send_signal(number)
        run.communicate(timeout=60)
        assert run.returncode == code
        if number == signal.SIGINT:
            assert names_on(engine) == bystanders
            _, deployments = experiment(results)
            assert deployments[KIND]["rounds"][0]["runs"] == ["single_pass"]
    command = [sys.executable, "-m", "infra", "down", "--all"]
    down = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"container {NAME}" in down.stdout
    assert names_on(engine) == bystanders


def test_an_experiment_of_before_is_continued_though_it_does_not_list_it(tmp_path: Path) -> None:
    """Its record lists the five default deployments; it has no port for this one."""
    ports = {"host": 5000, "docker": 5000, "compose": 8080, "swarm": 8080}
    options = Options(service=str(OWN.path), image="i", build=False, ports=ports, reach={}, start_timeout_s=5.0)
    Journal.begin(tmp_path, Plan(), "", Circumstances(Machine()), options, OWN_RECORD)
    content = json.loads((tmp_path / "experiment.json").read_text())
    assert [deployment["name"] for deployment in content["deployments"]] == list(DEFAULT)
    assert Journal.reopen(tmp_path).plan == Plan()
