"""The last words of a process, a container or a log, as one line."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from runfiles.lines import tidy

TAIL_BYTES = 64 * 1024

LINES_KEPT = 200
"""So many of the last lines are kept of a service that did not start, and ``TAIL_BYTES`` at most."""

_STATES_AN_ERROR = re.compile(r"/(ERROR|CRITICAL)/|\bERROR\b|\berror: |[A-Za-z](Error|Exception): ")
"""As Locust, docker, command lines and Python's tracebacks write it."""


_FAILED_STEP = re.compile(r"^-{6}\n > .*\n((?:.*\n)*?)-{6}$", re.MULTILINE)
"""What ``docker build`` shows again of the step that failed. Each line begins with the time in seconds."""

_TIME_OF_DAY = re.compile(r"\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?")

_TIME = re.compile(r"^\d+\.\d+ ", re.MULTILINE)


def last_line(said: str) -> str:
    """The last line that says something."""
    return next(_lines(said), "(none)")


def last_error(said: str) -> str:
    """The last line that states an error; if there is none, the last line."""
    return next((line for line in _lines(said) if _STATES_AN_ERROR.search(line)), last_line(said))


def last_build_error(said: str) -> str:
    """Why ``docker build`` failed, by what it printed: the last error of the step that failed, if that says one.

    The last line of the build only says that the step failed.
    """
    steps = _FAILED_STEP.findall(said)
    return last_error(_TIME.sub("", steps[-1]) if steps and steps[-1].strip() else said)


def tail(log: Path) -> str:
    """The end of a log, however long the log is; empty if it can't be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def last_lines(said: str, most: int = LINES_KEPT) -> str:
    """The last lines as they are; ``TAIL_BYTES`` of them at most."""
    lines = "".join(said.splitlines(keepends=True)[-most:])
    return lines.encode("utf-8", "replace")[-TAIL_BYTES:].decode("utf-8", "replace")


def counted(said: str) -> list[str]:
    """The lines that say something. Those that follow each other and differ only in the time of day are one, with their
    count."""
    lines = [line for line in said.splitlines() if line.strip()]
    groups = [list(group) for _, group in itertools.groupby(lines, lambda line: _TIME_OF_DAY.sub("", line))]
    return [group[0] + (f" ({len(group)} such lines)" if len(group) > 1 else "") for group in groups]


def _lines(said: str) -> Iterator[str]:
    """The lines that say something, the last one first."""
    return (line for line in map(tidy, reversed(said.splitlines())) if line)
