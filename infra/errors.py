"""What keeps a deployment, or an experiment, from running."""

from __future__ import annotations

import errno
from pathlib import Path


class DeploymentError(Exception):
    """A deployment can't run here, did not start, or broke. The message says what, the evidence, and the remedy."""


class RecordError(Exception):
    """``experiment.json`` can't be written: what is measured now would be lost. The message says where, and why."""


class PlanError(Exception):
    """A plan that can't be carried out. The message says where it stands, which value, and what would be right."""


class ResumeError(Exception):
    """An experiment that can't be continued. The message says why not, and what to do."""


def why(error: BaseException, place: Path) -> str:
    """In words, for a reason. Of a file that can't be read or written: which one (``place`` where the system does not
    name it), why, and what to do."""
    if not isinstance(error, OSError) or not error.strerror or isinstance(error, ConnectionError | TimeoutError):
        return str(error) or type(error).__name__
    remedy = "make room there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "mend that"
    return f"{error.filename or place}: {error.strerror}; {remedy} and run again"
