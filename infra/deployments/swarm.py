"""The service as a Swarm service behind the routing mesh, with one or more replicas."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import docker
from docker.types import EndpointSpec, Mount, Privileges, Resources, RestartPolicy, RollbackConfig, UpdateConfig

from infra.deployments.confinement import (
    CPU_NS,
    HEALTHCHECK,
    METRICS_PATH,
    PIDS,
    PORT,
    RESERVED_MEMORY_BYTES,
    SECOND_NS,
    STOP_S,
    STOP_SIGNAL,
    TMP_BYTES,
    app_volume,
    user,
)
from infra.deployments.docker_engine import Engine
from infra.deployments.docker_run import copy_file, last_words, still_there
from infra.deployments.images import with_tag
from infra.deployments.ownership import LABEL, is_ours, labels, why_not_ours
from infra.deployments.service import Service
from infra.deployments.settings import Limits, Settings
from infra.deployments.waiting import until_healthy, until_true
from infra.errors import DeploymentError
from infra.last_words import tidy

NAME = "llm-inference-service"
MONITOR_NS = 10 * SECOND_NS
"""How long a replica is watched after its update before the next one has its turn."""

GONE_S = 20.0
"""A service none of whose tasks runs for so long is gone. One that restarts (after 2 s, and as long as its model takes)
is not: that is part of what is measured."""

ANSWER_S = 30.0
"""A port that answers nobody this long after all tasks run will not do so later."""

GATEWAY = "docker_gwbridge"
HAD_GATEWAY = f"{LABEL}.had-gateway"
"""A label on a swarm of ours: whether the bridge, which leaving a swarm leaves behind, was there before it."""


def why_not(engine: Engine) -> str | None:
    found = _find(engine)
    if found is None:
        return None
    if is_ours(_labels_of(found)):
        return still_there(f"service {NAME}")
    return why_another_has_it(engine) or (
        f"a Swarm service named {NAME} is there that Fourfold did not make; "
        f"remove it (docker service rm {NAME}) and run again"
    )


def why_another_has_it(engine: Engine) -> str | None:
    """Which other checkout has the service, or made the swarm, and how to remove that; None where none did."""
    found = _find(engine)
    whose = found and why_not_ours(_labels_of(found), f"service {NAME}", "swarm-1", f"docker service rm {NAME}")
    return whose or why_not_ours(
        _swarm_labels(engine), "the swarm that this engine is in", "swarm-1", "docker swarm leave --force"
    )


def start(engine: Engine, settings: Settings, url: str, replicas: int) -> Service:
    if engine.swarm().get("LocalNodeState") != "active":
        _make_swarm(engine)
    try:
        service = engine.client.services.create(
            with_tag(settings.image),  # as the docker command does: else its `service scale` would see a new image
            name=NAME,
            mode=docker.types.ServiceMode("replicated", replicas=replicas),
            endpoint_spec=EndpointSpec(ports={settings.ports["swarm"]: PORT}),
            env=["REPLICA_NAME={{.Service.Name}}.{{.Task.Slot}}"],
            labels=labels("swarm"),
            container_labels=labels("swarm"),
            user=user(),
            read_only=True,
            mounts=[app_volume(labels("swarm")), Mount("/tmp", None, type="tmpfs", tmpfs_size=TMP_BYTES)],  # noqa: S108  in the container
            cap_drop=["ALL"],
            privileges=_no_new_privileges(),
            resources=_resources(settings),
            restart_policy=RestartPolicy("any", delay=2 * SECOND_NS),
            update_config=UpdateConfig(
                parallelism=1, order="start-first", monitor=MONITOR_NS, failure_action="rollback"
            ),
            rollback_config=RollbackConfig(parallelism=1, order="start-first", monitor=MONITOR_NS),
            healthcheck=HEALTHCHECK,
            init=True,
            stop_signal=STOP_SIGNAL,
            stop_grace_period=STOP_S * SECOND_NS,
        )
    except docker.errors.APIError as error:
        raise DeploymentError(f"the engine refused the service: {error.explanation or error}") from error

    def running() -> bool:
        return len(_running_tasks(service)) == replicas

    if not until_true(running, settings.start_timeout_s):
        raise DeploymentError(
            f"{len(_running_tasks(service))} of {replicas} replicas run after {settings.start_timeout_s:g} s: "
            f"{_last_task(service)}; try docker service ps --no-trunc {NAME}"
        )

    def evidence() -> str:
        return (
            "all tasks run, yet the published port answers nobody: the routing mesh does not work here "
            "(is there IPVS in the engine's kernel? does --reach name the right address?)"
        )

    until_healthy(url, ANSWER_S, evidence)
    return Service(
        f"swarm:{NAME}",
        lambda to: _copy_metrics(engine, service, to),
        _limits_of(service),
        gone=_Watch(engine, service).why_gone,
        last_words=lambda: _last_words(engine),
    )


def remove(engine: Engine) -> list[str]:
    removed = []
    try:
        found = _find(engine)
        if found is not None and is_ours(_labels_of(found)):
            found.remove()
            removed.append(f"service {NAME}")
            if not until_true(lambda: not _containers(engine), STOP_S + 20):
                raise DeploymentError(f"containers of {NAME} are still there; try docker ps and docker rm -f")
    finally:
        removed += _leave_own_swarm(engine)
    return removed


def _no_new_privileges() -> Privileges:
    """docker-py has no argument for it yet; engines before 25 pass over it."""
    privileges = Privileges()
    privileges["NoNewPrivileges"] = True
    return privileges


def _resources(settings: Settings) -> Resources:
    """docker-py has no argument for the PIDs yet."""
    resources = Resources(
        cpu_limit=None if settings.cpus is None else round(settings.cpus * CPU_NS),
        mem_limit=settings.memory_bytes,
        mem_reservation=RESERVED_MEMORY_BYTES,
    )
    resources["Limits"]["Pids"] = PIDS
    return resources


def _limits_of(service: Any) -> Limits:
    """What the swarm holds each replica to: its containers may be on other nodes, whose engines are not asked here."""
    service.reload()
    said = service.attrs["Spec"]["TaskTemplate"]["Resources"]["Limits"]
    cpus, memory_bytes = said.get("NanoCPUs"), said.get("MemoryBytes")
    return Limits(cpus / CPU_NS if cpus else None, memory_bytes or None)


def _make_swarm(engine: Engine) -> None:
    had_gateway = bool(engine.client.networks.list(names=[GATEWAY]))
    # Loopback alone: this swarm is for one machine, and nobody else's to join.
    address = None if engine.is_remote else "127.0.0.1"
    try:
        engine.client.swarm.init(
            advertise_addr=address,
            listen_addr="0.0.0.0:2377" if address is None else f"{address}:2377",
            labels=labels("swarm") | {HAD_GATEWAY: "yes" if had_gateway else "no"},
        )
    except docker.errors.APIError as error:
        raise DeploymentError(f"the engine made no swarm: {error.explanation or error}") from error


def _leave_own_swarm(engine: Engine) -> list[str]:
    """Leave the swarm if Fourfold made it, and take away the bridge that came with it."""
    made_with = _swarm_labels(engine)
    if not is_ours(made_with):
        return []
    if others := _others_in_swarm(engine):
        raise DeploymentError(
            f"the swarm that Fourfold made now holds what it did not make ({', '.join(others)}), and stays; "
            "when that is gone, leave it (docker swarm leave --force)"
        )
    engine.client.swarm.leave(force=True)
    if made_with.get(HAD_GATEWAY) == "no":
        for network in engine.client.networks.list(names=[GATEWAY]):
            if network.name == GATEWAY:
                network.remove()
    return ["the swarm that Fourfold made"]


def _others_in_swarm(engine: Engine) -> list[str]:
    """What would be lost with the swarm: services, secrets, configs and nodes that somebody has added to it."""
    held = [f"service {one.name}" for one in engine.client.services.list()]
    held += [f"secret {one.name}" for one in engine.client.secrets.list()]
    held += [f"config {one.name}" for one in engine.client.configs.list()]
    nodes = len(engine.client.nodes.list())
    return held + ([f"{nodes} nodes"] if nodes > 1 else [])


def _find(engine: Engine) -> Any:
    if not engine.swarm().get("ControlAvailable"):
        return None
    found = engine.client.services.list(filters={"name": NAME})
    return next((one for one in found if one.name == NAME), None)


def _labels_of(service: Any) -> dict[str, str]:
    return service.attrs["Spec"].get("Labels") or {}


def _swarm_labels(engine: Engine) -> dict[str, str]:
    """Of the swarm that this engine manages; none where it manages none."""
    if not engine.swarm().get("ControlAvailable"):
        return {}
    engine.client.swarm.reload()
    return engine.client.swarm.attrs["Spec"].get("Labels") or {}


def _running_tasks(service: Any) -> list[dict[str, Any]]:
    tasks = service.tasks(filters={"desired-state": "running"})
    return [task for task in tasks if task["Status"]["State"] == "running"]


class _Watch:
    """Whether a service still runs; remembers since when none of its tasks does."""

    def __init__(self, engine: Engine, service: Any) -> None:
        self._engine = engine
        self._service = service
        self._ran_at = time.monotonic()

    def why_gone(self) -> str | None:
        """Why the service no longer runs, with its last words; None while it does, or may do so again soon."""
        try:
            if _running_tasks(self._service):
                self._ran_at = time.monotonic()
                return None
            since_s = time.monotonic() - self._ran_at
            if since_s < GONE_S:
                return None
            return (
                f"no replica of service {NAME} has run for {since_s:.0f} s: {_last_task(self._service)}; "
                f"last words: {_last_words(self._engine)}"
            )
        except docker.errors.NotFound:
            return f"service {NAME} was removed"


def _last_words(engine: Engine) -> str:
    """The last line of the newest replica that this engine has; of one that has ended, where there is one."""
    containers = _containers(engine)  # the newest first
    ended = [one for one in containers if one.status != "running"]
    return last_words((ended or containers)[0]) if containers else "(none on this engine)"


def _last_task(service: Any) -> str:
    """The newest task's state, and its error; one that has an error tells more than its successor."""
    tasks = sorted(service.tasks(), key=lambda task: ("Err" in task["Status"], str(task["UpdatedAt"])))
    if not tasks:
        return "no task was made"
    status = tasks[-1]["Status"]
    return f"the last task is {status['State']} ({tidy(status.get('Err') or status.get('Message', 'no message'))})"


def _containers(engine: Engine) -> list[Any]:
    filters = {"label": f"com.docker.swarm.service.name={NAME}"}
    return list(engine.client.containers.list(all=True, filters=filters, ignore_removed=True))


def _copy_metrics(engine: Engine, service: Any, to: Path) -> list[Path]:
    """Each replica's own file, as far as the replica runs on this engine."""
    files = []
    for container in _containers(engine):
        if container.status == "running":
            replica = re.sub(r"\.[a-z0-9]{25}$", "", container.name)
            files.append(copy_file(container, METRICS_PATH, to / f"{Path(METRICS_PATH).stem}.{replica}.csv"))
    return sorted(files)
