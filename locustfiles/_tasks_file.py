"""Reads the tasks of a service from a file to which infra appends lines of ``runfiles.tasks``."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import gevent

from runfiles.tasks import SILENT_S, Task, TasksLine

MOST_SILENT_S = 3 * SILENT_S
POLL_S = 0.1

logger = logging.getLogger("fourfold.tasks")


class TasksSilent(OSError):
    """No line has come for a while: which tasks there are now is not known."""


class TasksFile:
    """The file, and what its last whole line with tasks says. A line that is half written is read the next time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = 0
        self._rest = b""
        self._tasks: tuple[Task, ...] | None = None
        self._line_came_at_s = time.monotonic()

    def tasks(self, service: str) -> tuple[Task, ...]:
        """The tasks of the service as the manager saw them last. The first time it waits for a line.

        Raises:
            TasksSilent: no line has come for ``MOST_SILENT_S``, or none at all.
            OSError: the file can't be read.
        """
        self._read()
        until_s = time.monotonic() + SILENT_S
        while self._tasks is None and time.monotonic() < until_s:
            gevent.sleep(POLL_S)
            self._read()
        if self._tasks is None or time.monotonic() - self._line_came_at_s > MOST_SILENT_S:
            raise TasksSilent(f"the list of tasks does not come: no new line in {self._path}")
        return tuple(task for task in self._tasks if task.name.rpartition(".")[0] == service)

    def _read(self) -> None:
        try:
            with self._path.open("rb") as file:
                file.seek(self._read_bytes)
                content = self._rest + file.read()
                self._read_bytes = file.tell()
        except FileNotFoundError:  # its first line has not come yet
            return
        *lines, self._rest = content.split(b"\n")
        for line in lines:
            try:
                said = TasksLine.from_line(line)
            except ValueError as error:
                logger.warning("a line of %s is not used: %s", self._path, error)
                continue
            self._line_came_at_s = time.monotonic()
            self._tasks = self._tasks if said.tasks is None else said.tasks
