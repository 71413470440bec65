"""The files of an experiment: their names, their folders, and how they are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

FORM = 3
"""Goes up when a reader of the older form would misread the newer one."""

FORMS = (2, FORM)
"""The forms that this version reads. Form 2 has no loads in blocks."""

EXPERIMENT_FILE = "experiment.json"
REPORT_FILE = "report.html"
FAILED_START_FILE = "failed_start.log"
"""The end of what a service wrote that did not start, in the folder of its round."""

SERVICE_LOG_FILE = "service.log"
"""What the host process has written, in the folder of its round; of containers the end of it, if requests failed."""

NOTE_FILE = "note.txt"
"""What a reader of the page has to know first, in words of whoever keeps the experiment. It may lack."""

REQUESTS_SUFFIX = "_requests.csv"
REPLICA_STATS_SUFFIX = "_replica_stats.csv"
REPLICA_EVENTS_SUFFIX = "_replica_events.csv"
MACHINE_STATS_SUFFIX = "_machine_stats.csv"
BLOCKS_SUFFIX = "_blocks.csv"
"""Only of a run whose load came in blocks."""

CHANGES_SUFFIX = "_changes.csv"
"""Only of a run with changes. The experiment writes the planned ones, the recording those made in the web UI."""

FIRST_PASS_DONE_SUFFIX = "_first_pass_done"
"""An empty file that a single pass with ``--repeat-s`` makes after its first pass over the texts. It goes on as soon as
somebody has removed the file."""

RUN_RECORD_SUFFIX = "_run.json"
RUN_SUFFIXES = (
    REQUESTS_SUFFIX,
    REPLICA_STATS_SUFFIX,
    REPLICA_EVENTS_SUFFIX,
    MACHINE_STATS_SUFFIX,
    BLOCKS_SUFFIX,
    RUN_RECORD_SUFFIX,
)
"""Of all files that the recording of a run writes."""

SINGLE_PASS = "single_pass"
LOAD = "load"
"""The two runs of a round, and the prefixes of their files."""

CLOCK_VARIABLE = "FOURFOLD_CLOCK"
"""The environment variable that tells a load generator the time of its experiment: what is added to the machine's clock
that is never set, in seconds."""

BLANK_FOLDER = "blank"
"""Where the files of the blank lie, within the experiment's folder: those of the run ``LOAD``, against a responder that
answers at once."""


def load_prefix(group: int, *, is_first: bool) -> str:
    """The prefix of a load's files. A deployment that is the reference of several groups has a load in each: ``load``
    in its first group, ``load_group2`` in group 2."""
    return LOAD if is_first else f"{LOAD}_group{group}"


def group_folder(group: int, number: int) -> str:
    """Where the load generator's own files of a round lie that concern a whole group; groups count from 1."""
    return round_folder(f"group-{group}", number)


def round_folder(deployment: str, number: int) -> str:
    """Where the files of a round lie, within the experiment's folder; rounds count from 1."""
    return f"{deployment}/round-{number}"


class OutsideFolder(ValueError):
    """A path that leads out of the folder that it should lie in. The message names both."""


def inside(folder: Path, path: Path | str) -> Path:
    """The resolved path of ``path`` (relative to ``folder``), which must lie inside ``folder``, links followed.

    ``folder`` itself may be a link. It does not lie inside itself.

    Raises:
        OutsideFolder: ``path`` leads elsewhere, or nowhere.
    """
    try:
        root = folder.resolve()
        resolved = (root / path).resolve()
    except RuntimeError as error:
        raise OutsideFolder(f"{folder / path} leads nowhere: its links lead in a circle") from error
    except (OSError, ValueError) as error:  # a NUL or half a surrogate in it
        raise OutsideFolder(f"{str(path)!a} is not a path in {folder} ({error})") from error
    if root not in resolved.parents:
        raise OutsideFolder(f"{root / path} leads to {resolved}, which does not lie in {root}")
    return resolved


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, whole or not at all: readers find the old content or the new one, also after a power loss. Text
    becomes UTF-8. The content is written beside the file first, and then renamed. A link at ``path`` is replaced by the
    file; what it leads to is left alone.

    Raises:
        OSError: it can't be written. The old content is still there.
    """
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(new, flags, 0o666), "wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, and not only in the kernel's memory."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
