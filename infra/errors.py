"""What keeps a deployment, or an experiment, from running."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path


class DeploymentError(Exception):
    """A deployment can't run here, did not start, or broke. The message says what, the evidence, and the remedy."""


class PlanError(Exception):
    """A plan that can't be carried out. The message says where it stands, which value, and what would be right."""


class ResumeError(Exception):
    """An experiment that can't be continued. The message says why not, and what to do."""


MAKE_ROOM = "make room and run again"
FULL_BYTES = 10**6
"""A disk with less room than this is full for whoever writes more than a line."""


def why_file_failed(error: OSError, folder: Path) -> str:
    """What kept a file from being read or written: state, evidence and remedy.

    ``folder`` is where most files are written; an error does not always name the file.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({error}; {_free(folder)}, {_free(Path(tempfile.gettempdir()))}); {MAKE_ROOM}"
    return f"a file can't be used ({error}); see to that and run again"


def why_disk_is_full(folder: Path) -> str | None:
    """That nothing more can be written to the disk under ``folder``; None where there is room."""
    if shutil.disk_usage(folder).free >= FULL_BYTES:
        return None
    return f"the disk is full ({_free(folder)}); {MAKE_ROOM}"


def _free(place: Path) -> str:
    there = next(one for one in (place, *place.resolve().parents) if one.exists())
    return f"{shutil.disk_usage(there).free / 1e9:.2f} GB are free at {place}"
