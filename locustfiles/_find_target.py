"""Who serves a URL: the process, the container, or the service of Compose or Swarm that ``--replicas auto`` samples."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import psutil
from _replicas import ALL_OPTIONS, NoReplicas, Target
from _sockets import confirmed, container_ids, eldest, forwarder_name, listener_with_id, listeners, program_name

import addresses
from runfiles.events import COMPOSE_SERVICE, CONTAINER, PROCESS, SWARM_SERVICE

from _read_docker import READ_FAILURES, Engine, explained

CONNECT_TIMEOUT_S = 3.0


def target_behind(host: str, connect: Callable[[], Engine], said: Callable[[], Mapping[str, Any]]) -> Target:
    """Who serves a URL.

    The first of these: the process of this machine that confirms by ``said`` that it is the service (or the container
    in which it lies); the container, or the service of Compose or Swarm, that publishes the address and port; any
    process that listens there.

    Raises:
        NoReplicas: nobody is found, or only a port forwarder.
    """
    address = addresses.parse(host)
    name, port = address.host, address.port
    ips = _destinations(name, port)
    is_here = any(map(_is_of_this_machine, ips))
    processes = listeners(ips, port) if is_here else []
    service = said() if processes else {}
    if process := confirmed(processes, service.get("pid")):
        return _container_around(process, connect) or Target(PROCESS, str(process.pid))
    try:
        engine = connect()
        target = published(engine, ips, port, set(_resolved(name)) | container_ids(processes))
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
    return _unconfirmed(processes, port, service, looked)


def _container_around(process: psutil.Process, connect: Callable[[], Engine]) -> Target | None:
    """The container of the engine in which a process lies, as with ``docker run --network host``.

    None if it lies in none, or if no engine answers.
    """
    ids = container_ids([process])
    if not ids:
        return None
    try:
        engine = connect()
        containers = engine.client.api.containers()
        around = next((container for container in containers if container["Id"] in ids), None)
        return None if around is None else target_of(around, engine.is_manager())
    except READ_FAILURES:
        return None


def _unconfirmed(processes: Sequence[psutil.Process], port: int, service: Mapping[str, Any], looked: str) -> Target:
    """The process that listens on a port, though nothing shows that it is the service.

    Raises:
        NoReplicas: it is a port forwarder.
    """
    process = eldest(processes)
    if forwarder := forwarder_name(process):
        raise NoReplicas(
            f"{forwarder} (process {process.pid}) listens on port {port} and forwards it, "
            f"so it is no replica and is not sampled; {looked}; "
            f"name what answers (--replicas {_option(service)}), or the engine that it runs on (DOCKER_HOST)"
        )
    return Target(PROCESS, str(process.pid))


def why_not_service(process: psutil.Process, said: Mapping[str, Any]) -> str:
    """Why a process is sampled under its own name and not under the service's."""
    why = "the service does not tell its process ID (pid, at the path of ready), so nothing shows that this is it"
    if type(said.get("pid")) is int:
        why = f"the service says that it is another process ({said['pid']})"
    elif "pid" in said:
        why = "the service tells a pid that is no process ID, so nothing shows that this is it"
    return (
        f"{program_name(process)} (process {process.pid}) is sampled under its own name: {why}; "
        f"if another one answers, name it (--replicas {_option(said)})"
    )


def holders(host: str) -> list[psutil.Process]:
    """The processes of this machine that hold the socket which serves a URL."""
    try:
        address = addresses.parse(host)
    except addresses.NotAnAddress:
        return []
    ips = _destinations(address.host, address.port)
    return listeners(ips, address.port) if any(map(_is_of_this_machine, ips)) else []


