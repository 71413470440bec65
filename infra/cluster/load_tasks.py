"""The tasks of the stack of a load: whether they have started, and which of them were lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from infra.deployments.docker_engine import API_FAILURES, Engine
from infra.deployments.swarm_service import containers_of, find
from infra.deployments.swarm_stack import Stack
from infra.deployments.waiting import until_true
from infra.errors import DeploymentError
from runfiles.lines import tidy

STACK = Stack("fourfold-load", "load", "--all")
MASTER, WORKER = "master", "worker"
"""The services of the stack."""

IMAGE = "fourfold-load"

START_S = 120.0
"""A task that does not run after so long, or a worker that has not reached its master, does not start."""

PLACE_S = 10.0
"""A task that the swarm has not placed on a node after so long has none that meets its constraint."""

NEVER_RUNS = ("rejected", "failed", "orphaned", "shutdown", "remove")
"""What becomes of a task that does not run, and will not (SwarmKit, api/types.proto), but for one that is complete."""


class Tasks:
    """The tasks of a stack that was deployed."""

    def __init__(self, engine: Engine, workers: int) -> None:
        self._engine = engine
        self._services = {name: find(engine, STACK.service_name(name)) for name in (MASTER, WORKER)}
        self._workers = workers
        self._told: set[str] = set()

    def master(self) -> Any:
        """The master's container; None: there is none yet."""
        return next(iter(containers_of(self._services[MASTER])), None)

    def all_run(self) -> bool:
        """Whether master and workers run, or have run."""
        running = [
            task for name in self._services for task in self._of(name) if _state(task) in ("running", "complete")
        ]
        return len(running) == self._workers + 1

    def has_unplaced(self) -> bool:
        """Whether the swarm finds no node for one."""
        return any(
            _state(task) == "pending" and task["Status"].get("Err")
            for name in self._services
            for task in self._of(name)
        )

    def lost(self) -> list[str]:
        """Those that do not run and will not, each told once."""
        found = []
        for name in self._services:
            for task in self._of(name):
                if _state(task) in NEVER_RUNS and task["ID"] not in self._told:
                    self._told.add(task["ID"])
                    found.append(self._in_words(name, task))
        return found

    def pending(self) -> str:
        """Why some do not run yet."""
        waiting = [(name, task) for name in self._services for task in self._of(name) if _state(task) != "running"]
        return "; ".join(self._in_words(*each) for each in waiting) or "no task was made"

    def _of(self, name: str) -> Sequence[dict[str, Any]]:
        tasks: Sequence[dict[str, Any]] = self._services[name].tasks()
        return tasks

    def _in_words(self, name: str, task: dict[str, Any]) -> str:
        number = f" {task['Slot']}" if name == WORKER else ""
        status = task["Status"]
        said = tidy(status.get("Err") or status.get("Message") or "")
        return f"{name}{number}{self._where(task)} is {status['State']}: {said}"

    def _where(self, task: dict[str, Any]) -> str:
        node = task.get("NodeID")
        if not node:
            return ""
        with suppress(*API_FAILURES):
            node = self._engine.client.nodes.get(node).attrs["Description"]["Hostname"]
        return f" on {node}"


def _state(task: dict[str, Any]) -> str:
    return str(task["Status"]["State"])


def started_master(tasks: Tasks) -> Any:
    """The master's container, once all tasks run, or the master has ended already.

    Raises:
        DeploymentError: one does not start.
    """
    lost: list[str] = []
    began = time.monotonic()

    def is_decided() -> bool:
        master = tasks.master()
        if master is not None and master.status == "exited":
            return True
        lost.extend(tasks.lost())
        is_stuck = time.monotonic() - began > PLACE_S and tasks.has_unplaced()
        return bool(lost) or is_stuck or (master is not None and tasks.all_run())

    until_true(is_decided, START_S)
    master = tasks.master()
    if master is not None and (master.status == "exited" or (not lost and tasks.all_run())):
        return master
    what = "; ".join(lost) or f"after {time.monotonic() - began:.0f} s {tasks.pending()}"
    raise DeploymentError(
        f"the load did not start: {what}; docs/cluster.md says how nodes get their label and the image {IMAGE}"
    )
