"""A process that one command starts and a later one ends: a file says which it is, so that no other is ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        known = self.noted()
        if known is None:
            return None
        pid, started_at, token = (known[key] for key in ("pid", "started_at", "token"))
        try:
            process = psutil.Process(pid)
            # The start time alone does not tell: if the clock is set, psutil gives another one.
            same = process.create_time() == started_at or process.environ().get(STARTED) == token
            ours = same and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, psutil.Error):  # no such process
            return None
        return process if ours else None  # the number may have been given to another process since

    def noted(self) -> Mapping[str, Any] | None:
        """What the file says; None: there is none, or it is not that of this checkout."""
        try:
            known = read_record(self.state)
            kinds = {"pid": int, "started_at": float, "token": str, "checkout": str}
            if any(type(known[key]) is not kind for key, kind in kinds.items()):
                return None
            # A copy of the checkout has a copy of the file as well.
            return known if known["checkout"] == identity(WORK) else None
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def note(self, pid: int, token: str, **more: str) -> None:
        """Write the file, whole or not at all."""
        self.state.parent.mkdir(exist_ok=True)
        started_at = psutil.Process(pid).create_time()
        known = {"pid": pid, "started_at": started_at, "token": token, "checkout": identity(WORK), **more}
        write_whole(self.state, json.dumps(known))

    def forget(self) -> None:
        if self.state.is_file() or self.state.is_symlink():
            self.state.unlink()


def identity(folder: Path) -> str:
    """What a folder keeps if it is moved, and what its copy does not have."""
    about = folder.stat()
    return f"{about.st_dev}:{about.st_ino}"
