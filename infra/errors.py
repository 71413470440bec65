"""The errors that end a deployment or an experiment, and errors of the operating system in words."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path


class DeploymentError(Exception):
    """A deployment can't run here, did not start, or broke. The message says what, the evidence, and the remedy."""


class ServiceFileError(DeploymentError):
    """The service runs, but not as its service file says. To change that file, or the service, takes a new
    experiment."""


class ImageError(DeploymentError):
    """The engine answers, but the image that the service file names can't be built or pulled, or is misspelt."""


class RecordError(Exception):
    """``experiment.json`` can't be written, so what is measured now would be lost. The message says where and why."""


class PlanError(Exception):
    """A plan that can't be carried out. The message names the file, the value, and what would be right."""


class ResumeError(Exception):
    """An experiment that can't be continued. The message says why not, and what to do."""


FULL_BYTES = 10**6
"""A disk with less room than this counts as full."""


def why(error: BaseException, place: Path) -> str:
    """An error in words. For a file that can't be read or written: which file, why, and what to do.

    ``place`` is named if the system does not say which file it is.
    """
    if not isinstance(error, OSError) or not error.strerror or isinstance(error, ConnectionError | TimeoutError):
        return str(error) or type(error).__name__
    file = error.filename or place
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = f"{_free(place)}, {_free(Path(tempfile.gettempdir()))}"
        return f"{file}: the disk is full ({error.strerror}; {free}); make room and run again"
    return f"{file}: {error.strerror}; fix that and run again"


def why_disk_is_full(folder: Path) -> str | None:
    """Why nothing more can be written to the disk of ``folder``. None if there is room."""
    if shutil.disk_usage(folder).free >= FULL_BYTES:
        return None
    return f"the disk is full ({_free(folder)}); make room and run again"


def _free(place: Path) -> str:
    there = next(folder for folder in (place, *place.resolve().parents) if folder.exists())
    return f"{shutil.disk_usage(there).free / 1e9:.2f} GB are free at {place}"
