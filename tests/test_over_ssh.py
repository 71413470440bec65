"""An engine on another machine, at ssh://: a real sshd on loopback stands for that machine."""

from __future__ import annotations

import getpass
import os
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from conftest import OWN, free_port, is_open
from recorded_runs import measured, steady_requests, write_experiment, write_run
from test_engine_elsewhere import INFO, Api

from analysis.analyse import analyse
from analysis.read.results import read_results
from infra import environment
from infra.deployments import over_ssh, reach
from infra.deployments.deployment import Facts
from infra.deployments.docker_engine import Engine, connect
from infra.deployments.files_here import keep_metrics_there, why_model_uses_files_here, why_mounts_here
from infra.deployments.settings import Settings
from infra.deployments.table import deployed
from infra.deployments.waiting import until_true
from infra.errors import DeploymentError
from infra.experiment.bench import copy_whole
from runfiles.machines import DockerEngine, Machine, engine_elsewhere
from servicefile.service_file import ComposeFile, Container, ServiceFile

FACTS = Facts("docker", default_port=5010)


@pytest.fixture
def engine_there(there: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A little of an engine on that machine, at a socket that is no usual one."""
    folder = Path(tempfile.mkdtemp(prefix="fourfold-"))  # short enough for a socket's path
    url = f"{there}{folder}/docker.sock"
    monkeypatch.setenv("DOCKER_HOST", url)
    with socketserver.ThreadingUnixStreamServer(str(folder / "docker.sock"), Api) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()
        try:
            yield url
        finally:
            server.shutdown()
    shutil.rmtree(folder)


def connections() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.name() == "ssh"]


def test_all_calls_to_an_engine_share_one_connection_which_is_made_again_when_it_breaks(engine_there: str) -> None:
    first = connect()
    assert (first.version, first.endpoint, first.is_remote) == (INFO["ServerVersion"], engine_there, True)
    (connection,) = connections()
    again = connect()
    assert connections() == [connection]
    local = environment.for_docker()["DOCKER_HOST"]  # also for docker compose and the monitor
    assert local.startswith("unix://")
    assert local == again.client.api.base_url.replace("http+docker://localhost", local)
    connection.kill()
    connection.wait(10)
    assert connect().version == INFO["ServerVersion"]
    assert environment.for_docker()["DOCKER_HOST"] == local
    over_ssh.close()
    assert environment.for_docker()["DOCKER_HOST"] == engine_there
    assert connections() == []


def test_the_connection_to_an_engine_ends_with_a_program_that_is_killed(engine_there: str) -> None:
    program = "import time\nfrom infra.deployments.docker_engine import connect\nconnect()\nprint(1, flush=True)\n"
    python = subprocess.Popen(
        [sys.executable, "-c", f"{program}time.sleep(60)"], stdout=subprocess.PIPE, env=dict(os.environ)
    )
    assert python.stdout is not None
    assert python.stdout.readline() == b"1\n"
    (connection,) = psutil.Process(python.pid).children()
    python.kill()
    python.communicate()
    assert until_true(lambda: not connection.is_running(), 10)


@pytest.mark.parametrize("place", ["nobody@127.0.0.1:{port}", "{user}@127.0.0.1:{free}"])
def test_a_machine_that_lets_nobody_in_is_told_in_one_line(
    there: str, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    free, port = free_port(), urlsplit(there).port
    given = place.format(port=port, free=free, user=getpass.getuser())
    monkeypatch.setenv("DOCKER_HOST", f"ssh://{given}/run/docker.sock")
    why = "Permission denied" if "nobody" in place else "Connection refused"
    with pytest.raises(DeploymentError, match=why) as raised:
        connect()
    name, _, at = given.rpartition(":")
    assert str(raised.value).startswith(f"no SSH connection to {name}, where the engine is: ")
    assert f"it must work without a question (ssh -p {at} {name} true)" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_engine_that_does_not_listen_there_is_told(there: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"{there}/no/such.sock")
    with pytest.raises(DeploymentError, match=r"no Docker engine answers at .*open failed.*check it there"):
        connect()


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


def test_a_tunnel_leads_to_a_port_of_the_engines_machine_until_it_is_closed(
    there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", there)
    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            chosen = Settings(ports={"docker": server.server_port})
            settings = reach.open_tunnel(FACTS, chosen)
            url = FACTS.url(settings)
            assert url != f"http://127.0.0.1:{server.server_port}"
            assert requests.get(url, timeout=10).text == "hello"
            assert reach.why_tunnel_gone("docker") is None
            (connection,) = connections()
            child = reach._children.pop("docker")  # as another command would see it, such as infra down
            assert reach.close_tunnel("docker") == [f"SSH tunnel (process {connection.pid})"]
            child.wait(10)
            assert not is_open("127.0.0.1", settings.tunnels["docker"])
            assert reach.close_tunnel("docker") == []
            reach.open_tunnel(FACTS, chosen)
            reach._children["docker"].kill()
            reach._children["docker"].wait()
            assert str(reach.why_tunnel_gone("docker")).startswith("the SSH tunnel to the engine's machine broke off: ")
            reach.close_tunnel("docker")
        finally:
            server.shutdown()
    reached = Settings(reach={"docker": "server:5010"})
    assert reach.open_tunnel(FACTS, reached) is reached  # the user has said where it answers


def test_a_published_port_is_open_to_the_network_only_if_it_is_to_be_reached_there() -> None:
    def engine(*, is_remote: bool, is_over_ssh: bool) -> Any:
        return SimpleNamespace(is_remote=is_remote, is_over_ssh=is_over_ssh, endpoint="tcp://server:2376")

    here = engine(is_remote=False, is_over_ssh=False)
    over, tcp = engine(is_remote=True, is_over_ssh=True), engine(is_remote=True, is_over_ssh=False)
    reached = Settings(reach={"docker": "server:5010"})
    for each in (here, over, tcp):
        assert reach.published_at(each, FACTS, Settings()) == "127.0.0.1"
    assert reach.published_at(over, FACTS, reached) == reach.published_at(tcp, FACTS, reached) == "0.0.0.0"
    assert reach.why_out_of_reach(FACTS, Settings(), over) is None
    assert "(--reach docker=HOST:PORT)" in str(reach.why_out_of_reach(FACTS, Settings(), tcp))


def test_a_compose_file_keeps_nothing_in_a_folder_of_this_machine(tmp_path: Path) -> None:
    live = tmp_path / "live"
    file = {"type": "bind", "source": str(live / "own.csv"), "target": "/app/own.csv"}
    data = {"type": "volume", "source": "data", "target": "/data"}
    web: dict[str, Any] = {"volumes": [file, data], "read_only": True, "environment": {"METRICS_LOG_FILE": "own.csv"}}
    maker = {"volumes": [{"type": "bind", "source": str(live), "target": "/host", "bind": {"create_host_path": True}}]}
    model = {"services": {"web": web, "maker": maker}}
    compose = ComposeFile(tmp_path / "compose.yml", "web", metrics_file="own.csv")
    service = ServiceFile(
        tmp_path / "service.toml", "mine", image="mine", compose=compose, container=Container(writable=("/app",))
    )
    engine: Any = SimpleNamespace(is_remote=True, endpoint="ssh://server")
    assert why_model_uses_files_here(model, Settings(service), live, engine) is None
    keep_metrics_there(model, "web", service, live)
    assert web["volumes"] == [data, {"type": "volume", "target": "/app"}]
    assert web["environment"] == {"METRICS_LOG_FILE": "docker_system_inference_metrics.csv"}
    assert maker["volumes"] == [{"type": "volume", "target": "/host"}]


@pytest.mark.parametrize("kind", ["volumes", "configs"])
def test_files_of_this_machine_are_a_reason_against_an_engine_elsewhere(tmp_path: Path, kind: str) -> None:
    data = str(tmp_path / "data")
    mounted = {"services": {"web": {"volumes": [{"type": "bind", "source": data, "target": "/data"}]}}}
    model = mounted if kind == "volumes" else {"services": {"web": {}}, "configs": {"words": {"file": data}}}
    compose = ComposeFile(tmp_path / "compose.yml", "web")
    service = ServiceFile(tmp_path / "service.toml", "mine", image="mine", compose=compose)
    engine: Any = SimpleNamespace(is_remote=True, endpoint="ssh://server")
    assert why_model_uses_files_here(model, Settings(service), tmp_path / "live", engine) == (
        f"compose.yml mounts {data} of this machine, and the engine is at ssh://server; put them into the image, or "
        "run Fourfold on the engine's own machine"
    )


def test_mounts_of_the_service_file_are_a_reason_too(tmp_path: Path) -> None:
    service = ServiceFile(tmp_path / "s.toml", "mine", image="mine", container=Container(mounts=("/data:/data:ro",)))
    engine: Any = SimpleNamespace(is_remote=True, endpoint="ssh://server")
    assert str(why_mounts_here(Settings(service), engine)).startswith(
        "mounts of s.toml are folders of this machine (/d"
    )
    engine.is_remote = False
    assert why_mounts_here(Settings(service), engine) is None


def test_two_machines_of_one_type_differ_in_their_names() -> None:
    alike: dict[str, Any] = {"kernel": "6.1", "cpu_count": 4, "memory_bytes": 8 << 30}
    here = Machine(node="here", **alike)
    assert engine_elsewhere(here, DockerEngine(endpoint="ssh://other", node="other", **alike)) is not None
    assert engine_elsewhere(here, DockerEngine(endpoint="ssh://other", node="here", **alike)) is None
    in_container = DockerEngine(endpoint="unix:///run/docker.sock", node="other", **alike)
    assert engine_elsewhere(here, in_container) is None


@pytest.mark.parametrize("host", ["http://127.0.0.1:40000", "http://server:5010"])
def test_the_page_names_the_tunnel(tmp_path: Path, host: str) -> None:
    for name in ("docker", "compose"):
        write_run(tmp_path / name, "load", steady_requests(20), host=host)
    engine = {"endpoint": "ssh://server", "kernel": "6"}
    write_experiment(tmp_path, [measured("docker"), measured("compose")], engine=engine)
    validity = analyse(read_results(tmp_path)).validity
    said = [doubt.text for doubt in validity.caveats if "SSH tunnel" in doubt.text]
    assert bool(said) is ("127.0.0.1" in host)
    if said:
        assert said[0].startswith(
            "All requests to docker run, Docker Compose went through an SSH tunnel to the engine's"
        )


@pytest.mark.engine
def test_the_files_of_compose_come_back_by_copy(
    engine: Engine, service_image: str, there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", there + urlsplit(engine.endpoint).path)
    settings = Settings(other_image=service_image, ports={"compose": free_port()})
    with deployed("compose", settings, tmp_path) as running:
        path, header = OWN.request.path, {"Content-Type": "application/json"}
        answer = requests.post(f"{running.url}{path}", json={"text": "good"}, headers=header, timeout=20)
        assert answer.status_code == 200
        (copied,) = copy_whole(running.service, tmp_path, requests=1)
        (container,) = engine.client.containers.list(filters={"label": "com.docker.compose.service=llm-inference"})
        assert {mount["Type"] for mount in container.attrs["Mounts"]} == {"volume"}
        (port,) = container.ports["5000/tcp"]
        assert port["HostIp"] == "127.0.0.1"
    assert copied.read_text().count("\n") == 2
    live = tmp_path / "live" / "compose_inference_metrics.csv"
    assert live.read_text() == copied.read_text()
    assert [each for each in connections() if "-N" in each.cmdline()] == []  # the tunnel's
