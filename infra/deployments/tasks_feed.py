"""Tells a monitor that has no Docker socket which tasks a Swarm service has: lines of ``runfiles.tasks``."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator
from typing import Any

import docker

from infra.deployments.docker_engine import API_FAILURES
from runfiles.lines import tidy
from runfiles.tasks import RUNNING, SILENT_S, Task, TasksLine

LOOK_EVERY_S = 1.0

logger = logging.getLogger("fourfold.tasks")


def tasks_of(
    client: docker.DockerClient, service: str, nodes: dict[str, str], told: Collection[str] = ()
) -> tuple[Task, ...]:
    """The service's tasks that run now, and those of ``told`` that the manager still remembers, by their IDs.

    Args:
        nodes: host names by node ID. Those of new nodes are added.

    Raises:
        docker.errors.APIError and others of ``API_FAILURES``: there is no such service, or the manager does not answer.
    """
    found = []
    for task in client.api.tasks(filters={"service": service}):
        container = (task["Status"].get("ContainerStatus") or {}).get("ContainerID")
        if not container or (task["Status"]["State"] != RUNNING and task["ID"] not in told):
            continue
        if task["NodeID"] not in nodes:
            nodes.update({node["ID"]: node["Description"]["Hostname"] for node in client.api.nodes()})
        found.append(_task(task, service, container, nodes.get(task["NodeID"], task["NodeID"])))
    return tuple(sorted(found, key=lambda task: (task.name, task.task_id)))


def task_lines(client: docker.DockerClient, service: str) -> Iterator[str]:
    """Lines for the monitor, for ever: whoever takes them waits up to ``SILENT_S`` for the next.

    While the manager does not answer no line comes, which the monitor notes as a gap.
    """
    nodes: dict[str, str] = {}
    before: tuple[Task, ...] | None = None
    told_at_s = -SILENT_S
    while True:
        try:
            now = tasks_of(client, service, nodes, {task.task_id for task in before or ()})
        except API_FAILURES as error:
            logger.debug("no tasks of %s: %s", service, error)
        else:
            if now != before or time.monotonic() - told_at_s > SILENT_S - LOOK_EVERY_S:
                yield TasksLine(at_unix_s=time.time(), tasks=now if now != before else None).to_line()
                before, told_at_s = now, time.monotonic()
        time.sleep(LOOK_EVERY_S)


def _task(task: dict[str, Any], service: str, container: str, node: str) -> Task:
    status = task["Status"]
    return Task(
        name=f"{service}.{task.get('Slot') or task['NodeID']}",
        task_id=task["ID"],
        container_id=container,
        node_id=task["NodeID"],
        node=node,
        state=status["State"],
        why=None if status["State"] == RUNNING else _why_ended(task),
    )


def _why_ended(task: dict[str, Any]) -> str:
    """What the manager says of a task's end, such as ``failed: task: non-zero exit (137)``."""
    status = task["Status"]
    code = (status.get("ContainerStatus") or {}).get("ExitCode")
    said = status.get("Err") or status.get("Message") or ""
    code = f", exit code {code}" if code is not None and f"({code})" not in said else ""
    return tidy(f"{status['State']}: {said}{code}")
