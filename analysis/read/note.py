"""The note that may lie in an experiment's folder: what a reader has to know before the figures."""

from __future__ import annotations

from pathlib import Path

from runfiles.files import NOTE_FILE, OutsideFolder, inside

MOST_CHARACTERS = 1000


def read_note(folder: Path) -> str:
    """The note as one line of at most ``MOST_CHARACTERS``; empty where there is none, or none that can be read."""
    try:
        path = inside(folder, NOTE_FILE)
        if not path.is_file():  # a FIFO would keep whoever opens it waiting
            return ""
        with path.open(encoding="utf-8", errors="replace") as file:
            return " ".join(file.read(MOST_CHARACTERS).split())
    except (OutsideFolder, OSError):
        return ""
