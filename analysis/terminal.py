"""What every command that makes a page says on the terminal: its headline, or why there is no page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis.read.records import UnreadableResults
from analysis.show.output import KeptFile, RecordedFile
from runfiles.lines import printable
from runfiles.places import IS_INSTALLED

NOT_MADE = (UnreadableResults, RecordedFile, KeptFile, OSError, ModuleNotFoundError)
"""The errors that a user can cause."""


class TextConsole(Console):
    """A console that takes no text for markup, nor for what moves a cursor or reverses a line: records and notes have
    texts of other programs. Each text is one line."""

    def __init__(self) -> None:
        super().__init__(highlight=False, emoji=False, markup=False, soft_wrap=True)

    def print(self, *objects: Any, **how: Any) -> None:
        super().print(*(printable(each) if isinstance(each, str) else each for each in objects), **how)


def why_not_made(error: Exception, page: Path) -> str:
    """The cause and the remedy of one of ``NOT_MADE``. ``page``: what was to be written."""
    if isinstance(error, OSError):
        return f"{error.filename or page} can't be written ({error.strerror}); name another place"
    if isinstance(error, ModuleNotFoundError):  # a checkout that is newer than its packages
        remedy = "install Fourfold again" if IS_INSTALLED else "run make setup"
        return f"the Python package {error.name} is not installed; {remedy}"
    return printable(str(error))


def print_headline(headline: Sequence[str]) -> Console:
    """Print the sentence and its numbers. Returns the console for what comes below."""
    console = TextConsole()
    first, *numbers = headline
    console.print(first, style="bold")
    for text in numbers:
        console.print(text)
    return console
