"""Which replicas stand behind the target, and how to read each one's counters."""

from __future__ import annotations

import argparse
import ipaddress
import platform
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import docker
import psutil

from _cgroup import CgroupReader
from _engines import READ_FAILURES, Engine, Replica, explained
from _process import ProcessReader, process_reader

PORT_FORWARDERS = ("docker-proxy", "rootlesskit", "com.docker")
"""Programs that listen on behalf of a container, and are no replica themselves."""

KINDS = ("container", "compose", "swarm", "process")


class NoReplicas(Exception):
    """Nothing to sample was found. The message says where it was looked for."""


@dataclass(frozen=True)
class Target:
    """What ``--replicas`` names: a container, a Compose service, a Swarm service or a process."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def replicas_argument(text: str) -> str:
    """Checks ``--replicas`` when the command line is read, so that a slip ends the run before it begins."""
    if text not in ("auto", "none"):
        try:
            _named(text)
        except NoReplicas as error:
            raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _named(text: str) -> Target:
    kind, _, name = text.partition(":")
    wrong = kind not in KINDS or not name
    wrong = wrong or (kind == "compose" and not re.fullmatch(r"[^/]+/[^/]+", name))
    wrong = wrong or (kind == "process" and not name.isdecimal())
    if wrong:
        raise NoReplicas(
            f"{text!r}; expected auto, none, container:NAME, compose:PROJECT/SERVICE, swarm:SERVICE or process:PID"
        )
    return Target(kind, name)


class Finder:
    """Finds the replicas behind a target, again and again, as they come and go.

    ``target`` is known from the start but for ``auto``, which is looked for until it is found.

    Args:
        asked: the value of ``--replicas``, not ``none``.
        host: the URL that the load goes to, for ``auto``.
        service_name: the name by which a host process answers (X-Replica), for its samples.
        other_engines: URLs of the engines of a swarm's other nodes, which alone can tell their replicas' counters.

    Raises:
        NoReplicas: ``asked`` is no target (the web UI's field is checked by nobody).
    """

    def __init__(self, asked: str, host: str, service_name: str | None, other_engines: Sequence[str] = ()) -> None:
        self._host = host
        self._service_name = service_name
        self._engine: Engine | None = None
        self._others: dict[str, Engine | None] = dict.fromkeys(other_engines)
        self._root: psutil.Process | None = None
        self._process: CgroupReader | ProcessReader | None = None
        self.target: Target | None = None if asked == "auto" else _named(asked)

    def close(self) -> None:
        """Let go of all files and connections."""
        for one in (self._engine, self._process, *self._others.values()):
            if one is not None:
                one.close()

    def replicas(self) -> list[Replica]:
        """The replicas that run now.

        Raises:
            NoReplicas: the target is not there.
            docker.errors.DockerException and others of ``READ_FAILURES``: the engine does not answer.
        """
        if self.target is None:
            self.target = _target_behind(self._host, self._connect)
        if self.target.kind == "process":
            return [self._process_as_replica(int(self.target.name))]
        engine = self._connect()
        if self.target.kind == "swarm":
            return self._tasks(engine, self.target.name)
        if self.target.kind == "container":
            filters: dict[str, Any] = {"name": self.target.name}
        else:
            project, service = self.target.name.split("/")
            filters = {
                "label": [
                    f"com.docker.compose.project={project}",
                    f"com.docker.compose.service={service}",
                    "com.docker.compose.oneoff=False",
                ]
            }
        found = {_name(one): one for one in engine.client.api.containers(filters=filters)}
        if self.target.kind == "container":  # the API's name filter matches parts of names
            found = {name: one for name, one in found.items() if name == self.target.name}
        if not found:
            raise NoReplicas(f"no running container is {self.target}")
        return [engine.container(name, one["Id"], state=one["State"]) for name, one in sorted(found.items())]

    def _process_as_replica(self, pid: int) -> Replica:
        try:
            self._root = self._root or psutil.Process(pid)
            self._process = self._process or process_reader(self._root)
        except psutil.NoSuchProcess:
            raise NoReplicas(f"no process has the ID {pid}") from None
        if not self._root.is_running() or self._root.status() == psutil.STATUS_ZOMBIE:
            raise NoReplicas(f"process {pid} has ended")
        reader = self._process
        name = self._service_name or f"process {pid}"
        return Replica(name, str(pid), platform.node(), reader.read, sources=lambda: reader.sources)

    def _connect(self) -> Engine:
        if self._engine is None:
            self._engine = Engine()
        return self._engine

    def _engines_by_node(self, engine: Engine) -> tuple[dict[str, Engine], list[str]]:
        """The engines that answer, by the node they are, and what is wrong with the others."""
        found, wrong = {engine.node_id: engine}, []
        for url in self._others:
            try:
                other = self._others[url] = self._others[url] or Engine(url)
                found[other.node_id] = other
            except READ_FAILURES as error:
                wrong.append(f"{url} does not answer ({explained(error)})")
        return found, wrong

    def _tasks(self, engine: Engine, service: str) -> list[Replica]:
        """The running tasks of the service, named ``service.slot``; those of other nodes as out of reach."""
        engines, wrong = self._engines_by_node(engine)
        tasks = engine.client.api.tasks(filters={"service": service, "desired-state": "running"})
        running = [task for task in tasks if task["Status"]["State"] == "running"]
        replicas = []
        for task in sorted(running, key=lambda task: task.get("Slot", 0)):
            name = f"{service}.{task.get('Slot') or task['NodeID']}"
            id = task["Status"]["ContainerStatus"]["ContainerID"]
            if task["NodeID"] in engines:
                replicas.append(engines[task["NodeID"]].container(name, id, task["ID"], task["Status"]["State"]))
            else:
                reason = "; ".join(
                    ["runs on another node, whose engine alone can tell its counters: name it (--docker-host)", *wrong]
                )
                replicas.append(Replica(name, id[:12], task["NodeID"], None, reason, task["ID"]))
        if not replicas:
            raise NoReplicas(f"no running task belongs to swarm:{service}")
        return replicas


def _target_behind(host: str, connect: Callable[[], Engine]) -> Target:
    """Who serves the port of a URL: a Swarm service, a Compose service or a container that publishes it, else the
    process of this machine that listens there."""
    name, port = _address(host)
    is_here = _is_this_machine(name)
    try:
        engine = connect().client
        engine_is_here = engine.api.base_url in ("http+docker://localhost", "http+docker://localnpipe")
        target = _published(engine, port) if is_here or not engine_is_here else None
        looked = "no container or service of the Docker engine publishes it"
    except READ_FAILURES as error:
        target = None
        looked = f"no Docker engine answers ({explained(error)})"
    if target is None and not is_here:
        raise NoReplicas(f"{name} is another machine; name its replicas (--replicas), and its engine (DOCKER_HOST)")
    if target is None:
        pid = _listening_process(port)
        if pid is not None and psutil.Process(pid).name().startswith(PORT_FORWARDERS):
            raise NoReplicas(f"port {port} is published by Docker, but {looked}")
        if pid is None:
            raise NoReplicas(f"port {port}: {looked}, and no process of this user listens on it here")
        target = Target("process", str(pid))
    return target


def _is_this_machine(name: str) -> bool:
    """Whether a host's name or address is one of this machine's."""
    own = {one.address.partition("%")[0] for ones in psutil.net_if_addrs().values() for one in ones}
    try:
        addresses = {str(one[4][0]) for one in socket.getaddrinfo(name, None)}
    except OSError:
        return False
    return any(one in own or ipaddress.ip_address(one).is_loopback for one in addresses)


def _published(engine: docker.DockerClient, port: int) -> Target | None:
    swarm = engine.info().get("Swarm") or {}
    if swarm.get("ControlAvailable"):
        for service in engine.api.services():
            ports = service.get("Endpoint", {}).get("Ports") or []
            if any(one.get("PublishedPort") == port and one.get("Protocol") == "tcp" for one in ports):
                return Target("swarm", service["Spec"]["Name"])
    for container in engine.api.containers():
        ports = container.get("Ports") or []
        if any(one.get("PublicPort") == port and one.get("Type") == "tcp" for one in ports):
            labels = container.get("Labels") or {}
            if project := labels.get("com.docker.compose.project"):
                return Target("compose", f"{project}/{labels['com.docker.compose.service']}")
            return Target("container", _name(container))
    return None


def _listening_process(port: int) -> int | None:
    """The process that listens on a TCP port of this machine; of several, the one that started the others."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:  # macOS shows only root the connections of all processes
        return None
    pids = {
        one.pid
        for one in connections
        if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port and one.pid
    }
    return min(pids, key=lambda pid: psutil.Process(pid).create_time(), default=None)


def _address(host: str) -> tuple[str, int]:
    parts = urlsplit(host)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _name(container: dict[str, Any]) -> str:
    """A container's own name, out of those in a listing, where links to it count as names too."""
    own: str = next(name for name in container["Names"] if name.count("/") == 1)
    return own.removeprefix("/")
