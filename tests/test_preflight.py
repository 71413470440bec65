"""Each message of ``python -m infra doctor``."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from conftest import ROOT, free_port

from addresses import LOOPBACK
from infra import __main__ as command_line
from infra.deployments import preflight, swarm, swarm_mode
from infra.deployments.docker_engine import Engine
from infra.deployments.docker_run import NAME
from infra.deployments.images import find_image
from infra.deployments.ownership import labels
from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME, PORTS
from runfiles.deployments import USUAL

SILENT_PORT = "127.0.0.1:1"
"""A registry that can't be reached: nobody listens there."""


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(monkeypatch, capsys)


class Doctor:
    """The command, run with free ports unless told otherwise. Returns the first word of each line -> the rest."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str) -> dict[str, str]:
        free = [part for kind in PORTS for part in ("--port", f"{kind}={free_port()}")]
        self._monkeypatch.setattr(sys, "argv", ["infra", "doctor", *free, *arguments])
        assert command_line.main() == 0
        lines = self._capsys.readouterr().out.splitlines()
        return {line.split()[0]: line.partition(" ")[2].strip() for line in lines}


def test_no_engine(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    said = doctor()
    assert said["engine"] == "no Docker engine at unix:///nowhere/docker.sock, start one and run again"
    assert said["host"] == "Host process: can run"
    for name in [name for name in USUAL if BY_NAME[name].facts.needs_engine]:
        assert said[name].endswith(f"can't run: {said['engine']}")


def test_a_socket_that_is_denied_names_its_group(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(tempfile.mkdtemp())  # short enough for a socket's path, and open to all
    folder.chmod(0o755)
    path = folder / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    as_root = os.geteuid() == 0
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o000)
        group = path.group()
        try:
            if as_root:
                os.seteuid(65534)  # root may open any socket
            said = doctor()
        finally:
            if as_root:
                os.seteuid(0)
            shutil.rmtree(folder)
    assert f"is open only to the group {group}, and this user is not in it" in said["engine"]
    assert f"sudo usermod -aG {group} $USER" in said["docker"]


def test_a_port_that_a_program_holds(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        said = doctor("--port", f"host={port}")
    assert f"port {port} is taken by " in said["host"]
    assert f"(process {os.getpid()}); end that, or choose another port (--port)" in said["host"]


@pytest.mark.parametrize(
    ("ip", "is_taken"), [("127.0.0.2", False), ("0.0.0.0", True), ("::1", False), ("::", True), ("127.0.0.1", True)]
)
def test_a_port_is_taken_only_at_the_address_that_is_used(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, ip: str, is_taken: bool
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    is_v6 = ":" in ip
    try:
        holder = socket.create_server(
            (ip, 0), family=socket.AF_INET6 if is_v6 else socket.AF_INET, dualstack_ipv6=ip == "::"
        )
    except OSError as error:
        pytest.skip(f"{ip} is no address of this machine: {error}")
    with holder:
        port = holder.getsockname()[1]
        said = doctor("--port", f"host={port}")["host"]
    assert said == "Host process: can run" or f"(process {os.getpid()}); end that" in said
    assert (f"port {port} is taken by" in said) is is_taken


@pytest.mark.parametrize("ip", ["127.0.0.2", "::1"])
def test_swarm_takes_a_port_at_all_addresses(ip: str) -> None:
    try:
        holder = socket.create_server((ip, 0), family=socket.AF_INET6 if ":" in ip else socket.AF_INET)
    except OSError as error:
        pytest.skip(f"{ip} is no address of this machine: {error}")
    with holder:
        port = holder.getsockname()[1]
        reason = preflight.why_port_is_taken(swarm.LISTENS_AT, port, None)
        assert f"(process {os.getpid()})" in str(reason)
        assert preflight.why_port_is_taken([LOOPBACK], port, None) is None
    assert preflight.why_port_is_taken(swarm.LISTENS_AT, port, None) is None


def test_a_port_for_root_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    assert BY_NAME["host"].why_not(Settings(ports={"host": 80})) == (
        "only root may use port 80; choose one above 1023 (--port host=PORT) and run again"
    )
    assert preflight.why_port_is_taken([LOOPBACK], 80, None) is None  # all that is asked of a container's port


def publishing(*ports: dict[str, object]) -> Engine:
    """An engine with one container that publishes these ports."""
    api = SimpleNamespace(containers=lambda: [{"Names": ["/names"], "Ports": list(ports)}])
    client = SimpleNamespace(api=api, info=lambda: {"Swarm": {}})
    return SimpleNamespace(client=client, is_remote=True, swarm=lambda: {})  # type: ignore[return-value]


def test_what_an_engine_publishes_elsewhere_or_for_udp_takes_no_port() -> None:
    udp = {"IP": "0.0.0.0", "PublicPort": 53, "Type": "udp"}
    other = {"IP": "127.0.0.2", "PublicPort": 53, "Type": "tcp"}
    private = {"PrivatePort": 53, "Type": "tcp"}
    both = {"IP": "::", "PublicPort": 53, "Type": "tcp"}
    assert preflight.publisher(publishing(udp, other, private), ["127.0.0.1"], 53) is None
    assert preflight.publisher(publishing(other), ["0.0.0.0"], 53) == "container names"
    assert preflight.publisher(publishing(udp, both), ["127.0.0.1"], 53) == "container names"
    assert preflight.publisher(publishing(both), ["127.0.0.1"], 54) is None


def test_too_little_memory(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=300_000_000))
    said = doctor()
    assert "too little memory: 1 replica needs 0.5 GB, 0.3 GB are free; end other programs" in said["host"]


def test_too_little_disk(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000_000))
    assert "too little disk: a run's record takes 0.2 GB, 0.1 GB are free at " in doctor()["host"]


@pytest.mark.engine
def test_an_engine_that_is_well(doctor: Doctor, engine: Engine, service_image: str) -> None:
    said = doctor()
    assert said["engine"].startswith(f"{engine.version} at {engine.endpoint}")
    assert said["image"] == f"{service_image} is here, or can be had"
    assert said["docker"] == "docker run: can run"


@pytest.mark.engine
def test_a_port_that_a_container_publishes(doctor: Doctor, engine: Engine, service_image: str) -> None:
    port = free_port()
    holder = engine.client.containers.run(
        service_image, ["sleep", "60"], name="foreign-holder", ports={"80/tcp": ("127.0.0.1", port)}, detach=True
    )
    try:
        said = doctor("--port", f"docker={port}", "--port", f"host={port}")
    finally:
        holder.remove(force=True)
    assert f"port {port} is taken by container foreign-holder; end that" in said["docker"]
    assert f"port {port} is taken by container foreign-holder; end that" in said["host"]


@pytest.mark.engine
def test_a_name_that_a_foreign_container_has(doctor: Doctor, engine: Engine, service_image: str) -> None:
    foreign = engine.client.containers.create(service_image, name=NAME)
    try:
        said = doctor()
    finally:
        foreign.remove()
    assert f"there is a container named {NAME} that Fourfold did not make; rename or remove it" in said["docker"]


@pytest.mark.engine
def test_remains_of_a_killed_run(doctor: Doctor, engine: Engine, service_image: str) -> None:
    remains = engine.client.containers.create(service_image, name=NAME, labels=labels("docker"))
    try:
        said = doctor()
    finally:
        remains.remove()
    assert f"container {NAME} is still there" in said["docker"]
    assert "remove it (.venv/bin/python -m infra down docker) and run again" in said["docker"]


@pytest.mark.engine
def test_an_image_that_no_registry_gives(doctor: Doctor, engine: Engine) -> None:
    image = f"{SILENT_PORT}/llm-inference-image"
    said = doctor("--image", image)
    assert f"image {image} is not here, and its registry can't be reached (" in said["image"]
    assert "build or load it (docker load)" in said["image"]


@pytest.mark.engine
def test_an_image_that_can_not_be_built(
    doctor: Doctor, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "BASE_IMAGE", f"{SILENT_PORT}/python:3.12-slim")
    service = tmp_path / "service.toml"
    service.write_text(f'image = "fourfold-not-built"\nbuild = "{ROOT}"\n')
    said = doctor("--service", str(service))
    assert "can't be built: its base" in said["image"]
    assert "its registry can't be reached (" in said["image"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    said = doctor("--service", str(service))
    assert "too little disk: building the image takes 5.0 GB, 1.0 GB are free" in said["image"]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("programs", "expected"),
    [
        ((), "no docker command on the PATH"),
        (("docker",), "there is no Compose; install Compose v2"),
        (("docker", "docker-compose"), "only Compose v1 (docker-compose) is there, which is no longer kept; install"),
    ],
)
def test_a_compose_that_is_missing_or_old(
    doctor: Doctor,
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    programs: tuple[str, ...],
    expected: str,
) -> None:
    for name in programs:
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert expected in doctor()["compose"]


@pytest.mark.engine
def test_a_kernel_without_ipvs(doctor: Doctor, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    if swarm_mode.why_no_mesh(engine) is None:  # this kernel has it: look for another module
        monkeypatch.setattr(swarm_mode, "IPVS", "no_such_module")
    assert "has no IPVS, with which Swarm's routing mesh balances; load or install the module" in doctor()["swarm-3"]


@pytest.mark.engine
def test_an_image_of_a_registry_is_pulled(engine: Engine, service_image: str) -> None:
    registry = os.environ.get("FOURFOLD_REGISTRY")
    if not registry:
        pytest.skip("FOURFOLD_REGISTRY names no registry that the tests may write to")
    image = engine.client.images.get(service_image)
    name = f"{registry}/fourfold-pulled"
    image.tag(name)
    try:
        assert "error" not in engine.client.images.push(name)
        engine.client.images.remove(name)
        assert find_image(engine, name, is_built=False).id == image.id
    finally:
        engine.client.images.remove(name)
