"""A Swarm service that runs, whoever made it: its tasks, limits, containers and metrics files, and why it is gone."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import docker

from infra.deployments.confinement import CPU_NS
from infra.deployments.containers import METRICS_FILE, why_nobody_reaches
from infra.deployments.containers import copy_metrics as copy_metrics_of
from infra.deployments.containers import last_words as last_words_of
from infra.deployments.docker_engine import Engine
from infra.deployments.waiting import until_true
from infra.errors import DeploymentError
from runfiles.lines import tidy
from runfiles.records import Limits
from servicefile.service_file import ServiceFile

GONE_S = 20.0
"""A service counts as gone if none of its tasks has run for so long. A task that restarts takes less: 2 s, and the time
to load the model. Such restarts are part of what is measured."""


def find(engine: Engine, name: str) -> Any:
    """The service of this name; None if there is none, or if the engine can't tell."""
    if not engine.swarm().get("ControlAvailable"):
        return None
    found = engine.client.services.list(filters={"name": name})  # the filter also takes what begins with it
    return next((service for service in found if service.name == name), None)


def labels_of(service: Any) -> dict[str, str]:
    return service.attrs["Spec"].get("Labels") or {}


def wait_for_tasks(service: Any, replicas: int, seconds: float) -> None:
    """
    Raises:
        DeploymentError: some do not run within this time.
    """
    if until_true(lambda: len(_running_tasks(service)) == replicas, seconds):
        return
    raise DeploymentError(
        f"{len(_running_tasks(service))} of {replicas} replicas run after {seconds:g} s: "
        f"{_last_task(service)}; try docker service ps --no-trunc {service.name}"
    )


def limits_of(service: Any) -> Limits:
    """Each replica's limits as the swarm knows them. Its containers may be on nodes that can't be asked here."""
    service.reload()
    said = service.attrs["Spec"]["TaskTemplate"].get("Resources", {}).get("Limits", {})
    cpus, memory_bytes = said.get("NanoCPUs"), said.get("MemoryBytes")
    return Limits(cpus=cpus / CPU_NS if cpus else None, memory_bytes=memory_bytes or None)


def has_healthcheck(service: Any) -> bool:
    """Whether the service itself says how its replicas are watched. An image may say it too."""
    return bool(service.attrs["Spec"]["TaskTemplate"]["ContainerSpec"].get("Healthcheck"))


def containers_of(service: Any) -> list[Any]:
    """The service's containers on this engine, the newest first."""
    filters = {"label": f"com.docker.swarm.service.name={service.name}"}
    return list(service.client.containers.list(all=True, filters=filters, ignore_removed=True))


class Watch:
    """Watches whether a service still runs, and remembers when one of its tasks ran last."""

    def __init__(self, service: Any) -> None:
        self._service = service
        self._ran_at = time.monotonic()

    def why_gone(self) -> str | None:
        """Why the service no longer runs, with its last words. None while it runs, or may run again soon."""
        try:
            if _running_tasks(self._service):
                self._ran_at = time.monotonic()
                return None
            since_s = time.monotonic() - self._ran_at
            if since_s < GONE_S:
                return None
            return (
                f"no replica of service {self._service.name} has run for {since_s:.0f} s: "
                f"{_last_task(self._service)}; last words: {last_words(self._service)}"
            )
        except docker.errors.NotFound:
            return f"service {self._service.name} was removed"


def last_words(service: Any) -> str:
    """The last line of the newest replica on this engine; of one that has ended, if there is one."""
    found = containers_of(service)
    ended = [container for container in found if container.status != "running"]
    return last_words_of((ended or found)[0]) if found else "(none on this engine)"


def why_not_reached(service: Any, port: int) -> str | None:
    """Why a replica on this engine is not reached at the service's port. None if nothing shows that."""
    running = [container for container in containers_of(service) if container.status == "running"]
    return next((reason for each in running if (reason := why_nobody_reaches(each, port))), None)


def metrics_place(service: Any, said: ServiceFile) -> str | None:
    """Where a person finds the metrics files; None: the service writes none."""
    if said.metrics.variable is None:
        return None
    return (
        f"in each replica's container; list them with docker ps --filter label=com.docker.swarm.service.name="
        f"{service.name}, copy one file with docker cp CONTAINER:{said.metrics.folder or 'FOLDER'}/{METRICS_FILE} ."
    )


def copy_metrics(service: Any, said: ServiceFile, to: Path) -> list[Path]:
    """Copy the metrics files of those replicas that run on this engine into a folder."""
    files: list[Path] = []
    for container in containers_of(service):
        if container.status == "running":
            replica = re.sub(r"\.[a-z0-9]{25}$", "", container.name)
            files += copy_metrics_of(container, said, to / f"{Path(METRICS_FILE).stem}.{replica}.csv")
    return sorted(files)


def _running_tasks(service: Any) -> list[dict[str, Any]]:
    tasks = service.tasks(filters={"desired-state": "running"})
    return [task for task in tasks if task["Status"]["State"] == "running"]


def _last_task(service: Any) -> str:
    """The state and the error of the newest task, or of the newest one that has an error."""
    tasks = sorted(service.tasks(), key=lambda task: ("Err" in task["Status"], str(task["UpdatedAt"])))
    if not tasks:
        return "no task was made"
    status = tasks[-1]["Status"]
    return f"the last task is {status['State']} ({tidy(status.get('Err') or status.get('Message', 'no message'))})"
