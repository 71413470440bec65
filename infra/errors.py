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


def why_file_failed(error: OSError, folder: Path) -> str:
    """What kept a file from being read or written: state, evidence and remedy.

    ``folder`` is where most files are written; an error does not always name the file.
    """
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return f"a file can't be used ({error}); see to that and run again"
    free = [f"{_free_gb(place):.2f} GB are free at {place}" for place in (folder, Path(tempfile.gettempdir()))]
    return f"the disk is full ({error}; {', '.join(free)}); make room and run again"


def _free_gb(place: Path) -> float:
    return shutil.disk_usage(next(one for one in (place, *place.parents) if one.exists())).free / 1e9
