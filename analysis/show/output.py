"""Writing pages and reports: whole or not at all, and never over a recording."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runfiles.files import (
    CHANGES_SUFFIX,
    EXPERIMENT_FILE,
    MACHINE_STATS_SUFFIX,
    REPLICA_EVENTS_SUFFIX,
    REPLICA_STATS_SUFFIX,
    REQUESTS_SUFFIX,
    RUN_RECORD_SUFFIX,
    write_whole,
)
from runfiles.grid import GRID_FILE

RECORDED = (
    EXPERIMENT_FILE,
    GRID_FILE,
    RUN_RECORD_SUFFIX,
    REQUESTS_SUFFIX,
    REPLICA_STATS_SUFFIX,
    REPLICA_EVENTS_SUFFIX,
    MACHINE_STATS_SUFFIX,
    CHANGES_SUFFIX,
    "_counters.csv",
    "_stats_history.csv",
    "_failures.csv",
    "_exceptions.csv",
    "_inference_metrics.csv",
    ".log",
)
"""Ends of the names of files that were recorded, by Fourfold, Locust or the service."""
REPORTS = (".html", ".md", ".xml")
"""Ends of the names of pages and reports. In an experiment's folder only these files are written over."""


class RecordedFile(Exception):
    """A page or report would be written over a recorded file. The message names the file."""


class KeptFile(Exception):
    """A file is in the way that the command did not write, or that was changed since. The message names the file."""


def write_output(path: Path, content: str | bytes, follow_link: bool, results: Sequence[Path]) -> None:
    """Write a page, a report or a plot. A device or a pipe, such as ``/dev/stdout``, gets the content directly. Text
    becomes UTF-8 (``encoded``).

    Args:
        path: where to write.
        content: what to write.
        follow_link: what happens where ``path`` is a link. True: the file that the link leads to is written, which is
            what a user who names the link wants. False: the link is replaced.
        results: the experiments' folders.

    Raises:
        OSError: the file can't be written.
        RecordedFile: ``path`` is a recorded file, or a file in an experiment's folder that is no report.
    """
    place = path.resolve() if follow_link else path
    is_in_results = any(path.resolve().is_relative_to(folder.resolve()) for folder in results)
    is_kept = is_in_results and place.is_file() and not place.name.endswith(REPORTS)
    if place.name.endswith(RECORDED) or is_kept:
        raise RecordedFile(f"{path} is a file of a recording; name another place")
    clean = encoded(content) if isinstance(content, str) else content
    # Asked of the path itself: where /dev/stdout is a pipe, what it resolves to is no name that can be opened.
    if follow_link and path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(clean)
    else:
        write_whole(place, clean)


def encoded(text: str) -> bytes:
    """Text as UTF-8. Characters that UTF-8 can't hold, as in a folder's name, become ``?``."""
    return text.encode("utf-8", "replace")
