"""The last words of a process, a container or a log, as one line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from runfiles.lines import tidy

TAIL_BYTES = 64 * 1024

_STATES_AN_ERROR = re.compile(r"/(ERROR|CRITICAL)/|\bERROR\b|\berror: |[A-Za-z](Error|Exception): ")
"""As Locust, docker, command lines and Python's tracebacks write it."""


def last_line(said: str) -> str:
    """The last line that says something."""
    return next(_lines(said), "(none)")


def last_error(said: str) -> str:
    """The last line that states an error; if there is none, the last line."""
    return next((line for line in _lines(said) if _STATES_AN_ERROR.search(line)), last_line(said))


def tail(log: Path) -> str:
    """The end of a log, however long the log is; empty if it can't be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _lines(said: str) -> Iterator[str]:
    """The lines that say something, the last one first."""
    return (line for line in map(tidy, reversed(said.splitlines())) if line)
