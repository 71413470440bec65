"""Which replicas stand behind the target, and how to read each one's counters."""

from __future__ import annotations

import argparse
import platform
import re
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil

import addresses
from runfiles.events import (
    AUTO,
    COMPOSE_SERVICE,
    CONTAINER,
    NO_REPLICAS,
    PROCESS,
    REPLICA_KINDS,
    SWARM_SERVICE,
)

from _read_cgroup import CgroupReader
from _read_docker import READ_FAILURES, Engine, Replica, explained
from _read_process import (
    ProcessReader,
    confirmed,
    container_ids,
    eldest,
    forwarder_name,
    is_service,
    listener_with_id,
    listeners,
    process_reader,
    program_name,
)

CONNECT_TIMEOUT_S = 3.0

ALL_OPTIONS = "container:NAME, compose:PROJECT/SERVICE, swarm:SERVICE or process:PID"


class NoReplicas(Exception):
    """Nothing to sample was found. The message says where it was looked for."""


@dataclass(frozen=True)
class Target:
    """What ``--replicas`` names: a container, a Compose service, a Swarm service or a process."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def host_argument(text: str) -> str:
    """``--host`` in any form that ``addresses`` knows, as the URL that the load needs."""
    try:
        return addresses.parse(text).url
    except addresses.NotAnAddress as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def replicas_argument(text: str) -> str:
    """Checks ``--replicas`` when the command line is read, so that a slip ends the run before it begins."""
    if text not in (AUTO, NO_REPLICAS):
        try:
            _named(text)
        except NoReplicas as error:
            raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _named(text: str) -> Target:
    kind, _, name = text.partition(":")
    wrong = kind not in REPLICA_KINDS or not name
    wrong = wrong or (kind == COMPOSE_SERVICE and not re.fullmatch(r"[^/]+/[^/]+", name))
    wrong = wrong or (kind == PROCESS and not (name.isascii() and name.isdecimal()))
    if wrong:
        raise NoReplicas(f"{text!r}; expected auto, none, {ALL_OPTIONS}")
    return Target(kind, name)


class Finder:
    """Finds the replicas behind a target, again and again, as they come and go.

    ``target`` is known from the start but for ``auto``, which is looked for until it is found.

    Args:
        asked: the value of ``--replicas``, not ``none``.
        host: the URL that the load goes to, for ``auto``.
        said: what the service says of itself now (``/health``): ``replica``, the name by which it answers, and ``pid``.
            A process that does not have this ID is not taken for the service.
        other_engines: URLs of the engines of a swarm's other nodes, which alone can tell their replicas' counters.

    Raises:
        NoReplicas: ``asked`` is no target (the web UI's field is checked by nobody).
    """

    def __init__(
        self,
        asked: str,
        host: str,
        said: Callable[[], Mapping[str, Any] | None] | None,
        other_engines: Sequence[str] = (),
    ) -> None:
        self._host = host
        self._ask = said or (lambda: None)
        self._service: Mapping[str, Any] | None = None
        self._has_asked = False
        self._engine: Engine | None = None
        self._others: dict[str, Engine | None] = dict.fromkeys(other_engines)
        self._root: psutil.Process | None = None
        self._process: CgroupReader | ProcessReader | None = None
        self._name: str | None = None
        self._doubt: str | None = None
        self._is_auto = asked == AUTO
        self.target: Target | None = None if self._is_auto else _named(asked)

    def explain_unsampled(self, names: Sequence[str]) -> str:
        """Who answers by these names, and which ``--replicas`` samples them, as the second half of a sentence."""
        found: dict[str, Target] = {}
        where = "the Docker engine knows nobody"
        try:
            found = self._containers_named(names)
        except READ_FAILURES as error:
            where = f"no Docker engine tells who that is ({explained(error)}), and no process is known"
        said = self._said()
        process = listener_with_id(said.get("pid")) if said.get("replica") in names else None
        if process is not None:
            found.setdefault(said["replica"], Target(PROCESS, str(process.pid)))
        options = " or ".join(f"--replicas {one}" for one in sorted(set(map(str, found.values()))))
        unknown = [name for name in names if name not in found]
        parts = [f"use {options}"] if found else []
        parts += [f"{where} by the name {', '.join(unknown)}"] if unknown else []
        return "; ".join(parts)

    def _containers_named(self, names: Sequence[str]) -> dict[str, Target]:
        """What ``--replicas`` takes for each of these names that a container of the engine has."""
        engine = self._connect()
        is_manager = engine.is_manager()
        found: dict[str, Target] = {}
        for container in engine.client.api.containers():
            own = {_name(container), container["Id"][:12]}
            if not own & set(names):
                own |= set(engine.names_of(container["Id"]))
            found |= dict.fromkeys(own & set(names), _target_of(container, is_manager))
        return found

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
        self._has_asked = False
        has_ended = self._is_auto and self._root is not None and not _runs(self._root)
        if has_ended:  # it was restarted, or another one serves now
            self._service = None
        if self.target is None or has_ended:
            self.target = _target_behind(self._host, self._connect, self._said)
            if self._process is not None:
                self._process.close()
            self._root = self._process = self._name = None
        if self.target.kind == PROCESS:
            return [self._process_as_replica(int(self.target.name))]
        engine = self._connect()
        if self.target.kind == SWARM_SERVICE:
            return self._tasks(engine, self.target.name)
        if self.target.kind == CONTAINER:
            filters: dict[str, Any] = {"name": self.target.name}
        else:
            project, service = self.target.name.split("/")
            filters = {
                "label": [
                    f"com.docker.compose.project={project}",
                    f"com.docker.compose.service={service}",
                ]
            }
        found = {_name(one): one for one in engine.client.api.containers(filters=filters)}
        if self.target.kind == CONTAINER:  # the API's name filter matches parts of names
            found = {name: one for name, one in found.items() if name == self.target.name}
        elif not all(map(_is_one_off, found.values())):  # `docker compose run` beside `up`: another errand
            found = {name: one for name, one in found.items() if not _is_one_off(one)}
        if not found:
            raise NoReplicas(f"no running container is {self.target}")
        return [engine.container(name, one["Id"], state=one["State"]) for name, one in sorted(found.items())]

    def _process_as_replica(self, pid: int) -> Replica:
        try:
            self._root = self._root or psutil.Process(pid)
            self._process = self._process or process_reader(self._root)
        except psutil.NoSuchProcess:
            raise NoReplicas(f"no process has the ID {pid}") from None
        if not _runs(self._root):
            self._service = None  # whoever answers now is asked anew
            raise NoReplicas(f"process {pid} has ended")
        reader = self._process
        if self._name is None:
            said = self._said()
            is_it = is_service(self._root, _holders(self._host), said.get("pid"))
            self._name = str(said.get("replica") or f"process {pid}") if is_it else program_name(self._root)
            self._doubt = None if is_it else _why_no_service(self._root, said)
        return Replica(
            self._name, str(pid), platform.node(), reader.read, sources=lambda: reader.sources, doubt=self._doubt
        )

    def _said(self) -> Mapping[str, Any]:
        """What the service says of itself; if it has not answered it is asked again at the next look."""
        if self._service is None and not self._has_asked:
            self._service, self._has_asked = self._ask(), True
        return self._service or {}

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


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _target_behind(host: str, connect: Callable[[], Engine], said: Callable[[], Mapping[str, Any]]) -> Target:
    """Who serves a URL: the process of this machine that the service says it is; else the container, or the service of
    Compose or Swarm, that publishes its address and port; else whatever process listens there."""
    address = addresses.parse(host)
    name, port = address.host, address.port
    ips = _destinations(name, port)
    is_here = any(map(_is_of_this_machine, ips))
    processes = listeners(ips, port) if is_here else []
    service = said() if processes else {}
    if process := confirmed(processes, service.get("pid")):
        return Target(PROCESS, str(process.pid))
    try:
        engine = connect()
        target = _published(engine, ips, port, set(_resolved(name)) | container_ids(processes))
        at = f" at {engine.host}" if engine.host else ""
        looked = f"no container or service of the Docker engine{at} publishes {addresses.joined(name, port)}"
    except READ_FAILURES as error:
        target = None
        looked = f"no Docker engine answers ({explained(error)})"
    if target is not None:
        return target
    if not is_here:
        raise NoReplicas(
            f"{name} is another machine; name its replicas (--replicas), and its engine (DOCKER_HOST); {looked}"
        )
    if not processes:
        raise NoReplicas(f"port {port}: {looked}, and no process of this user listens on it here")
    process = eldest(processes)
    if forwarder := forwarder_name(process):
        raise NoReplicas(
            f"{forwarder} (process {process.pid}) listens on port {port} and forwards it, "
            f"so it is no replica and is not sampled; {looked}; "
            f"name what answers (--replicas {_option(service)}), or the engine that it runs on (DOCKER_HOST)"
        )
    return Target(PROCESS, str(process.pid))


def _why_no_service(process: psutil.Process, said: Mapping[str, Any]) -> str:
    """Why a process is sampled under its own name."""
    why = "/health does not tell the process ID of the service (pid), so nothing shows that this is the service"
    if type(said.get("pid")) is int:
        why = f"/health says that the service is another process ({said['pid']})"
    elif "pid" in said:
        why = "/health tells a pid that is no process ID, so nothing shows that this is the service"
    return (
        f"{program_name(process)} (process {process.pid}) is sampled under its own name: {why}; "
        f"if another one answers, name it (--replicas {_option(said)})"
    )


def _option(said: Mapping[str, Any]) -> str:
    """What ``--replicas`` takes to sample the service that says this of itself: the process if it is one of this
    machine, else all that can be named."""
    process = listener_with_id(said.get("pid"))
    return f"{PROCESS}:{process.pid}" if process else ALL_OPTIONS


def _holders(host: str) -> list[psutil.Process]:
    """The processes of this machine that hold the socket which serves a URL."""
    try:
        address = addresses.parse(host)
    except addresses.NotAnAddress:
        return []
    ips = _destinations(address.host, address.port)
    return listeners(ips, address.port) if any(map(_is_of_this_machine, ips)) else []


def _destinations(name: str, port: int) -> list[str]:
    """The IP addresses that a client of a host means: the one that it connects to (of a name that has several it takes
    the first that answers); if nobody answers, all of them; none if the name is not known."""
    try:
        with socket.create_connection((name, port), CONNECT_TIMEOUT_S) as connection:
            return [str(connection.getpeername()[0])]
    except OSError:
        return _resolved(name)


def _resolved(name: str) -> list[str]:
    try:
        return list(dict.fromkeys(str(one[4][0]) for one in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)))
    except (OSError, UnicodeError):
        return []


def _is_of_this_machine(ip: str) -> bool:
    own = {addresses.ip_of(one.address) for ones in psutil.net_if_addrs().values() for one in ones}
    asked = addresses.ip_of(ip)
    return asked is not None and (asked.is_loopback or asked in own)


def _published(engine: Engine, ips: Sequence[str], port: int, marks: Collection[str] = ()) -> Target | None:
    """Whoever publishes a TCP port at one of some IP addresses. Of an engine of this machine also a container that has
    one of ``marks`` as its own address, or as its ID because it listens on this machine's network."""
    api = engine.client.api
    machine = {addresses.ip_of(ip) for ip in _resolved(engine.host)} if engine.host else set()
    is_local = not engine.host or any(_is_of_this_machine(str(ip)) for ip in machine)
    if is_local:
        of_engine = [ip for ip in ips if _is_of_this_machine(ip)]
    elif machine:
        of_engine = [ip for ip in ips if addresses.ip_of(ip) in machine]
    else:  # only ssh knows the engine's name: it may be any other machine
        of_engine = [ip for ip in ips if not _is_of_this_machine(ip)]
    is_manager = engine.is_manager()
    if is_manager:
        services = [one for one in api.services() if _publishes(one, port)]
        if services and (of_engine or set(ips) & {one["Status"].get("Addr") for one in api.nodes()}):
            return Target(SWARM_SERVICE, services[0]["Spec"]["Name"])
    containers = api.containers()
    closeness = [_closeness(one, of_engine, port, marks if is_local else ()) for one in containers]
    if not any(closeness):
        return None
    container = containers[closeness.index(max(closeness))]
    target = _target_of(container, is_manager)
    others = [close for close, one in zip(closeness, containers, strict=True) if _target_of(one, is_manager) == target]
    # If each container of a Compose service publishes a port of its own, one alone is behind this one.
    return target if all(others) else Target(CONTAINER, _name(container))


def _publishes(service: Mapping[str, Any], port: int) -> bool:
    ports = service.get("Endpoint", {}).get("Ports") or []
    return any(one.get("PublishedPort") == port and one.get("Protocol") == "tcp" for one in ports)


def _closeness(container: Mapping[str, Any], ips: Sequence[str], port: int, marks: Collection[str]) -> int:
    """How closely a container serves a TCP port of some IP addresses of its engine's machine (``addresses.closeness``);
    as closely as can be if it has one of ``marks`` as its ID or its own address."""
    ports = container.get("Ports") or []
    published = [one.get("IP") or "" for one in ports if (one.get("PublicPort"), one.get("Type")) == (port, "tcp")]
    networks = ((container.get("NetworkSettings") or {}).get("Networks") or {}).values()
    own = {one.get(key) for one in networks for key in ("IPAddress", "GlobalIPv6Address")} | {container.get("Id")}
    if own & set(marks):
        return addresses.EXACT
    return max((addresses.closeness(at, ip) for at in published for ip in ips), default=0)


def _target_of(container: Mapping[str, Any], is_manager: bool) -> Target:
    """What ``--replicas`` takes for a container of a listing: its Swarm service (whose tasks only a manager tells), its
    Compose service, or itself."""
    labels = container.get("Labels") or {}
    if is_manager and (name := labels.get("com.docker.swarm.service.name")):
        return Target(SWARM_SERVICE, name)
    project, service = (labels.get(f"com.docker.compose.{part}") for part in ("project", "service"))
    if project and service and not _is_one_off(container):
        return Target(COMPOSE_SERVICE, f"{project}/{service}")
    return Target(CONTAINER, _name(container))


def _is_one_off(container: Mapping[str, Any]) -> bool:
    """Whether `docker compose run` made a container."""
    return str((container.get("Labels") or {}).get("com.docker.compose.oneoff")).lower() == "true"


def _name(container: Mapping[str, Any]) -> str:
    """A container's own name, out of those in a listing, where links to it count as names too."""
    own: str = next(name for name in container["Names"] if name.count("/") == 1)
    return own.removeprefix("/")
