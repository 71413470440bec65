"""Who is sampled: what ``--replicas`` means, and what is found behind a port."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import _find_target
import _sockets
import psutil
import pytest
import requests
from _find_target import published, target_behind
from _replicas import NoReplicas, Target, host_argument, replicas_argument
from conftest import Service, forwarder, free_port, is_open

from infra.deployments.docker_engine import Engine as InfraEngine
from infra.deployments.waiting import until_true

from _find_replicas import Finder
from _read_docker import Engine


@pytest.mark.parametrize(
    "text", ["auto", "none", "container:web", "compose:project/service", "swarm:service", "process:123"]
)
def test_what_can_be_named(text: str) -> None:
    assert replicas_argument(text) == text


@pytest.mark.parametrize(
    "text", ["", "web", "container:", "compose:project", "process:abc", "process:٣", "pod:web", "compose:a/b/c"]
)
def test_what_can_not_be_named_is_explained(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected auto, none, container:NAME"):
        replicas_argument(text)


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port()}")


def says(url: str) -> Callable[[], dict[str, Any]]:
    """What the service behind a URL says of itself."""
    return lambda: dict(requests.get(f"{url}/health", timeout=10).json())


@pytest.mark.usefixtures("no_engine")
def test_auto_finds_the_process_that_listens(shared_service: Service) -> None:
    finder = Finder("auto", shared_service.url, says(shared_service.url))
    (replica,) = finder.replicas()
    assert finder.target == Target("process", str(shared_service.process.pid))
    assert replica.name == "test-replica"
    assert replica.read is not None
    counters = replica.read()
    assert counters is not None
    assert counters.cpu_seconds > 0.1
    assert counters.memory_bytes > 20e6  # its share: other services on this machine use the same libraries
    assert counters.networks is None
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


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize("name", ["rootlessport", "ssh", "pasta.avx2", "qemu-system-x86", "com.docker.back"])
def test_a_port_forwarder_is_no_replica(shared_service: Service, name: str) -> None:
    with forwarder(name, shared_service.port) as (url, pid):
        expected = (
            rf"^{name} \(process {pid}\) listens on port .* and forwards it, so it is no replica and is not sampled; .*"
            rf"--replicas process:{shared_service.process.pid}\)"
        )
        with pytest.raises(NoReplicas, match=expected):
            Finder("auto", url, says(url)).replicas()


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize("named", [False, True])
def test_a_program_that_the_service_does_not_confirm_has_its_own_name(shared_service: Service, named: bool) -> None:
    with forwarder("unheard-of", shared_service.port) as (url, pid):
        (replica,) = Finder(f"process:{pid}" if named else "auto", url, says(url)).replicas()
        assert (replica.name, replica.id) == ("unheard-of", str(pid))
        assert replica.doubt == (
            f"unheard-of (process {pid}) is sampled under its own name: "
            f"the service says that it is another process ({shared_service.process.pid}); "
            f"if another one answers, name it (--replicas process:{shared_service.process.pid})"
        )


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize("said", [None, {}, {"replica": "test-replica"}, {"replica": "test-replica", "pid": None}])
def test_a_service_that_does_not_tell_its_process_is_not_confirmed(
    shared_service: Service, said: dict[str, Any] | None
) -> None:
    (replica,) = Finder("auto", shared_service.url, lambda: said).replicas()
    assert replica.name == psutil.Process(shared_service.process.pid).name() != "test-replica"
    assert "is sampled under its own name: the service " in str(replica.doubt)


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize("said", [None, lambda: None, lambda: {"status": "ready"}], ids=["no path", "text", "no pid"])
def test_a_service_that_does_not_say_who_it_is_is_the_named_process_that_serves(
    shared_service: Service, said: Callable[[], dict[str, Any] | None] | None
) -> None:
    (named,) = Finder(f"process:{shared_service.process.pid}", shared_service.url, said).replicas()
    assert (named.name, named.doubt) == (psutil.Process(shared_service.process.pid).name(), None)
    (other,) = Finder(f"process:{os.getpid()}", shared_service.url, said).replicas()
    assert "is sampled under its own name" in str(other.doubt)


def test_a_process_that_is_named_and_confirmed_has_the_services_name(shared_service: Service) -> None:
    asked = f"process:{shared_service.process.pid}"
    (replica,) = Finder(asked, shared_service.url, says(shared_service.url)).replicas()
    assert (replica.name, replica.doubt) == ("test-replica", None)
    # Who only started the service does not hold its socket: it may be a forwarder.
    (starter,) = Finder(f"process:{os.getpid()}", shared_service.url, says(shared_service.url)).replicas()
    assert starter.name == psutil.Process().name()
    assert f"another process ({shared_service.process.pid})" in str(starter.doubt)


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("pid", [1, True, 1.0, "own as text", "own as fraction"])
def test_an_id_that_every_process_or_none_has_confirms_nobody(shared_service: Service, named: bool, pid: Any) -> None:
    """A service in a container says 1, its ID there; here that is the ancestor of all processes."""
    with forwarder("unheard-of", shared_service.port) as (url, process_id):
        pid = {"own as text": str(process_id), "own as fraction": float(process_id)}.get(pid, pid)
        asked = f"process:{process_id}" if named else "auto"
        (replica,) = Finder(asked, url, lambda: {"replica": "web", "pid": pid}).replicas()
    assert replica.name == "unheard-of"
    assert "is sampled under its own name" in str(replica.doubt)
    assert "process:1)" not in str(replica.doubt)


FORWARDS_TO_ITS_CHILD = """
import socket, subprocess, sys
own = socket.create_server(("127.0.0.1", int(sys.argv[1])))
child = "import socket, sys, time; kept = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", child, sys.argv[2]])
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize("named", [False, True])
def test_a_forwarder_that_started_the_service_is_not_the_service(named: bool) -> None:
    port, of_child = free_port(), free_port()
    command = [sys.executable, "-c", FORWARDS_TO_ITS_CHILD, str(port), str(of_child)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            child = int(process.stdout.readline())
            assert until_true(lambda: is_open("127.0.0.1", of_child), 20)
            asked = f"process:{process.pid}" if named else "auto"
            said = {"replica": "web", "pid": child}
            (replica,) = Finder(asked, f"http://127.0.0.1:{port}", lambda: said).replicas()
            assert (replica.name, replica.id) == (psutil.Process(process.pid).name(), str(process.pid))
            assert f"--replicas process:{child})" in str(replica.doubt)
        finally:
            os.killpg(process.pid, 9)


LISTENER = "import socket, sys, time; kept = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"


@pytest.mark.usefixtures("no_engine")
def test_auto_finds_who_serves_after_a_restart() -> None:
    port = free_port()
    said: dict[str, Any] = {"replica": "web"}
    finder = Finder("auto", f"http://127.0.0.1:{port}", lambda: said)
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", LISTENER, str(port)]) as process:
            try:
                assert until_true(lambda: is_open("127.0.0.1", port), 20)
                said = {"replica": "web", "pid": process.pid}
                (replica,) = finder.replicas()
                assert (replica.name, replica.id, replica.doubt) == ("web", str(process.pid), None)
            finally:
                process.kill()
    with pytest.raises(NoReplicas, match=f"port {port}: "):
        finder.replicas()
    assert finder.target == Target("process", replica.id)  # for the record


WORKERS = """
import json, os, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
for _ in range(2):
    if os.fork() == 0:
        while True:
            connection, _ = listener.accept()
            if not connection.recv(65536):
                continue
            body = json.dumps({"replica": "workers", "pid": os.getpid()}).encode()
            head = f"HTTP/1.1 200 OK\\r\\nContent-Length: {len(body)}\\r\\nConnection: close\\r\\n\\r\\n"
            connection.sendall(head.encode() + body)
            connection.close()
os.wait()
"""


@pytest.mark.usefixtures("no_engine")
def test_a_server_with_several_workers_is_one_replica() -> None:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", WORKERS, str(port)], start_new_session=True)
    try:
        assert until_true(lambda: is_open("127.0.0.1", port), 20)
        url = f"http://127.0.0.1:{port}"
        assert says(url)()["pid"] != process.pid
        (replica,) = Finder("auto", url, says(url)).replicas()
        assert (replica.name, replica.id, replica.doubt) == ("workers", str(process.pid), None)
    finally:
        os.killpg(process.pid, 9)
        process.wait()


@pytest.mark.usefixtures("no_engine")
def test_a_listener_at_another_address_is_not_meant(shared_service: Service) -> None:
    """This process, which is older, has the service's port at 127.0.0.2."""
    with socket.create_server(("127.0.0.2", shared_service.port)):
        finder = Finder("auto", shared_service.url, says(shared_service.url))
        finder.replicas()
        assert finder.target == Target("process", str(shared_service.process.pid))
        (replica,) = Finder("auto", f"http://127.0.0.2:{shared_service.port}", says(shared_service.url)).replicas()
        assert replica.id == str(os.getpid())


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize("host", ["0.0.0.0", "localhost", "127.1", "LOCALHOST", "[::ffff:127.0.0.1]"])
def test_all_names_of_this_machine_lead_to_the_process(shared_service: Service, host: str) -> None:
    finder = Finder("auto", host_argument(f"{host}:{shared_service.port}/"), says(shared_service.url))
    finder.replicas()
    assert finder.target == Target("process", str(shared_service.process.pid))


@pytest.mark.usefixtures("no_engine")
def test_an_ipv6_listener_and_an_ipv4_listener_of_one_port_are_told_apart(shared_service: Service) -> None:
    try:
        listener = socket.create_server(("::1", shared_service.port), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with listener:
        (replica,) = Finder("auto", f"http://[::1]:{shared_service.port}", None).replicas()
        assert replica.id == str(os.getpid())
        finder = Finder("auto", shared_service.url, says(shared_service.url))
        finder.replicas()
        assert finder.target == Target("process", str(shared_service.process.pid))


@pytest.mark.usefixtures("no_engine")
def test_where_sockets_are_told_process_by_process(shared_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)  # as macOS does
    finder = Finder("auto", shared_service.url, says(shared_service.url))
    finder.replicas()
    assert finder.target == Target("process", str(shared_service.process.pid))


class FakeApi:
    """Replies of the Docker API, as the engine gives them."""

    def __init__(self, containers: list[dict[str, Any]], services: Sequence[dict[str, Any]] = ()) -> None:
        self._containers, self._services = containers, services

    def containers(self) -> list[dict[str, Any]]:
        return self._containers

    def services(self) -> Sequence[dict[str, Any]]:
        return self._services

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Status": {"Addr": "198.51.100.7"}}]


class FakeEngine:
    """``host``: the machine that its address names."""

    def __init__(self, api: FakeApi, *, is_manager: bool = False, host: str = "") -> None:
        self.client = SimpleNamespace(api=api)
        self.host = host
        self.is_manager = lambda: is_manager


def published_by(engine: FakeEngine, port: int, *ips: str) -> str | None:
    found = published(engine, ips or ("127.0.0.1",), port, ips)  # type: ignore[arg-type]
    return None if found is None else str(found)


def container(port: int, name: str, ip: str = "0.0.0.0", **labels: str) -> dict[str, Any]:
    return {
        "Names": [f"/other/{name}-link", f"/{name}"],
        "Ports": [
            {"IP": ip, "PrivatePort": 5000, "PublicPort": port, "Type": "tcp"},
            {"PrivatePort": 9, "Type": "tcp"},
        ],
        "Labels": {f"com.docker.{key.replace('_', '.')}": value for key, value in labels.items()},
    }


def test_a_published_port_leads_to_container_compose_or_swarm() -> None:
    service = {"Spec": {"Name": "web"}, "Endpoint": {"Ports": [{"PublishedPort": 7000, "Protocol": "tcp"}]}}
    web = container(6000, "shop-web-1", compose_project="shop", compose_service="web", compose_oneoff="False")
    api = FakeApi([container(5000, "plain"), web], [service])
    manager = FakeEngine(api, is_manager=True)
    assert published_by(manager, 5000) == "container:plain"
    assert published_by(manager, 6000) == "compose:shop/web"
    assert published_by(manager, 7000) == "swarm:web"
    assert published_by(manager, 7000, "198.51.100.7") == "swarm:web"  # another node: the mesh answers on all
    assert published_by(manager, 7000, "198.51.100.8") is None
    assert published_by(manager, 8000) is None
    assert published_by(FakeEngine(api), 7000) is None


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        (container(1, "web"), "container:web"),
        (container(1, "shop-web-1", compose_project="shop", compose_service="web"), "compose:shop/web"),
        (None, "process:"),
    ],
)
def test_a_process_in_a_container_is_sampled_as_the_container(
    shared_service: Service, monkeypatch: pytest.MonkeyPatch, around: dict[str, Any] | None, expected: str
) -> None:
    """So it is with ``docker run --network host``: the process listens on this machine, and publishes no port."""
    others = [container(2, "other") | {"Id": "b" * 64}]
    engine = FakeEngine(FakeApi(others + ([around | {"Id": "a" * 64, "Ports": []}] if around else [])))
    pid = shared_service.process.pid
    monkeypatch.setattr(_sockets, "_container_ids", lambda of: {"c" * 64} | ({"a" * 64} if of == pid else set()))
    found = target_behind(shared_service.url, lambda: engine, says(shared_service.url))  # type: ignore[arg-type,return-value]
    assert str(found).startswith(expected)