def published(engine: Engine, ips: Sequence[str], port: int, marks: Collection[str] = ()) -> Target | None:
    """Who publishes a TCP port at one of these IP addresses.

    If the engine is on this machine, a container also counts if its own address is one of ``marks``, or its ID: the
    latter listens on this machine's network.
    """
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
        services = [service for service in api.services() if _publishes(service, port)]
        if services and (of_engine or set(ips) & {node["Status"].get("Addr") for node in api.nodes()}):
            return Target(SWARM_SERVICE, services[0]["Spec"]["Name"])
    containers = api.containers()
    closeness = [_closeness(container, of_engine, port, marks if is_local else ()) for container in containers]
    if not any(closeness):
        return None
    container = containers[closeness.index(max(closeness))]
    target = target_of(container, is_manager)
    targets = [target_of(container, is_manager) for container in containers]
    of_same = [close for close, other in zip(closeness, targets, strict=True) if other == target]
    # If each container of a Compose service publishes a port of its own, only one of them is behind this one.
    return target if all(of_same) else Target(CONTAINER, container_name(container))


def target_of(container: Mapping[str, Any], is_manager: bool) -> Target:
    """What ``--replicas`` takes for a listed container: its Swarm service (only a manager can list its tasks), its
    Compose service, or the container itself."""
    labels = container.get("Labels") or {}
    if is_manager and (name := labels.get("com.docker.swarm.service.name")):
        return Target(SWARM_SERVICE, name)
    project, service = (labels.get(f"com.docker.compose.{part}") for part in ("project", "service"))
    if project and service and not is_one_off(container):
        return Target(COMPOSE_SERVICE, f"{project}/{service}")
    return Target(CONTAINER, container_name(container))


def is_one_off(container: Mapping[str, Any]) -> bool:
    """Whether ``docker compose run`` made a container."""
    return str((container.get("Labels") or {}).get("com.docker.compose.oneoff")).lower() == "true"


def container_name(container: Mapping[str, Any]) -> str:
    """The name of a listed container. In the list, links to it count as names too."""
    own: str = next(name for name in container["Names"] if name.count("/") == 1)
    return own.removeprefix("/")


def _option(said: Mapping[str, Any]) -> str:
    """What ``--replicas`` takes for the service that says this of itself: its process if that is on this machine, else
    the list of all options."""
    process = listener_with_id(said.get("pid"))
    return f"{PROCESS}:{process.pid}" if process else ALL_OPTIONS


def _destinations(name: str, port: int) -> list[str]:
    """The IP addresses of a host that a client reaches: the one that it connects to (it takes the first that answers);
    all of them if nobody answers; none if the name is not known."""
    try:
        with socket.create_connection((name, port), CONNECT_TIMEOUT_S) as connection:
            return [str(connection.getpeername()[0])]
    except OSError:
        return _resolved(name)


def _resolved(name: str) -> list[str]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _is_of_this_machine(ip: str) -> bool:
    interfaces = psutil.net_if_addrs().values()
    own = {addresses.ip_of(address.address) for interface in interfaces for address in interface}
    asked = addresses.ip_of(ip)
    return asked is not None and (asked.is_loopback or asked in own)


def _publishes(service: Mapping[str, Any], port: int) -> bool:
    ports = service.get("Endpoint", {}).get("Ports") or []
    return any(entry.get("PublishedPort") == port and entry.get("Protocol") == "tcp" for entry in ports)


def _closeness(container: Mapping[str, Any], ips: Sequence[str], port: int, marks: Collection[str]) -> int:
    """How closely a container serves a TCP port of these IP addresses of its engine's machine
    (``addresses.closeness``). ``addresses.EXACT`` if its ID or its own address is one of ``marks``."""
    ports = container.get("Ports") or []
    at = [entry.get("IP") or "" for entry in ports if (entry.get("PublicPort"), entry.get("Type")) == (port, "tcp")]
    networks = ((container.get("NetworkSettings") or {}).get("Networks") or {}).values()
    own = {network.get(key) for network in networks for key in ("IPAddress", "GlobalIPv6Address")}
    if (own | {container.get("Id")}) & set(marks):
        return addresses.EXACT
    return max((addresses.closeness(listens, ip) for listens in at for ip in ips), default=0)
