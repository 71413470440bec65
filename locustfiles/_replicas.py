"""Which replicas stand behind the target, and how to read each one's counters."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import platform
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import docker
import psutil
import requests
import urllib3

from _cgroup import CgroupReader, NoCgroup
from _stats import Counters, counters_of

KINDS = ("container", "compose", "swarm", "process")
API_TIMEOUT_S = 3
SLOW_ONE_SHOT_S = 0.5
"""Engines before 23.0.8, 24.0.7 and 25.0 take a second for a one-shot: slower than their stream (moby 46448)."""

YEAR_ONE = "0001-01-01T00:00:00Z"

logger = logging.getLogger("fourfold.replicas")

READ_FAILURES = (
    docker.errors.DockerException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    psutil.Error,
    OSError,
)
"""All that reading a replica raises. Of what a Docker API call raises, ProtocolError is only an urllib3 error."""


class NoReplicas(Exception):
    """Nothing to sample was found. The message says where it was looked for."""


@dataclass(frozen=True)
class Target:
    """What ``--replicas`` names: a container, a Compose service, a Swarm service or a process."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True)
class Replica:
    """One instance of the service.

    ``read`` gives its counters, or None when it has ended; no ``read``: it is out of reach, for ``reason``.
    ``generation`` tells it from the one that had its name before; ``why_ended`` what the engine says of its end.
    """

    name: str
    id: str
    node: str
    read: Callable[[], Counters | None] | None
    reason: str | None = None
    generation: str = ""
    state: str = ""
    why_ended: Callable[[], str] = lambda: ""


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

    Args:
        asked: the value of ``--replicas``, not ``none``.
        host: the URL that the load goes to, for ``auto``.
        service_name: the name by which a host process answers (X-Replica), for its samples.

    Raises:
        NoReplicas: ``asked`` is no target (the web UI's field is checked by nobody), or ``auto`` found none.
    """

    def __init__(self, asked: str, host: str, service_name: str | None) -> None:
        self._service_name = service_name
        self._engine: docker.DockerClient | None = None
        self._engine_name = ""
        self._node_id = ""
        self._readers: dict[str, Callable[[], Counters | None]] = {}
        self._is_one_shot_fast: bool | None = None
        self._sampling: set[str] = set()
        self.target = _target_behind(host, self._connect) if asked == "auto" else _named(asked)

    @property
    def sampling(self) -> str | None:
        """How the counters are had, for the record of the run; None where none were."""
        return "; ".join(sorted(self._sampling)) or None

    def replicas(self) -> list[Replica]:
        """The replicas that run now.

        Raises:
            NoReplicas: the target is not there.
            docker.errors.DockerException and others of ``READ_FAILURES``: the engine does not answer.
        """
        if self.target.kind == "process":
            self._sampling.add("psutil, the process and its children")
            return [_process(int(self.target.name), self._service_name)]
        engine = self._connect()
        if self.target.kind == "swarm":
            return self._tasks(engine)
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
        found = {_name(one): one for one in engine.api.containers(filters=filters)}
        if self.target.kind == "container":  # the API's name filter matches parts of names
            found = {name: one for name, one in found.items() if name == self.target.name}
        if not found:
            raise NoReplicas(f"no running container is {self.target}")
        return [self._container(engine, name, one["Id"], state=one["State"]) for name, one in sorted(found.items())]

    def _connect(self) -> docker.DockerClient:
        if self._engine is None:
            engine = docker.from_env(timeout=API_TIMEOUT_S)
            about = engine.info()
            self._engine_name = about.get("Name", "")
            self._node_id = (about.get("Swarm") or {}).get("NodeID", "")
            self._engine = engine
        return self._engine

    def _tasks(self, engine: docker.DockerClient) -> list[Replica]:
        """The running tasks of the service, named ``service.slot``; those of other nodes as out of reach."""
        tasks = engine.api.tasks(filters={"service": self.target.name, "desired-state": "running"})
        running = [task for task in tasks if task["Status"]["State"] == "running"]
        replicas = []
        for task in sorted(running, key=lambda task: task.get("Slot", 0)):
            name = f"{self.target.name}.{task.get('Slot') or task['NodeID']}"
            id = task["Status"]["ContainerStatus"]["ContainerID"]
            if task["NodeID"] == self._node_id:
                replicas.append(self._container(engine, name, id, task["ID"], task["Status"]["State"]))
            else:
                reason = "runs on another node, whose engine alone can tell its counters"
                replicas.append(Replica(name, id[:12], task["NodeID"], None, reason, task["ID"]))
        if not replicas:
            raise NoReplicas(f"no running task belongs to {self.target}")
        return replicas

    def _container(
        self, engine: docker.DockerClient, name: str, id: str, generation: str = "", state: str = ""
    ) -> Replica:
        def read() -> Counters | None:
            counters = self._reader(engine, id)()
            if counters is None:
                self._readers.pop(id, None)  # should it come back, its processes are others
            return counters

        def why_ended() -> str:
            return _end_of(engine, id)

        return Replica(name, id[:12], self._engine_name, read, None, generation, state, why_ended)

    def _reader(self, engine: docker.DockerClient, id: str) -> Callable[[], Counters | None]:
        """The cheapest way to read a container: the cgroup's own files, else a fast one-shot, else the stream."""
        if id not in self._readers:
            self._readers[id], how = self._choose_reader(engine, id)
            self._sampling.add(how)
        return self._readers[id]

    def _choose_reader(self, engine: docker.DockerClient, id: str) -> tuple[Callable[[], Counters | None], str]:
        try:
            about = engine.api.inspect_container(id)
        except docker.errors.NotFound:
            return (lambda: None), "docker stats, one-shot"
        try:
            limit = about["HostConfig"].get("Memory") or psutil.virtual_memory().total
            reader = CgroupReader(about["State"]["Pid"], id, limit)
            return reader.read, f"the control group's files (v{reader.version}) and /proc/PID/net/dev"
        except NoCgroup as error:
            logger.debug("%s: %s; asking the engine", id[:12], error)

        def one_shot() -> Counters | None:
            try:
                return counters_of(engine.api.stats(id, stream=False, one_shot=True))
            except docker.errors.NotFound:
                return None

        if self._is_one_shot_fast is None:
            one_shot()
            began = time.monotonic()
            one_shot()
            self._is_one_shot_fast = time.monotonic() - began < SLOW_ONE_SHOT_S
        if self._is_one_shot_fast:
            return one_shot, "docker stats, one-shot"
        frames = engine.api.stats(id, stream=True, decode=True)

        def next_frame() -> Counters | None:
            return counters_of(next(frames, {"read": YEAR_ONE}))

        return next_frame, "docker stats, stream (one a second)"


def _end_of(engine: docker.DockerClient, id: str) -> str:
    """What the engine says of a container's end."""
    try:
        state = engine.api.inspect_container(id)["State"]
    except docker.errors.NotFound:
        return "removed"
    if state.get("Running"):
        return "restarted"
    code = state.get("ExitCode")
    if state.get("OOMKilled"):
        return f"exit code {code}: out of memory"
    return f"exit code {code}" + (": killed, out of memory suspected" if code == 137 else "")


def _target_behind(host: str, connect: Callable[[], docker.DockerClient]) -> Target:
    """Who serves the port of a URL: a Swarm service, a Compose service or a container that publishes it, else the
    process of this machine that listens there."""
    name, port = _address(host)
    is_here = _is_this_machine(name)
    try:
        engine = connect()
        engine_is_here = engine.api.base_url in ("http+docker://localhost", "http+docker://localnpipe")
        target = _published(engine, port) if is_here or not engine_is_here else None
        looked = "no container or service of the Docker engine publishes it"
    except READ_FAILURES as error:
        target = None
        looked = f"no Docker engine answers ({_first_line(error)})"
    if target is None and not is_here:
        raise NoReplicas(f"{name} is another machine; name its replicas (--replicas), and its engine (DOCKER_HOST)")
    if target is None:
        pid = _listening_process(port)
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


def _process(pid: int, service_name: str | None) -> Replica:
    try:
        root = psutil.Process(pid)
    except psutil.NoSuchProcess:
        raise NoReplicas(f"no process has the ID {pid}") from None

    def read() -> Counters | None:
        try:
            tree = [root, *root.children(recursive=True)]
            times = root.cpu_times()
            ended_children = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
            return Counters(
                read_at_unix_s=time.time(),
                cpu_seconds=ended_children + sum(_cpu_seconds(one) for one in tree),
                memory_bytes=sum(_memory_bytes(one) for one in tree),
                pids=sum(one.num_threads() for one in tree),
            )
        except psutil.NoSuchProcess:
            return None

    return Replica(service_name or f"process {pid}", str(pid), platform.node(), read)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _memory_bytes(process: psutil.Process) -> int:
    """The process's proportional share (PSS), so that memory shared within the tree counts once; RSS where not told."""
    try:
        memory = process.memory_full_info()
    except psutil.AccessDenied:
        return int(process.memory_info().rss)
    return int(getattr(memory, "pss", 0) or memory.rss)


def _address(host: str) -> tuple[str, int]:
    parts = urlsplit(host)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _name(container: dict[str, Any]) -> str:
    """A container's own name, out of those in a listing, where links to it count as names too."""
    own: str = next(name for name in container["Names"] if name.count("/") == 1)
    return own.removeprefix("/")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
