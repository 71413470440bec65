"""Reading the two JSON records, with an error that tells a person what to do."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from runfiles.records import FormedRecord

R = TypeVar("R", bound=FormedRecord)


class UnreadableResults(Exception):
    """Files that are not what an experiment leaves. The message says which, what is wrong, and what to do."""


def read_record(path: Path, kind: type[R]) -> R:
    """The record of a kind that is in a file.

    Raises:
        UnreadableResults: it can't be read, or a field is not what it must be. The message names file and field.
    """
    try:
        return kind.read(path)
    except (ValueError, OSError) as error:
        raise unreadable(path, getattr(error, "strerror", None) or str(error)) from error


def unreadable(path: Path, reason: str) -> UnreadableResults:
    """The error that says why a file can't be read."""
    return UnreadableResults(f"{path} can't be read ({reason}); measure again")
