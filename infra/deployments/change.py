"""Changes to a deployment that runs: a replica is killed, stopped or paused, all get another CPU limit; a Swarm service
is scaled or updated."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from infra.deployments.confinement import CPU_NS
from infra.errors import DeploymentError
from runfiles.deployments import COMPOSE_PROXY, HOST, SWARM
from runfiles.events import CPU, DRAIN, KILL, PAUSE, RESUME, SCALE, SPIKE, STOP, UPDATE

OF_ONE_REPLICA = (KILL, STOP, PAUSE)
OF_ONE_CONTAINER = (*OF_ONE_REPLICA, UPDATE, CPU)
OF_KIND: Mapping[str, Sequence[str]] = {
    SWARM: (*OF_ONE_REPLICA, SCALE, UPDATE, CPU, DRAIN),
    COMPOSE_PROXY: (*OF_ONE_REPLICA, CPU),
    HOST: OF_ONE_REPLICA,
}
"""Kind of deployment -> what can be changed; of the others, all single containers, ``OF_ONE_CONTAINER``. The load of
each can have a spike."""

WHY_NOT = {
    SCALE: "it is a single process or container, or stands behind a proxy that knows its replicas from the start",
    UPDATE: "nobody replaces a host process, and a proxy knows its replicas only from the start",
    CPU: "a host process has no CPU limit",
    DRAIN: "only a swarm has nodes",
}

ALL_ITS_PROCESSES = ["sh", "-c", "kill -KILL -1"]
"""Ends all processes of a container but the first, by SIGKILL, as the kernel does when the memory is used up."""

RESTART = {"Name": "unless-stopped"}
"""What ``docker run --restart unless-stopped`` sets: of an experiment with changes, so that the engine restarts
what has died."""


@dataclass(frozen=True)
class Change:
    """What is changed, ``at_s`` after the measured part of a load began (runfiles.records.ChangeRecord)."""

    at_s: float
    action: str
    replica: int | None = None
    seconds: float | None = None
    replicas: int | None = None
    cpus: float | None = None
    times: float | None = None


@dataclass(frozen=True)
class Made:
    """What was done. ``replica``: to which one, by the name that its samples have; empty: to all."""

    replica: str
    detail: str


MakeChange = Callable[[Change], Made]


@dataclass(frozen=True)
class Changeable:
    """What this checkout has started, in whatever process, and what of it runs now.

    Args:
        targets: what ``--replicas`` of the locustfiles may call it.
        names: its replicas that run, by the names that their samples have, in the order of their numbers; none: it is
            stopped.
        change: changes it.
        replicas: how many replicas a Swarm service is to have; None: it is none.
    """

    targets: tuple[str, ...]
    names: tuple[str, ...]
    change: MakeChange
    replicas: int | None = None


PAUSED = "paused"
RUNS = ("running", PAUSED)
"""The states of a container that can be changed."""


def that_run(containers: Sequence[Any]) -> list[Any]:
    """Those of a deployment's containers that run, in the order of their numbers."""
    return sorted((each for each in containers if each.status in RUNS), key=lambda each: str(each.name))


def changeable_containers(target: str, containers: Sequence[Any]) -> Changeable | None:
    """A deployment that consists of containers of this checkout; None: there are none."""
    running = that_run(containers)
    names = tuple(replica_name(each) for each in running)
    return Changeable((target,), names, lambda change: change_container(change, running)) if containers else None


def replica_name(container: Any) -> str:
    """The name of a replica's samples: that of its container, without what Swarm adds for each task."""
    return re.sub(r"\.[a-z0-9]{25}$", "", container.name)


def actions_of(kind: str) -> Sequence[str]:
    """What can be changed in a deployment of this kind."""
    return (*OF_KIND.get(kind, OF_ONE_CONTAINER), SPIKE)


def no_change(change: Change) -> Made:
    """Of a service whose deployment can't be changed."""
    raise DeploymentError(f"{change.action} is not possible here")