def test_a_process_beside_this_program_in_one_container_is_sampled_as_a_process(
    shared_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(FakeApi([container(1, "web") | {"Id": "a" * 64}]))
    monkeypatch.setattr(_sockets, "_container_ids", lambda pid: {"a" * 64})
    found = target_behind(shared_service.url, lambda: engine, says(shared_service.url))  # type: ignore[arg-type,return-value]
    assert found == Target("process", str(shared_service.process.pid))


@pytest.mark.usefixtures("no_engine")
def test_a_process_in_a_container_is_sampled_as_a_process_if_no_engine_answers(
    shared_service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = shared_service.process.pid
    monkeypatch.setattr(_sockets, "_container_ids", lambda of: {"a" * 64} if of == pid else set())
    finder = Finder("auto", shared_service.url, says(shared_service.url))
    finder.replicas()
    assert finder.target == Target("process", str(pid))


def test_a_container_of_compose_run_is_found_by_itself() -> None:
    single = container(5000, "x-single-run-1", compose_project="x", compose_service="single", compose_oneoff="True")
    assert published_by(FakeEngine(FakeApi([single])), 5000) == "container:x-single-run-1"


def test_a_port_published_for_udp_is_another_one() -> None:
    name_server = container(5000, "names") | {"Ports": [{"IP": "0.0.0.0", "PublicPort": 5000, "Type": "udp"}]}
    assert published_by(FakeEngine(FakeApi([name_server, container(5000, "web")])), 5000) == "container:web"
    assert published_by(FakeEngine(FakeApi([name_server])), 5000) is None


def test_one_port_at_several_addresses_is_several_containers() -> None:
    engine = FakeEngine(
        FakeApi([container(5000, "all"), container(5000, "one", "127.0.0.1"), container(5000, "two", "127.0.0.2")])
    )
    assert published_by(engine, 5000, "127.0.0.1") == "container:one"
    assert published_by(engine, 5000, "127.0.0.2") == "container:two"
    assert published_by(engine, 5000, "127.0.0.3") == "container:all"
    assert published_by(engine, 5000, "::1") is None
    both = FakeEngine(
        FakeApi([container(5000, "both", "::"), container(5001, "old", "")])
    )  # old engines tell no address
    assert published_by(both, 5000, "::1") == published_by(both, 5000) == "container:both"
    assert published_by(both, 5001) == published_by(both, 5001, "::1") == "container:old"


def test_a_compose_service_whose_containers_publish_a_port_each_is_not_loaded_as_a_whole() -> None:
    labels = {"compose_project": "x", "compose_service": "ranged"}
    engine = FakeEngine(FakeApi([container(5745, "x-ranged-1", **labels), container(5746, "x-ranged-2", **labels)]))
    assert published_by(engine, 5746) == "container:x-ranged-2"


def test_the_address_of_a_container_itself_leads_to_it() -> None:
    web = container(5000, "web") | {"NetworkSettings": {"Networks": {"bridge": {"IPAddress": "198.51.100.99"}}}}
    assert published_by(FakeEngine(FakeApi([container(5000, "other"), web])), 8000, "198.51.100.99") == "container:web"
    assert published_by(FakeEngine(FakeApi([web]), host="198.51.100.1"), 8000, "198.51.100.99") is None


def test_an_engine_elsewhere_publishes_nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi([container(5000, "web")])
    assert published_by(FakeEngine(api, host="198.51.100.1"), 5000, "127.0.0.1") is None
    assert published_by(FakeEngine(api, host="198.51.100.1"), 5000, "198.51.100.2") is None
    assert published_by(FakeEngine(api, host="198.51.100.1"), 5000, "198.51.100.1") == "container:web"
    assert published_by(FakeEngine(api, host="localhost"), 5000, "127.0.0.1") == "container:web"  # socket proxy
    monkeypatch.setattr(_find_target, "_resolved", lambda name: [])  # a name that only ssh's own settings know
    assert published_by(FakeEngine(api, host="work"), 5000, "198.51.100.1") == "container:web"
    assert published_by(FakeEngine(api, host="work"), 5000, "127.0.0.1") is None


def test_an_engine_at_loopback_is_asked_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that nobody listens at is not asked: what is refused is the engine's own address."""
    port, proxy = free_port(), free_port()
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "example.com")
    with pytest.raises(Exception, match=rf"port={port}") as raised:  # docker.errors.DockerException
        Engine(f"tcp://127.0.0.1:{port}")
    assert str(proxy) not in str(raised.value)
    assert os.environ["no_proxy"].startswith("example.com,")


@pytest.mark.usefixtures("no_engine")
def test_a_port_of_another_machine_is_not_looked_for_here(shared_service: Service) -> None:
    with pytest.raises(NoReplicas, match=r"192\.0\.2\.1 is another machine; name its replicas"):
        Finder("auto", f"http://192.0.2.1:{shared_service.port}", None).replicas()


@pytest.mark.parametrize("text", ["", "web", "process:abc"])
def test_a_slip_in_the_web_ui_is_a_reason_too(text: str) -> None:
    with pytest.raises(NoReplicas, match="expected auto, none, container:NAME"):
        Finder(text, "http://127.0.0.1", None)


@pytest.fixture
def sleeper(engine: InfraEngine, service_image: str) -> Iterator[Callable[..., Any]]:
    """Starts containers that do nothing unless told, but may publish a port."""
    made = []

    def start(program: Sequence[str] = ("sleep", "60"), **how: Any) -> Any:
        made.append(engine.client.containers.run(service_image, list(program), detach=True, init=True, **how))
        return made[-1]

    yield start
    for each in made:
        each.remove(force=True)


@pytest.mark.engine
def test_a_container_at_another_address_is_not_meant(shared_service: Service, sleeper: Callable[..., Any]) -> None:
    web = sleeper(ports={"5000/tcp": ("127.0.0.2", shared_service.port)})
    finder = Finder("auto", shared_service.url, says(shared_service.url))
    finder.replicas()
    assert finder.target == Target("process", str(shared_service.process.pid))
    finder = Finder("auto", f"http://127.0.0.2:{shared_service.port}", None)
    finder.replicas()
    assert finder.target == Target("container", web.name)


@pytest.mark.engine
def test_a_container_on_the_network_of_this_machine_is_found_by_its_process(sleeper: Callable[..., Any]) -> None:
    port = free_port()
    listen = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"
    web = sleeper(network_mode="host", program=["python", "-c", listen])
    assert until_true(lambda: is_open("127.0.0.1", port), 20)
    (replica,) = Finder("auto", f"http://127.0.0.1:{port}", None).replicas()
    assert (replica.name, replica.id, replica.doubt) == (web.name, web.id[:12], None)


@pytest.mark.engine
def test_a_container_of_compose_run_is_sampled(sleeper: Callable[..., Any]) -> None:
    port = free_port()
    kept = {"com.docker.compose.project": "once", "com.docker.compose.service": "web"}
    web = sleeper(ports={"80/tcp": ("127.0.0.1", port)}, labels=kept | {"com.docker.compose.oneoff": "True"})
    for asked in ("auto", "compose:once/web"):
        (replica,) = Finder(asked, f"http://127.0.0.1:{port}", None).replicas()
        assert replica.id == web.id[:12]
    up = sleeper(labels=kept | {"com.docker.compose.oneoff": "False"})
    (replica,) = Finder("compose:once/web", "", None).replicas()
    assert replica.id == up.id[:12]


@pytest.mark.engine
def test_who_answers_unsampled_is_looked_up(sleeper: Callable[..., Any]) -> None:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "app"}
    first = sleeper(labels=labels)
    sleeper(labels=labels, hostname="second-app")
    third = sleeper(environment={"REPLICA_NAME": "third"})
    finder = Finder(f"container:{third.name}", "http://127.0.0.1", None)
    assert finder.explain_unsampled([first.id[:12], "second-app"]) == "use --replicas compose:shop/app"
    assert finder.explain_unsampled(["third", "fourth"]) == (
        f"use --replicas container:{third.name}; the Docker engine knows nobody by the name fourth"
    )
    (replica,) = finder.replicas()
    assert list(replica.other_names()) == [third.id[:12], "third"]
    finder.close()


@pytest.mark.engine
def test_a_container_is_found_by_its_whole_name(engine: InfraEngine) -> None:
    with pytest.raises(NoReplicas, match="no running container is container:no-such-container"):
        Finder("container:no-such-container", "http://127.0.0.1", None).replicas()
