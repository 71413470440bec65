"""The tasks of a Swarm service as a manager sees them, in lines of JSON.

infra writes a line when something has changed, and one without tasks every few seconds if nothing has. The monitor in
Locust's master reads them: it has no Docker socket.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Self

from runfiles.fields import Name, OneOf, Record, UnixTime
from runfiles.strict_json import parse_record

RUNNING = "running"
BEFORE = ("new", "pending", "allocated", "assigned", "accepted", "preparing", "ready", "starting")
AFTER = ("complete", "shutdown", "failed", "rejected", "remove", "orphaned")
"""The states of a task (Docker, "Swarm task states"). One that has ended never runs again."""

SILENT_S = 5.0
"""A line follows the one before after so many seconds at most."""


@dataclass(frozen=True, kw_only=True)
class Task(Record):
    """A task that has a container. ``name`` is SERVICE.SLOT; ``node`` the host name; ``why``: what ended it."""

    name: Name
    task_id: Name
    container_id: Name
    node_id: Name
    node: Name
    state: Annotated[str, OneOf((*BEFORE, RUNNING, *AFTER))]
    why: str | None = None


@dataclass(frozen=True, kw_only=True)
class TasksLine(Record):
    """One line. ``tasks`` None: as before."""

    at_unix_s: UnixTime
    tasks: tuple[Task, ...] | None = None

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """
        Raises:
            ValueError: it is no such line.
        """
        return cls.from_json(parse_record(line))

    def to_line(self) -> str:
        """The line with its end."""
        return json.dumps(self.to_json(), separators=(",", ":")) + "\n"
