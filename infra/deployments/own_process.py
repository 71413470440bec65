"""A process that one command starts and a later one ends: a file says which it is, so that no other is ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra.paths import WORK
from runfiles.files import write_whole
from runfiles.strict_json import read_record

STARTED = "FOURFOLD_STARTED"
"""A variable of the process. The number in it is also in the file."""


@dataclass(frozen=True)
class OwnProcess:
    """The process that this checkout has started for one purpose, as the file ``state`` tells it."""

    state: Path

    def left(self) -> psutil.Process | None:
        """The process that ``note`` was told of, if it still runs."""
        try:
            known = read_record(self.state)
            pid, started_at, token, checkout = (known[key] for key in ("pid", "started_at", "token", "checkout"))
            if type(pid) is not int or not isinstance(started_at, float) or not isinstance(token, str):
                return None
            if checkout != identity(WORK):  # a copy of the checkout has a copy of the file as well
                return None
            process = psutil.Process(pid)
            # The start time alone does not tell: if the clock is set, psutil gives another one.
            same = process.create_time() == started_at or process.environ().get(STARTED) == token
            ours = same and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, LookupError, TypeError, psutil.Error):  # no such process, or the file is not ours
            return None
        return process if ours else None  # the number may have been given to another process since

    def note(self, pid: int, token: str) -> None:
        """Write the file, whole or not at all."""
        self.state.parent.mkdir(exist_ok=True)
        started_at = psutil.Process(pid).create_time()
        known = {"pid": pid, "started_at": started_at, "token": token, "checkout": identity(WORK)}
        write_whole(self.state, json.dumps(known))

    def forget(self) -> None:
        if self.state.is_file() or self.state.is_symlink():
            self.state.unlink()


def identity(folder: Path) -> str:
    """What a folder keeps if it is moved, and what its copy does not have."""
    about = folder.stat()
    return f"{about.st_dev}:{about.st_ino}"
