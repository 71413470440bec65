"""Who is sampled: what ``--replicas`` means, and what is found behind a port."""

from __future__ import annotations

import argparse
import os

import docker
import pytest
from conftest import Service, free_port

from _replicas import Finder, NoReplicas, Target, _published, replicas_argument


@pytest.mark.parametrize(
    "text", ["auto", "none", "container:web", "compose:project/service", "swarm:service", "process:123"]
)
def test_what_can_be_named(text: str) -> None:
    assert replicas_argument(text) == text


@pytest.mark.parametrize(
    "text", ["", "web", "container:", "compose:project", "process:abc", "pod:web", "compose:a/b/c"]
)
def test_what_can_not_be_named_is_explained(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected auto, none, container:NAME"):
        replicas_argument(text)


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port()}")


@pytest.mark.usefixtures("no_engine")
def test_auto_finds_the_process_that_listens(shared_service: Service) -> None:
    finder = Finder("auto", shared_service.url, "test-replica")
    (replica,) = finder.replicas()
    assert finder.target == Target("process", str(shared_service.process.pid))
    assert replica.name == "test-replica"
    assert replica.read is not None
    counters = replica.read()
    assert counters is not None
    assert counters.cpu_seconds > 0.1
    assert counters.memory_bytes > 50e6
    assert counters.interfaces is None
    assert (counters.pids or 0) > 1


@pytest.mark.usefixtures("no_engine")
def test_auto_says_where_it_looked_in_vain() -> None:
    port = free_port()
    with pytest.raises(NoReplicas, match=f"port {port}: no Docker engine answers .* no process of this user listens"):
        Finder("auto", f"http://127.0.0.1:{port}", None).replicas()


def test_a_process_that_is_gone_is_said_to_be() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(NoReplicas, match=f"no process has the ID {child}"):
        Finder(f"process:{child}", "http://127.0.0.1", None).replicas()


class FakeApi:
    """Replies of the Docker API, as the engine gives them."""

    def __init__(self, containers: list[dict[str, object]], services: list[dict[str, object]]) -> None:
        self._containers, self._services = containers, services

    def containers(self) -> list[dict[str, object]]:
        return self._containers

    def services(self) -> list[dict[str, object]]:
        return self._services


class FakeEngine:
    def __init__(self, api: FakeApi, swarm: dict[str, object] | None = None) -> None:
        self.api = api
        self._swarm = swarm or {}

    def info(self) -> dict[str, object]:
        return {"Swarm": self._swarm}


def container(port: int, name: str, labels: dict[str, str] | None = None) -> dict[str, object]:
    return {
        "Names": [f"/other/{name}-link", f"/{name}"],
        "Ports": [{"PublicPort": port, "Type": "tcp"}],
        "Labels": labels or {},
    }


def test_a_published_port_leads_to_container_compose_or_swarm() -> None:
    compose = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    service = {"Spec": {"Name": "web"}, "Endpoint": {"Ports": [{"PublishedPort": 7000, "Protocol": "tcp"}]}}
    api = FakeApi([container(5000, "plain"), container(6000, "shop-web-1", compose)], [service])
    manager = FakeEngine(api, {"ControlAvailable": True})
    assert _published(manager, 5000) == Target("container", "plain")
    assert _published(manager, 6000) == Target("compose", "shop/web")
    assert _published(manager, 7000) == Target("swarm", "web")
    assert _published(manager, 8000) is None
    assert _published(FakeEngine(api), 7000) is None


def test_a_port_published_for_udp_is_another_one() -> None:
    name_server = container(5000, "names") | {"Ports": [{"PublicPort": 5000, "Type": "udp"}]}
    assert _published(FakeEngine(FakeApi([name_server, container(5000, "web")], [])), 5000) == Target(
        "container", "web"
    )
    assert _published(FakeEngine(FakeApi([name_server], [])), 5000) is None


@pytest.mark.usefixtures("no_engine")
def test_a_port_of_another_machine_is_not_looked_for_here(shared_service: Service) -> None:
    with pytest.raises(NoReplicas, match=r"192\.0\.2\.1 is another machine; name its replicas"):
        Finder("auto", f"http://192.0.2.1:{shared_service.port}", None).replicas()


@pytest.mark.parametrize("text", ["", "web", "process:abc"])
def test_a_slip_in_the_web_ui_is_a_reason_too(text: str) -> None:
    with pytest.raises(NoReplicas, match="expected auto, none, container:NAME"):
        Finder(text, "http://127.0.0.1", None)


@pytest.mark.engine
def test_a_container_is_found_by_its_whole_name(engine: docker.DockerClient) -> None:
    with pytest.raises(NoReplicas, match="no running container is container:no-such-container"):
        Finder("container:no-such-container", "http://127.0.0.1", None).replicas()
