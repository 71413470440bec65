"""Finds the replicas of a Swarm service in a list of its tasks, and reads them by the agents of their nodes.

The process that records has no Docker socket then, and no node opens its own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import gevent
from _ask_agents import AgentFailure, Agents
from _node_clocks import Offset
from _replicas import NoReplicas, Replica, Target, named_target
from _tasks_file import TasksFile, TasksSilent

from runfiles.events import SWARM_SERVICE
from runfiles.tasks import AFTER, RUNNING, Task

from _counters import Counters

WHY_ENDED_S = 3.0
"""So much later than its agent sees a container end, the manager knows why."""


class AgentFinder:
    """Finds the replicas of ``asked``, a Swarm service.

    Raises:
        NoReplicas: it names no Swarm service.
    """

    def __init__(self, asked: str, agents: Agents, tasks_file: TasksFile) -> None:
        self.target: Target = named_target(asked)
        if self.target.kind != SWARM_SERVICE:
            raise NoReplicas(f"agents read the replicas of a Swarm service (swarm:SERVICE), not {asked}")
        self._agents = agents
        self._file = tasks_file
        self._was_read: set[str] = set()
        self._sources: dict[str, Mapping[str, str]] = {}

    def replicas(self) -> list[Replica]:
        """The tasks that run now, as ``SERVICE.SLOT``.

        Raises:
            NoReplicas: none runs.
            TasksSilent: the list of tasks does not come.
        """
        running = [task for task in self._tasks() if task.state == RUNNING]
        wanted: dict[tuple[str, str], list[str]] = {}
        for task in running:
            wanted.setdefault((task.node_id, task.node), []).append(task.container_id)
        self._agents.look(wanted)
        if not running:
            raise NoReplicas(f"no running task belongs to {self.target}")
        return [self._replica(task) for task in running]

    def explain_unsampled(self, names: Sequence[str]) -> str:
        known = {task.name for task in self._tasks() if task.state == RUNNING}
        parts = [f"{name} could not be read by the agent of its node" for name in names if name in known]
        unknown = [name for name in names if name not in known]
        parts += [f"no running task of {self.target} has the name {', '.join(unknown)}"] if unknown else []
        return "; ".join(parts)

    def clocks(self) -> dict[str, Offset]:
        return self._agents.clocks()

    def close(self) -> None:
        """Nothing is kept open."""

    def _tasks(self) -> tuple[Task, ...]:
        return self._file.tasks(self.target.name)

    def _replica(self, task: Task) -> Replica:
        return Replica(
            task.name,
            task.container_id[:12],
            task.node,
            lambda: self._read(task),
            generation=task.task_id,
            state=task.state,
            why_ended=lambda: self._why_ended(task),
            is_anew=lambda: False,  # a swarm starts another container instead
            sources=lambda: self._sources.get(task.container_id, {}),
            is_instant=lambda: False,
        )

    def _read(self, task: Task) -> Counters | None:
        """
        Raises:
            AgentFailure: the agent does not answer, or can't read it.
        """
        try:
            reading = self._agents.read(task.node_id, task.container_id)
        except AgentFailure:
            if self._has_ended(task):
                return None
            raise
        if reading.counters is not None:
            self._was_read.add(task.container_id)
            self._sources[task.container_id] = reading.sources
            return reading.counters
        if reading.is_gone and (task.container_id in self._was_read or self._has_ended(task)):
            return None
        raise AgentFailure(f"the agent of node {task.node} can't read {task.name}: {reading.missing}")

    def _now(self, task: Task) -> Task | None:
        """What the manager last said of a task; None: it has forgotten it.

        Raises:
            TasksSilent: what it says is not known.
        """
        return next((now for now in self._tasks() if now.task_id == task.task_id), None)

    def _has_ended(self, task: Task) -> bool:
        try:
            now = self._now(task)
        except TasksSilent:
            return False
        return now is None or now.state in AFTER

    def _why_ended(self, task: Task) -> str:
        """
        Raises:
            TasksSilent: the list of tasks does not come.
        """
        until_s = time.monotonic() + WHY_ENDED_S
        while (now := self._now(task)) is not None and now.state == RUNNING and time.monotonic() < until_s:
            gevent.sleep(0.1)
        if now is None:
            return "removed"
        return now.why or f"the manager still says {now.state}"


def token_in(path: Path) -> str:
    """The token that the agents ask for.

    Raises:
        OSError: it can't be read.
        ValueError: it is no token.
    """
    token = path.read_text().strip()
    if not token.isascii() or not token.isprintable() or not token:
        raise ValueError("it holds no token")
    return token
