"""Writing what was made of an experiment: whole or not at all, and never over what was measured."""

from __future__ import annotations

from pathlib import Path

import runfiles

RECORDED = (
    runfiles.EXPERIMENT_FILE,
    runfiles.RUN_RECORD_SUFFIX,
    runfiles.REQUESTS_SUFFIX,
    runfiles.REPLICA_STATS_SUFFIX,
    runfiles.REPLICA_EVENTS_SUFFIX,
    runfiles.MACHINE_STATS_SUFFIX,
)
"""Ends of the names of files that were recorded."""


class RecordedFile(Exception):
    """A file that was recorded is no place for a page. The message says which."""


def write_output(path: Path, text: str, follow_link: bool) -> None:
    """Write a page or a report. A device or a pipe, such as ``/dev/stdout``, is written to as it is. What UTF-8 can't
    hold, as in a folder's name, becomes ``?``.

    Args:
        path: where to.
        text: what.
        follow_link: where ``path`` is a link, what it leads to is written, as a user who named the link wants it; else
            the link is replaced.

    Raises:
        OSError: it can't be written.
        RecordedFile: ``path`` is a file that was recorded.
    """
    place = path.resolve() if follow_link else path
    if place.name.endswith(RECORDED):
        raise RecordedFile(f"{path} is a file of a recording; name another place")
    clean = text.encode("utf-8", "replace").decode("utf-8")
    if follow_link and place.exists() and not place.is_file() and not place.is_dir():
        place.write_text(clean, encoding="utf-8")
    else:
        runfiles.write_whole(place, clean)