def change_process(change: Change, process: psutil.Process) -> Made:
    """Change the host process, and the processes that it has started.

    Raises:
        DeploymentError: it has ended.
    """
    try:
        family = [process, *process.children(recursive=True)]
        for each in family if change.action != STOP else family[:1]:
            if change.action == KILL:
                each.kill()
            elif change.action == STOP:
                each.terminate()
            elif change.action == PAUSE:
                each.suspend()
            else:
                each.resume()
    except psutil.NoSuchProcess as error:
        raise DeploymentError(f"process {process.pid} has ended") from error
    signals = {KILL: "SIGKILL", STOP: "SIGTERM", PAUSE: "SIGSTOP", RESUME: "SIGCONT"}
    return Made(HOST, f"{signals[change.action]} to process {process.pid}")


def change_container(change: Change, containers: Sequence[Any]) -> Made:
    """Change one of a deployment's containers, which stand in their order, or the CPU limit of all.

    Raises:
        DeploymentError: there is no such replica, or it is paused and has to go on first, or the reverse.
    """
    if change.action == CPU:
        for container in containers:
            _limit_cpus(container, change.cpus or 0.0)
        return Made("", f"docker update --cpus {change.cpus:g}")
    number = change.replica or 1
    if number > len(containers):
        raise DeploymentError(f"there is no replica {number}, only {len(containers)}")
    container = containers[number - 1]
    replica = replica_name(container)
    container.reload()
    if reason := _why_not_now(change.action, is_paused=container.status == PAUSED):
        raise DeploymentError(f"{replica} {reason}")
    if change.action == STOP:
        container.stop(timeout=container.attrs["Config"].get("StopTimeout"))
        return Made(replica, "docker stop")
    if change.action == PAUSE:
        container.pause()
        return Made(replica, "docker pause")
    if change.action == RESUME:
        container.unpause()
        return Made(replica, "docker unpause")
    return Made(replica, _kill(container))


def _why_not_now(action: str, *, is_paused: bool) -> str | None:
    if action == RESUME:
        return None if is_paused else "is not paused"
    if not is_paused:
        return None
    return "is paused already" if action == PAUSE else "is paused; resume it first"


def _limit_cpus(container: Any, cpus: float) -> None:
    """As ``docker update --cpus``; docker-py only knows quotas, which the engine refuses beside ``--cpus``."""
    api = container.client.api
    url = api._url("/containers/{0}/update", container.id)
    api._raise_for_status(api._post_json(url, data={"NanoCpus": round(cpus * CPU_NS)}))


def _kill(container: Any) -> str:
    """End a container as a crash does. ``docker kill`` is no crash: the engine then restarts nothing."""
    if container.attrs["HostConfig"].get("Init"):
        code, _ = container.exec_run(ALL_ITS_PROCESSES)
        if code != 126 and code != 127:  # noqa: PLR1714  126 and 127: there is no shell
            return "SIGKILL to all its processes"
    container.kill()
    return "docker kill"


def change_swarm(change: Change, service: Any, containers: Callable[[], Sequence[Any]]) -> Made:
    """Change a Swarm service, or one of its replicas on this engine.

    Raises:
        DeploymentError: as in ``change_container``.
    """
    service.reload()
    if change.action == CPU:
        resources = service.attrs["Spec"]["TaskTemplate"].get("Resources") or {}
        limits = (resources.get("Limits") or {}) | {"NanoCPUs": round((change.cpus or 0.0) * CPU_NS)}
        service.update(resources=resources | {"Limits": limits}, fetch_current_spec=True)
        return Made("", f"docker service update --limit-cpu {change.cpus:g} {service.name}")
    if change.action == SCALE:
        service.scale(change.replicas)
        return Made("", f"docker service scale {service.name}={change.replicas}")
    if change.action == UPDATE:
        service.force_update()
        return Made("", f"docker service update --force {service.name}")
    return change_container(change, that_run(containers()))


def unpause(containers: Sequence[Any]) -> None:
    """Let those go on that are paused: the engine can't stop them."""
    for container in containers:
        if container.status == PAUSED:
            container.unpause()
