"""Writing what was made of an experiment: whole or not at all, and never over what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runfiles.files import (
    EXPERIMENT_FILE,
    MACHINE_STATS_SUFFIX,
    REPLICA_EVENTS_SUFFIX,
    REPLICA_STATS_SUFFIX,
    REQUESTS_SUFFIX,
    RUN_RECORD_SUFFIX,
    write_whole,
)

RECORDED = (
    EXPERIMENT_FILE,
    RUN_RECORD_SUFFIX,
    REQUESTS_SUFFIX,
    REPLICA_STATS_SUFFIX,
    REPLICA_EVENTS_SUFFIX,
    MACHINE_STATS_SUFFIX,
    "_counters.csv",
    "_stats_history.csv",
    "_failures.csv",
    "_exceptions.csv",
    "_inference_metrics.csv",
    ".log",
)
"""Ends of the names of files that were recorded, by Fourfold, Locust or the service."""
REPORTS = (".html", ".md", ".xml")
"""Ends of the names of what is made of an experiment: of the files in its folder only these are written over."""


class RecordedFile(Exception):
    """A file that was recorded is no place for a page. The message says which."""


def write_output(path: Path, text: str, follow_link: bool, results: Sequence[Path]) -> None:
    """Write a page or a report. A device or a pipe, such as ``/dev/stdout``, is written to as it is. What UTF-8 can't
    hold, as in a folder's name, becomes ``?``.

    Args:
        path: where to.
        text: what.
        follow_link: where ``path`` is a link, what it leads to is written, as a user who named the link wants it; else
            the link is replaced.
        results: the experiments' folders.

    Raises:
        OSError: it can't be written.
        RecordedFile: ``path`` is a file that was recorded, or one in an experiment's folder that is no report.
    """
    place = path.resolve() if follow_link else path
    is_in_results = any(path.resolve().is_relative_to(one.resolve()) for one in results)
    is_kept = is_in_results and place.is_file() and not place.name.endswith(REPORTS)
    if place.name.endswith(RECORDED) or is_kept:
        raise RecordedFile(f"{path} is a file of a recording; name another place")
    clean = text.encode("utf-8", "replace").decode("utf-8")
    if follow_link and place.exists() and not place.is_file() and not place.is_dir():
        place.write_text(clean, encoding="utf-8")
    else:
        write_whole(place, clean)
