"""The service with ``docker run``, its port published on loopback."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker

from infra.deployments.change import (
    RESTART,
    Change,
    Changeable,
    Made,
    change_container,
    changeable_containers,
    unpause,
)
from infra.deployments.confinement import (
    CPU_NS,
    PIDS,
    STOP_SIGNAL,
    TMP_BYTES,
    healthcheck,
    mounts,
    user,
)
from infra.deployments.containers import (
    METRICS_FILE,
    copy_metrics,
    environment_of,
    last_error_of,
    last_words,
    limits_of,
    log_of,
    metrics_place,
    why_gone,
    why_nobody_reaches,
)
from infra.deployments.cpus import why_containers_not_pinned
from infra.deployments.deployment import Facts
from infra.deployments.docker_engine import Engine, connect
from infra.deployments.files_here import why_mounts_here
from infra.deployments.ownership import is_ours, labels, still_there, why_not_ours
from infra.deployments.preflight import why_no_room, why_no_service_image, why_port_is_taken
from infra.deployments.reach import published_at, why_out_of_reach
from infra.deployments.ready import until_ready
from infra.deployments.service import Service
from infra.deployments.settings import Settings
from infra.errors import DeploymentError
from runfiles.events import CONTAINER, UPDATE

NAME = "llm-inference-container"


@dataclass(frozen=True)
class DockerRun:
    """One container in a network of its own; Docker forwards a port of this machine to it."""

    facts: Facts

    def why_not(self, settings: Settings) -> str | None:
        engine = connect()
        return (
            why_no_service_image(settings)
            or why_name_is_taken(engine, NAME, self.facts)
            or why_out_of_reach(self.facts, settings, engine)
            or why_mounts_here(settings, engine)
            or why_containers_not_pinned(settings.service_cpus, engine)
            or why_no_room(self.facts, engine)
            or why_port_is_taken([published_at(engine, self.facts, settings)], self.facts.port(settings), engine)
        )

    def start(self, settings: Settings, folder: Path) -> Service:
        engine = connect()
        port = settings.service.port
        published = {port: (published_at(engine, self.facts, settings), self.facts.port(settings))}
        network = Network({"port_bindings": published}, ports=[port])
        return run_container(engine, NAME, self.facts, settings, network)

    def log(self, folder: Path) -> str:
        return log_of_container(connect(), NAME)

    def running(self, settings: Settings) -> Changeable | None:
        return running_container(connect(), NAME)

    def remove(self, settings: Settings) -> list[str]:
        return remove_container(connect(), NAME)

    def why_another_has_it(self) -> str | None:
        return why_another_has_container(connect(), NAME, self.facts)


@dataclass(frozen=True)
class Network:
    """How a container is reached: options of docker-py's ``create_host_config``, the ports that it exposes, and the
    service's variables."""

    host_config: dict[str, Any]
    ports: list[int] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


def run_container(engine: Engine, name: str, facts: Facts, settings: Settings, network: Network) -> Service:
    """Start a container of the service and wait until it is ready."""
    try:
        container = _create(engine, name, facts, settings, network)
        container.start()
    except docker.errors.APIError as error:
        raise DeploymentError(f"the engine refused docker run: {error.explanation or error}") from error

    def evidence() -> str:
        if reason := why_gone(container):
            raise DeploymentError(reason)
        return f"the container is {container.status}; its log says: {last_error_of(container)}"

    def change(change: Change) -> Made:
        if change.action != UPDATE:
            return change_container(change, [engine.client.containers.get(name)])
        remove_container(engine, name)
        _create(engine, name, facts, settings, network).start()
        return Made("", f"docker stop, docker rm and docker run of {name}")

    service = settings.service
    until_ready(
        facts.url(settings),
        service,
        settings.start_timeout_s,
        evidence,
        lambda: why_nobody_reaches(container, service.port),
    )
    return Service(
        f"{CONTAINER}:{name}",
        lambda to: copy_metrics(container, service, to / METRICS_FILE),
        metrics_place(container, service),
        limits_of(container),
        gone=lambda: why_gone(container),
        last_words=lambda: last_words(container),
        change=change,
    )


def _create(engine: Engine, name: str, facts: Facts, settings: Settings, network: Network) -> Any:
    api = engine.client.api
    own = labels(facts.kind)
    service, confined = settings.service, settings.service.container
    tmp = {"/tmp": f"size={TMP_BYTES // 1024**2}m"}  # noqa: S108  inside the container
    host_config = api.create_host_config(
        read_only=confined.read_only,
        mounts=mounts(confined, own),
        tmpfs=tmp if confined.read_only else None,
        cap_drop=["ALL"] if confined.hardened else None,
        security_opt=["no-new-privileges:true"] if confined.hardened else None,
        mem_limit=settings.memory_bytes,
        nano_cpus=None if settings.cpus is None else round(settings.cpus * CPU_NS),
        cpuset_cpus=settings.service_cpus,
        pids_limit=PIDS if confined.hardened else None,
        init=True,
        restart_policy=RESTART if settings.restarts else None,
        **network.host_config,
    )
    # The convenience of containers.run() has no stop_timeout.
    created = api.create_container(
        settings.image,
        name=name,
        ports=network.ports,
        environment=environment_of(service) | network.environment,
        labels=own,
        user=user(confined),
        healthcheck=healthcheck(confined),
        stop_signal=STOP_SIGNAL,
        stop_timeout=confined.stop_s,
        use_config_proxy=False,  # a proxy of Docker's config.json is for downloads
        host_config=host_config,
    )
    return engine.client.containers.get(created["Id"])


def log_of_container(engine: Engine, name: str) -> str:
    """The end of what the container of this name has written, if this checkout made it."""
    container = _find(engine, name)
    return "" if container is None or not is_ours(container.labels) else log_of([container])


def running_container(engine: Engine, name: str) -> Changeable | None:
    """The container of this name, if this checkout made it and it runs."""
    container = _find(engine, name)
    is_there = container is not None and is_ours(container.labels)
    return changeable_containers(f"{CONTAINER}:{name}", [container] if is_there else [])


def remove_container(engine: Engine, name: str) -> list[str]:
    """Stop and remove the container of this name if this checkout made it."""
    container = _find(engine, name)
    if container is None or not is_ours(container.labels):
        return []
    unpause([container])
    container.stop(timeout=container.attrs["Config"].get("StopTimeout"))
    container.remove(v=True, force=True)
    return [f"container {name}"]


def why_name_is_taken(engine: Engine, name: str, facts: Facts) -> str | None:
    """Which container has the name already, and how to remove it. None if there is none."""
    container = _find(engine, name)
    if container is None:
        return None
    if is_ours(container.labels):
        return still_there(f"container {name}", facts.name)
    return why_another_has_container(engine, name, facts) or (
        f"there is a container named {name} that Fourfold did not make; "
        f"rename or remove it (docker rename {name} OTHER) and run again"
    )


def why_another_has_container(engine: Engine, name: str, facts: Facts) -> str | None:
    """Which other checkout has the container of this name, and how to remove it. None if none has."""
    container = _find(engine, name)
    by_hand = f"docker rm --force --volumes {name}"
    return container and why_not_ours(container.labels, f"container {name}", facts.name, by_hand)


def _find(engine: Engine, name: str) -> Any:
    try:
        return engine.client.containers.get(name)
    except docker.errors.NotFound:
        return None
